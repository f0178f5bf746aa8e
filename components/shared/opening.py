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
    """Markdown: what is wanted, and what to know about it; what to try and what was read are folded away."""
    told = behavior if session.origin is None else None
    sentences = [
        *(_sides(session, behavior) if session.origin is None else _brought(session.origin, behavior)),
        *loaded.warnings,
        *remarks(session.scored.scores.spec),
    ]
    more = [*(_about(told, swapped=session.swapped) if told else ()), *_read(session), model_line(loaded)]
    folded = html.escape(" ".join(more), quote=False)
    title = "What to try" if told else "What was read"
    return " ".join(sentences) + f"<details><summary>{title}</summary>{folded}</details>"


def _sides(session: Session, behavior: Behavior | None) -> Iterator[str]:
    """What is wanted, and what is odd about the examples."""
    wanted, opposite = (behavior.positive, behavior.negative) if behavior else ("your examples", "their opposite")
    if session.swapped:
        wanted, opposite = opposite, wanted
    if behavior and not session.swapped:
        yield html.escape(behavior.summary, quote=False)
    yield f"**Wanted:** {wanted}, rather than {opposite}."
    if told := outlier_sentence(session.scored.means):
        yield told
    yield from session.scored.contrast.notes


def _read(session: Session) -> Iterator[str]:
    means = session.scored.means
    if isinstance(means, ActivationMeans) and session.origin is None:
        yield f"Read: {means.n_positive:,} + {means.n_negative:,} examples, {means.n_tokens:,} tokens."


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
    return f"Model: {size} parameters, {residence(loaded)}{system}."


def _count(number: int) -> str:
    """1,996,640 as "2.0 M"."""
    for size, unit in ((1e9, "B"), (1e6, "M")):
        if number >= size:
            return f"{number / size:,.1f} {unit}"
    return f"{number:,}"


def _about(behavior: Behavior, *, swapped: bool) -> Iterator[str]:
    """What to try, and, for the sides that were measured, what the suggested edit reaches."""
    yield from (part for part in (behavior.lesson, "" if swapped else behavior.measured) if part)
