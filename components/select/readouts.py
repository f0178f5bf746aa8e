"""Figures in words: the summary of an edit, and one component in detail.

Knows the core's values and formats numbers; no page, and no text that a visitor typed. The strings are HTML.
"""

from __future__ import annotations

import html
from collections.abc import Iterator, Sequence

from torch import Tensor

from components.shared import texts
from components.shared.session import Origin, Session
from s2e_core import ActivationMeans, Behavior, Component
from s2e_core.loading import residence
from s2e_core.measure import KL_BOUND, USUAL_GAMMA
from s2e_core.method import EditSummary, mean_firing, outlier_sentence, relative_changes, summarize
from s2e_core.model import LoadedModel, component_name, folds_system, has_chat_template, parameter_count, remarks

from .presets import current_suggestion, kl_words, preset_name
from .rules import reason, rule

CHANCE_SDS = 3
CHANCE_TOLD = "Edited components with a larger |g| than random directions would give: three standard deviations."
LARGE_EDIT = 0.1
"""|dW| / |W| over the whole model from which an edit usually costs fluency."""
Firing = Sequence[tuple[Tensor, Tensor]]
LARGE_CHANGE = 1.0
"""|dW_i| / |W_i| from which a component is more edit than weight."""


def chance_level(session: Session) -> float:
    """Three standard deviations of g for random directions: 3 / sqrt(d)."""
    return float(CHANCE_SDS / session.scored.scores.spec.d_model**0.5)


def beyond_chance(session: Session) -> tuple[int, int]:
    """(edited components with |g| above the chance level, edited components)."""
    level, pairs = chance_level(session), zip(session.edit.strength, session.scored.scores.g, strict=True)
    edited = [g[strength != 0].abs() for strength, g in pairs]
    return sum(int((g > level).sum()) for g in edited), sum(len(g) for g in edited)


def summary(session: Session) -> str:
    """Counts, size and chance as four figures, and one sentence that says what they mean."""
    figures = summarize(session.scored.scores, session.edit)
    beyond, edited = beyond_chance(session)
    spec = session.edit.spec
    scored_here = session.made_here(session.edit)
    cells = [
        _figure(f"{figures.n_heads:,}", f"of {spec.n_components('heads'):,} heads"),
        _figure(f"{figures.n_neurons:,}", f"of {spec.n_components('neurons'):,} neurons"),
        _figure(
            f"{figures.relative_size:.1%}",
            "of the weights' size",
            "|ΔW| / |W| of all heads and neurons together.",
        ),
    ]
    if scored_here:
        label = f"beyond chance, |g| &gt; {chance_level(session):.2f}"
        cells.append(_figure(f"{beyond:,} / {edited:,}", label, CHANCE_TOLD))
    level, sentence = _verdict(session, figures)
    return (
        f'<div class="figures">{"".join(cells)}</div><p class="verdict {level}">{sentence}</p>'
        f'<p class="formula">{html.escape(rule(session.edit), quote=False)}</p>'
    )


def _verdict(session: Session, figures: EditSummary) -> tuple[str, str]:
    """(level, sentence): what a person should know about this edit before anything else."""
    largest, suggested = figures.largest_change, _suggested_words(session)
    name = html.escape(session.recipe)
    origin = f"The finished edit you uploaded ({name}); move a dial to return to your own. " if name else ""
    if session.edit.is_empty:
        way_out = "" if name else f" {_way_out(session)}"
        return "note", f"{origin}Nothing is edited: the edited model is the original.{way_out}"
    layers = f"{figures.n_layers} of {session.edit.spec.n_layers} layers"
    if session.edit.settings.gate is not None:  # a gate that seldom fires may be many times a weight and change little
        return "calm", f"{origin}In {layers}.{suggested}"
    if not suggested and (figures.relative_size > LARGE_EDIT or largest > LARGE_CHANGE):
        changes = f"the strongest component changes by {largest:.1f} times its own weight"
        if preset_name(session) == texts.SUGGESTED:  # tried with this behaviour: no cause for alarm
            return "note", (
                f"{origin}A large edit, and chosen so for this behaviour: {changes}. What it costs, "
                f"<i>{texts.IN_FULL}</i> says, further down."
            )
        remedy = ": lower the strength or edit fewer components" if session.made_here(session.edit) else ""
        return "warning", f"{origin}A large edit: {changes}. That often costs fluency{remedy}."
    return "calm", f"{origin}In {layers}. The strongest component changes by {largest:.0%} of its weight.{suggested}"


