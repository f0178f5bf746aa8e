"""What a search by likelihood alone found, in words and as a short table; and how far it has come.

Knows the core's figures and HTML; no page.
"""

from __future__ import annotations

import html

from components.shared.progress import duration, progress_bar
from s2e_core.measure import LikelihoodFound, Screened, format_figure

from .lab import Lab

RULE = (
    "Chosen: the largest margin among those whose KL on harmless texts is at most {bound:g} nats a token, on pairs "
    "that the direction was not made from. The figures are from other such pairs, by which nothing was chosen."
)
UNITS = (
    "Margin: rise of the log-likelihood of the wanted responses over the unwanted ones. KL: divergence from the "
    "untouched model on harmless texts. Both in nats a token, with the 95 % interval and the number n of pairs or "
    "texts."
)
CAUTION = (
    "A larger margin is not always a better answer: compare answers too. Loading makes the edit from all your "
    "examples, so its figures differ from these and may be above the bound."
)
FEW_PAIRS = 10
"""With fewer reported pairs, the page does not say who is ahead: intervals of so few values are unreliable."""
FEW = "Only {count} pairs are left for the figures, so the intervals are unreliable. Add examples."
UNCONFIRMED = "On these pairs the margin of the edit is not clearly above 0: the choice is not confirmed."
NONE = "none raises the margin at a KL of at most {bound:g}"


def own_status(lab: Lab) -> str:
    """What is happening, as HTML."""
    spent = duration(lab.seconds)
    if lab.state == "running":
        return progress_bar(f"Searching by likelihood: {lab.done} %, {spent}.", lab.done, lab.total)
    if lab.state == "stopped":
        return progress_bar(f"Stopped after {spent}. Find a good edit starts again.")
    screened = len(lab.found.screened) if lab.found else 0
    return progress_bar(f"Done: {screened:,} edits and steering strengths measured by likelihood in {spent}.")


def advice_by_likelihood(found: LikelihoodFound) -> str:
    """The chosen edit and steering with their figures, the rule of the choice, and what the figures mean, as HTML."""
    sentences = [RULE.format(bound=found.bound), *_doubts(found), *_lead(found), CAUTION]
    body = "".join(f"<p>{html.escape(sentence)}</p>" for sentence in sentences)
    return f'<h4 aria-level="3">{_heading(found)}</h4>{_table(found)}{body}'


def _heading(found: LikelihoodFound) -> str:
    if found.edit is None:
        return "No edit to recommend"
    return (
        "Recommended: the edit with the largest margin" if _is_confirmed(found.edit) else "The best edit is unconfirmed"
    )


def _is_confirmed(edit: Screened) -> bool:
    return edit.figures.margin.low > 0


def _doubts(found: LikelihoodFound) -> list[str]:
    """Why the figures of the edit should not be relied on."""
    if found.edit is None:
        return []
    count = found.edit.figures.margin.count
    few = [FEW.format(count=count)] if count < FEW_PAIRS else []
    return few if _is_confirmed(found.edit) else [UNCONFIRMED, *few]


def _table(found: LikelihoodFound) -> str:
    rows = "".join(_row(found, arm, each) for arm, each in (("Edit", found.edit), ("Steering", found.steering)))
    return (
        f'<div class="in-full by-likelihood" style="--variants: 2"><table role="table">'
        f"<caption>{html.escape(UNITS)}</caption>"
        '<thead role="rowgroup"><tr role="row"><th scope="col" role="columnheader">Arm</th>'
        '<th scope="col" role="columnheader">Margin</th><th scope="col" role="columnheader">KL</th></tr></thead>'
        f'<tbody role="rowgroup">{rows}</tbody></table></div>'
    )


def _row(found: LikelihoodFound, arm: str, each: Screened | None) -> str:
    label = NONE.format(bound=found.bound) if each is None else each.trial.label
    figures = () if each is None else (each.figures.margin, each.figures.kl)
    cells = "".join(
        f'<td role="cell">{format_figure(figure)} <small>n = {figure.count:,}</small></td>' for figure in figures
    )
    empty = '<td role="cell">–</td>' * (2 - len(figures))
    head = f'<th scope="row" role="rowheader">{arm}<small>{html.escape(label)}</small></th>'
    return f'<tr role="row">{head}{cells}{empty}</tr>'


def _lead(found: LikelihoodFound) -> list[str]:
    """The paired difference of edit and steering, and who is ahead unless there are too few pairs to say."""
    if found.lead is None:
        return []
    said = f"The edit's margin minus steering's, pair by pair: {format_figure(found.lead)}"
    if found.lead.count < FEW_PAIRS:
        return [f"{said}."]
    verdict = "it includes 0: neither is clearly ahead"
    if found.lead.low > 0 or found.lead.high < 0:
        verdict = f"it leaves out 0: {'the edit' if found.lead.low > 0 else 'steering'} is ahead"
    return [f"{said}; {verdict}."]
