"""What is odd about examples, one of them as the model reads it, and how far they can be trusted: as HTML.

Knows findings, tokens and figures; no gradio and no model. Every text of a visitor is escaped. Nothing is told by
colour alone: averaged tokens are boxed and underlined, heads and neurons have marks of their own.
"""

from __future__ import annotations

import html
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import groupby

from components.shared import data_words as words

from .handlers import Report
from .trusted import LayerTrust, Trust

SPAN_TOKENS = 90
STRONG = 0.9
"""Held-out accuracy, and cosine of resampled directions, from which examples are called good."""
KEY = '<svg viewBox="0 0 12 12" aria-hidden="true">{}</svg>'
WIDTH, HEIGHT, LEFT, TOP, BOTTOM, RIGHT = 360, 130, 38, 8, 22, 8  # of a plot, in its own units


def report_html(report: Report, *, folded: bool = False) -> str:
    """The findings, and the spans; `folded` where they have been looked at."""
    items = "".join(
        f'<li class="{one.severity}"><b>{words.SEVERITIES[one.severity]}</b> {html.escape(one.sentence)}</li>'
        for one in report.findings
    )
    spans = (
        spans_html(report.spans, folded=folded)
        if report.spans
        else f'<p class="note">{html.escape(words.NOT_LOADED)}</p>'
    )
    return f'<ul class="findings">{items}</ul>{spans}'


def spans_html(spans: Mapping[str, Sequence[tuple[str, bool]]], *, folded: bool = False) -> str:
    """One example of each side as tokens, the averaged ones marked."""
    shown = "".join(
        f'<section><h3>{html.escape(side)}</h3><p class="tokens">{"".join(_tokens(tokens))}</p></section>'
        for side, tokens in spans.items()
    )
    return (
        f"<details{'' if folded else ' open'}><summary>{words.SPAN}</summary><p>{words.SPAN_HELP}</p>"
        f'<div class="spans">{shown}</div></details>'
    )


def _tokens(tokens: Sequence[tuple[str, bool]]) -> Iterator[str]:
    first = next((k for k, (_, averaged) in enumerate(tokens) if averaged), 0)
    start = min(max(0, len(tokens) - SPAN_TOKENS), max(0, first - 8))
    if start:
        yield f"<i>{words.SPAN_CUT.format(start)}</i> "
    for averaged, group in groupby(tokens[start : start + SPAN_TOKENS], key=lambda token: token[1]):
        inside = "".join(f"<span>{_visible(text)}</span>" for text, _ in group)
        # Read aloud, the marks say where the averaged part begins and ends.
        yield f'<mark aria-label="averaged">{inside}</mark>' if averaged else inside
    if len(tokens) > start + SPAN_TOKENS:
        yield " <i>…</i>"


def _visible(text: str) -> str:
    return html.escape(text.replace("\n", "⏎")) or "·"


def trust_html(trust: Trust, *, folded: bool = False) -> str:
    """One plain sentence, and, `folded` where nobody asked, the figures behind it: two small plots and a table."""
    lead = trust.weaknesses[0].warning if trust.weaknesses else verdict(trust)
    details = "".join(f"<p>{html.escape(weakness.sentence)}</p>" for weakness in trust.weaknesses[1:])
    plots = _plot(trust, words.ACCURACY_PLOT, lambda one: one.accuracy, 0.4, 1.0, (0.5, 0.75, 1.0), 0.5, "{:.0%}")
    plots += _plot(trust, words.STABILITY_PLOT, lambda one: one.cosine, 0.0, 1.0, (0.0, 0.5, 1.0), None, "{:.1f}")
    return (
        f'<p class="lead {"weak" if trust.weaknesses else "holds"}">{html.escape(lead)}</p>{details}'
        f"<details{'' if folded else ' open'}><summary>{words.TRUST_PLOTS}</summary><p>{html.escape(trust.summary)}</p>"
        f'<div class="trust-plots">{plots}</div>'
        f'<p class="key">{KEY.format(_mark("heads", 6, 6))} heads {KEY.format(_mark("neurons", 6, 6))} neurons</p>'
        f"<p>{words.TRUST_HOW.format(resamples=trust.resamples)}</p>"
        f"<details><summary>{words.TRUST_TABLE}</summary>{_table(trust)}</details></details>"
    )


def verdict(trust: Trust) -> str:
    """What a person should know about examples without a weakness."""
    template = words.TRUSTED if trust.separability >= STRONG and trust.cosine >= STRONG else words.FAIR
    return template.format(accuracy=f"{100 * trust.separability:.0f} %", cosine=f"{trust.cosine:.2f}")


def _plot(
    trust: Trust, title: str, value: Callable[[LayerTrust], float], low: float, high: float, ticks: Sequence[float],
    guess: float | None, written: str,
) -> str:  # fmt: skip
    """A line of each kind over the layers."""

    def x(layer: int) -> float:
        return LEFT + (WIDTH - LEFT - RIGHT) * (layer + 0.5) / trust.n_layers

    def y(figure: float) -> float:
        return TOP + (HEIGHT - TOP - BOTTOM) * (high - min(high, max(low, figure))) / (high - low)

    lines = [
        f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y(t):.1f}" y2="{y(t):.1f}"/>'
        f'<text x="{LEFT - 5}" y="{y(t) + 3.5:.1f}" text-anchor="end">{written.format(t)}</text>'
        for t in ticks
    ]
    if guess is not None:
        lines.append(f'<line class="guess" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y(guess):.1f}" y2="{y(guess):.1f}"/>')
        lines.append(f'<text x="{WIDTH - RIGHT}" y="{y(guess) + 11:.1f}" text-anchor="end">guessing</text>')
    step = max(1, round(trust.n_layers / 8))
    lines += [
        f'<text x="{x(layer):.1f}" y="{HEIGHT - 8}" text-anchor="middle">{layer}</text>'
        for layer in range(0, trust.n_layers, step)
    ]
    for kind in ("heads", "neurons"):
        points = [(x(one.layer), y(value(one))) for one in trust.layers if one.kind == kind]
        path = " ".join(f"{a:.1f},{b:.1f}" for a, b in points)
        lines.append(f'<polyline class="{kind}" points="{path}"/>')
        lines += [_mark(kind, a, b) for a, b in points]
    label = html.escape(title)
    return (
        f'<figure><figcaption>{label}</figcaption><svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" '
        f'aria-label="{label}, by layer; the table below has the figures">{"".join(lines)}</svg></figure>'
    )


def _mark(kind: str, x: float, y: float) -> str:
    if kind == "heads":
        return f'<circle class="{kind}" cx="{x:.1f}" cy="{y:.1f}" r="3.2"/>'
    return f'<rect class="{kind}" x="{x - 3:.1f}" y="{y - 3:.1f}" width="6" height="6"/>'


def _table(trust: Trust) -> str:
    rows = "".join(
        f"<tr><td>{one.layer}</td><td>{one.kind}</td><td>{one.accuracy:.0%}</td><td>{one.cosine:.2f}</td>"
        f"<td>{one.deviation:.3f}</td></tr>"
        for one in trust.layers
    )
    heads = "".join(
        f'<th scope="col">{name}</th>'
        for name in ("layer", "kind", "held-out accuracy", "direction cosine", "deviation of g")
    )
    return f"<table><thead><tr>{heads}</tr></thead><tbody>{rows}</tbody></table>"