def _suggested_words(session: Session) -> str:
    """How the settings were made if they are the suggestion of a family."""
    suggestion = current_suggestion(session)
    if suggestion is None:
        return ""
    how = texts.SUGGESTED_HOW.format(bound=KL_BOUND, gamma=USUAL_GAMMA)
    return f" Suggested: {how}; here it is {kl_words(suggestion)}."


def _way_out(session: Session) -> str:
    """What to do about an edit that is empty."""
    if session.edit.settings.strength == 0:
        return "Raise the strength."
    if session.settings.selection.only is not None:
        return "Click a head or a neuron, move a count, or take all above the threshold."
    if session.settings.gate is not None:
        return f"Press {texts.ABOVE}."
    return "Raise a count or lower ρ."


def _figure(number: str, label: str, told: str = "") -> str:
    title = f' title="{html.escape(told)}"' if told else ""
    return f'<div class="figure"{title}><b>{number}</b><span>{label}</span></div>'


def component_title(session: Session, component: Component) -> str:
    spec = session.scored.scores.spec
    name = component_name(spec, component)
    return f"{name[0].upper()}{name[1:]} of layer {spec.sites[component.site].layer}"


def inspector(session: Session) -> str:
    """The component in focus: its place, scores, edit, and why it is or isn't edited."""
    if session.focus is None:
        return "<p>Click a cell of a heatmap or a row of the table.</p>"
    site, i = session.focus
    scores, edit = session.scored.scores, session.edit
    g, lam = float(scores.g[site][i]), float(edit.strength[site][i]) + 0.0
    sds, side = abs(g) * scores.spec.d_model**0.5, "for" if g > 0 else "against"
    rows = (
        ("g", f"{g:+.3f}", f"works {side} the behaviour; {sds:.1f} standard deviations of luck"),
        ("λ", f"{lam:+.3f}", _effect(lam) + (" of the edit's own direction" if session.recipe and lam else "")),
        ("|ΔW| / |W|", f"{float(relative_changes(scores, edit)[site][i]):.1%}", "size of the change beside the weight"),
        ("mean contribution", f"{float(scores.contributions[site][i]):+.4f}", "written along the direction per token"),
        *_when(session, session.focus),
    )
    body = "".join(f"<tr><th>{name}</th><td>{value}</td><td>{note}</td></tr>" for name, value, note in rows)
    title = component_title(session, session.focus)
    return f'<h4 aria-level="3">{title}</h4><p>{reason(session, session.focus)}</p><table>{body}</table>'


def _when(session: Session, component: Component) -> Iterator[tuple[str, str, str]]:
    """When the edit of a component acts, if there are texts to say it of."""
    inputs = session.scored.extraction.token_inputs
    if inputs is None:
        return
    site, i = component
    width = inputs.spec.sites[site].width
    columns = slice(i * width, (i + 1) * width)  # of this component alone: the figures follow every move of a dial
    a = session.edit.right[site][columns]
    on, off = (
        float(rows[:, columns].float().mean(dim=0) @ a) if len(rows) else 0.0
        for rows in (inputs.on[site], inputs.off[site])
    )
    yield "when", f"{on:+.4f} / {off:+.4f}", "added per token on the behaviour's texts / on harmless ones"


def firing(session: Session) -> Firing | None:
    """When the edit acts, for every component, or None without texts. Per site: two tensors (n_components,)."""
    inputs = session.scored.extraction.token_inputs
    return None if inputs is None else mean_firing(inputs, session.edit.right)


def _effect(lam: float) -> str:
    if lam == 0:
        return "not edited"
    return "amplifies a helper" if lam > 0 else "weakens an opponent"


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
