"""The figures of an evaluation in full as one accessible table, in words, and as rows for CSV.

Knows what was measured and HTML; no page. Every text is escaped. The table keeps its roles where a phone stacks it.
"""

from __future__ import annotations

import html
from collections.abc import Iterator
from typing import NamedTuple

from components.shared import texts
from s2e_core.measure import HOW, Estimate

from .evaluated import Column, InFull
from .words import bracketed, percent


class Shown(NamedTuple):
    """How a figure is written."""

    label: str
    unit: str
    scale: float | None = 1.0
    """None: as it is, with three digits."""


FIGURES = {
    "robustness": Shown("Robustness: prompts with a trick", "of 100", 100),
    "moved wrong": Shown("Prompts moved the wrong way", "%", 100),
    "utility": Shown("Utility", "of 100", 100),
    "kept": Shown("Utility kept", "%", 100),
    "tokens": Shown("Length of an answer", "tokens"),
    "length drift": Shown("Length drift", "times", None),
    "empty": Shown("Empty answers", "%", 100),
    "repeated": Shown("Repeated answers", "%", 100),
    "off-topic": Shown("Off-topic answers", "%", 100),
    "benign refusal": Shown("Benign refusals", "%", 100),
    "next-token KL": Shown("Next-token KL", "nats", None),
    "perplexity": Shown("Perplexity", "", None),
    "MC1": Shown("MC1, by likelihood", "%", 100),
    "MC2": Shown("MC2, by likelihood", "%", 100),
}


def shown(full: InFull, name: str) -> Shown:
    unit, scale = ("tokens", 1.0) if full.less_is_better else ("of 100", 100.0)
    if name == "attribute":
        return Shown(f"Attribute: {full.wanted}", f"{unit}, less is better" if full.less_is_better else unit, scale)
    if name == "change":
        return Shown("Attribute gained", unit, scale)
    return FIGURES[name]


def table_html(full: InFull, *, earlier: bool = False) -> str:
    """The whole result: a mark where the edit has changed since, the lead in words, and the table."""
    heads = "".join(f'<th scope="col" role="columnheader">{html.escape(c.title)}</th>' for c in full.columns)
    names = [name for name in HOW if any(name in column.figures for column in full.columns)]
    rows = "".join(_row(full, name) for name in names)
    caption = html.escape(
        f"{full.behavior}: {full.prompts[0]:,} attribute and {full.prompts[1]:,} utility prompts, held out. "
        "Each figure with its 95 % interval and the number n it is made from."
    )
    mark = f'<p class="earlier" role="status">{html.escape(texts.EARLIER_EDIT)}</p>' if earlier else ""
    words = "".join(f"<p>{html.escape(sentence)}</p>" for sentence in lead_words(full))
    return (
        f'{mark}{words}<div class="in-full{" of-earlier" if earlier else ""}" style="--variants: {len(full.columns)}">'
        f'<table role="table"><caption>{caption}</caption><thead role="rowgroup"><tr role="row">'
        f'<th scope="col" role="columnheader">Figure</th>{heads}</tr></thead><tbody role="rowgroup">{rows}</tbody>'
        "</table></div>"
    )


def _row(full: InFull, name: str) -> str:
    label, unit, _ = shown(full, name)
    head = f"{html.escape(label)}{f' <i>{html.escape(unit)}</i>' if unit else ''}"
    cells = "".join(_cell(full, name, column) for column in full.columns)
    return (
        f'<tr role="row"><th scope="row" role="rowheader">{head}<small>{html.escape(HOW[name])}</small></th>'
        f"{cells}</tr>"
    )


def _cell(full: InFull, name: str, column: Column) -> str:
    figure, cell = column.figures.get(name), f'<td role="cell" data-arm="{column.arm}">'
    if figure is None:
        return f"{cell}–</td>"
    value, _, interval = figure_words(full, name, figure).partition(" ")
    return f"{cell}<b>{value}</b> <span>{interval}</span> <small>n = {figure.count:,}</small></td>"


def figure_words(full: InFull, name: str, figure: Estimate) -> str:
    """ "76 [69, 82]", in the unit of its row."""
    scale = shown(full, name).scale
    values = figure.value, figure.low, figure.high
    if scale is None:
        return "{:.3g} [{:.3g}, {:.3g}]".format(*values)
    return bracketed(*(scale * value for value in values))


def lead_words(full: InFull) -> list[str]:
    """The paired difference of edit and steering, and who is ahead, or that nobody clearly is."""
    edit, steering, lead = full.column("edit"), full.column("steering"), full.lead
    if edit is None or steering is None or lead is None:
        return []
    unit = "tokens" if full.less_is_better else "of 100"
    signed = figure_words(full, "change", lead)
    more, less = lead.low > 0, lead.high < 0
    ahead = "the edit" if (less if full.less_is_better else more) else "steering"
    verdict = (
        f"The interval leaves out 0: {ahead} is ahead."
        if more or less
        else "The interval includes 0: neither is clearly ahead."
    )
    kept = f"{percent(edit.figures['kept'])}, steering {percent(steering.figures['kept'])}"
    return [
        f"Edit minus steering in “{full.wanted}”, prompt by prompt: {signed} {unit}, on {lead.count:,} prompts. "
        f"{verdict}",
        f"Utility kept: the edit {kept}. A lead says most where both keep alike.",
    ]


def csv_rows(full: InFull) -> Iterator[tuple[str | float, ...]]:
    """Rows of EVALUATION_COLUMNS; shares lie between 0 and 1. The paired difference comes last."""
    for column in full.columns:
        for name, figure in column.figures.items():
            yield column.label, name, figure.value, figure.low, figure.high, figure.count, HOW[name]
    if full.lead is not None:
        lead = full.lead
        yield "edit minus steering", "attribute", lead.value, lead.low, lead.high, lead.count, texts.LEAD_HOW
