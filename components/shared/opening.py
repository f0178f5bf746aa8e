"""The status line of a session: which two sides were compared, from how much text, by which model. Markdown.

Knows sessions and the core's values; no page.
"""

from __future__ import annotations

import html
from collections.abc import Iterator

from s2e_core import ActivationMeans, Behavior
from s2e_core.loading import residence
from s2e_core.method import outlier_sentence
from s2e_core.model import LoadedModel, folds_system, has_chat_template, parameter_count, remarks

from . import texts
from .session import Origin, Session


def opening(session: Session, behavior: Behavior | None, loaded: LoadedModel) -> str:
    """Markdown: which two sides were compared, from how much text, and what to know about it."""
    sentences = [
        *(_sides(session, behavior) if session.origin is None else _brought(session.origin, behavior)),
        model_line(loaded),
        *loaded.warnings,
        *remarks(session.scored.scores.spec),
    ]
    # The lesson is folded away: the heatmaps, the dials and the texts fit on one screen without it.
    told = behavior if session.origin is None else None
    about = html.escape(_about(told, swapped=session.swapped), quote=False) if told else ""
    return " ".join(sentences) + (f"<details><summary>What to try</summary>{about}</details>" if about else "")


def _sides(session: Session, behavior: Behavior | None) -> Iterator[str]:
    """What was compared, and what is odd about the examples."""
    wanted, opposite = (behavior.positive, behavior.negative) if behavior else ("your examples", "their opposite")
    if session.swapped:
        wanted, opposite = opposite, wanted
    yield f"**Wanted:** {wanted}. **Opposite:** {opposite}."
    means = session.scored.means
    if isinstance(means, ActivationMeans):
        yield f"{means.n_positive:,} + {means.n_negative:,} examples, {means.n_tokens:,} tokens averaged."
    if told := outlier_sentence(means):
        yield told
    yield from session.scored.contrast.notes


def _brought(origin: Origin, behavior: Behavior | None) -> Iterator[str]:
    """What was read from a file, and what is still the behaviour's."""
    name = "".join(character for character in origin.name if character.isprintable() and character != "`")
    yield f"**From your file** `{name}`**:** {origin.sentence}"
    own = f"The prompts below are those of {behavior.title}; " if behavior else ""
    yield f"{own}*{texts.EXTRACT}* returns to {'its own' if behavior else 'your examples and their'} direction."


def model_line(loaded: LoadedModel) -> str:
    """What runs here, in one short sentence; that a chat template is missing is among the model's warnings."""
    folded = has_chat_template(loaded.tokenizer) and folds_system(loaded.tokenizer)
    system = ", a system text goes into the user's turn" if folded else ""
    size = _count(parameter_count(loaded.model))
    return f"**Model:** {size} parameters, {residence(loaded)}{system}."


def _count(number: int) -> str:
    """1,996,640 as "2.0 M"."""
    for size, unit in ((1e9, "B"), (1e6, "M")):
        if number >= size:
            return f"{number / size:,.1f} {unit}"
    return f"{number:,}"


def _about(behavior: Behavior, *, swapped: bool) -> str:
    """What the behaviour is, what to try, and, for the sides that were measured, what the suggested edit reaches."""
    told = (behavior.summary, behavior.lesson, "" if swapped else behavior.measured)
    return " ".join(part for part in told if part)
