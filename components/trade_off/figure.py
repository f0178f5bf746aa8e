"""What was measured as plotly figures: the trade-off, the progressive curve, and leaving components out.

Knows values and plotly; no page. Colours are those of the light theme; `DARK` says what each becomes in the dark. Every
arm has a shape of its own, so that nothing is told by colour alone.
"""

from __future__ import annotations

import html
from collections.abc import Sequence
from typing import Any

import plotly.graph_objects as go

from s2e_core.measure import Estimate

from .measured import Measured, Point
from .words import SHARES, attribute_kind, hover, scaled

INK, QUIET, LINE, PAPER = "#1c2430", "#5b6573", "#e3e7ec", "#ffffff"
EDIT, EDIT_BAR = "#1f6fb4", "#9dbfdd"
STEERING, STEERING_BAR = "#c2560c", "#e2b592"
BEST = "#0a7d5a"
DARK = {
    INK: "#e8ecf1", QUIET: "#a3adba", LINE: "#2b343f", PAPER: "#12161c",
    EDIT: "#63aef2", EDIT_BAR: "#33597d", STEERING: "#f0a05e", STEERING_BAR: "#7d5230", BEST: "#48cfa5",
}  # fmt: skip
SYMBOLS = {"original": "square", "edit": "circle", "steering": "diamond"}
COLORS = {"original": INK, "edit": EDIT, "steering": STEERING}
FEW = 6
"""Up to so many points of an arm all have their bars; beyond, only the front and the recommended ones."""
LOAD = "Click to load it into the page"
LOADABLE = {"edit": LOAD, "steering": "Click to compare with this steering", "original": ""}


def trade_off_figure(measured: Measured, *, current: int | None = None, action: bool = True) -> go.Figure:
    """Attribute over utility kept: up and right is better. `current` is the edit on the page, where it is a point.

    Traces with points that can be clicked carry their positions as customdata; `action` says so in the hover cards.
    """
    traces = [
        _front_line(measured),
        *_arm(measured, "edit", "edits", "circle", EDIT, EDIT_BAR, action),
        *_arm(measured, "steering", "steering, by γ", "diamond", STEERING, STEERING_BAR, action),
        *_arm(measured, "original", "untouched model", "square", INK, QUIET, action),
        _run_off(measured, action),
        _held_out(measured),
        _ring(measured, measured.best("edit"), "recommended edit", BEST, "circle-open", 19),
        _ring(measured, current, "on the page", INK, "cross-thin-open", 15),
    ]
    figure = go.Figure([trace for trace in traces if trace is not None], _layout(measured))
    floor = 100 * measured.floor
    figure.add_vline(x=floor, line={"color": QUIET, "width": 1.2, "dash": "dash"})
    figure.add_annotation(
        x=floor, y=1, yref="paper", yanchor="bottom", text=f"floor {floor:g} %", showarrow=False,
        font={"size": 11, "color": QUIET},
    )  # fmt: skip
    return figure


def progressive_figure(measured: Measured) -> go.Figure:
    """Attribute and utility kept over the number of components; the untouched model's attribute as a level."""
    edits = [p for p in measured.points if p.size is not None and sum(p.size) > 0]
    edits = sorted(edits, key=lambda point: sum(point.size or (0,)))
    counts = [sum(point.size or (0,)) for point in edits]
    cards = [hover(measured, point, LOAD) for point in edits]
    places = [[measured.position(point.trial)] for point in edits]
    shared: dict[str, Any] = {"x": counts, "mode": "lines+markers", "text": cards, "customdata": places,
                              "hovertemplate": "%{text}<extra></extra>"}  # fmt: skip
    attributes, kept = [p.result.attribute for p in edits], [p.result.kept for p in edits]
    figure = go.Figure([
        go.Scatter(
            **shared, y=[scaled(measured, e.value) for e in attributes], name=_safe(measured.wanted), yaxis="y",
            error_y=_bars([_scaled(measured, e) for e in attributes], EDIT_BAR),
            marker={"symbol": "circle", "size": 9, "color": EDIT}, line={"color": EDIT, "width": 2},
        ),
        go.Scatter(
            **shared, y=[100 * e.value for e in kept], name="utility kept", yaxis="y2",
            error_y=_bars([_percent(e) for e in kept], STEERING_BAR),
            marker={"symbol": "diamond", "size": 9, "color": STEERING},
            line={"color": STEERING, "width": 2, "dash": "dot"},
        ),
    ])  # fmt: skip
    layout = _layout(measured)
    layout["xaxis"] = {**_axis("components edited, strongest first"), "type": "log", "dtick": "D2"}
    layout["yaxis2"] = {
        **_axis("utility kept, % of the untouched model's"), "overlaying": "y", "side": "right", "tickmode": "auto",
        "showgrid": False, "range": _range([_percent(figure) for figure in kept]),
    }  # fmt: skip
    layout["margin"] |= {"r": 62}
    figure.update_layout(layout)
    original = next((p.result for p in measured.points if p.trial.arm == "original"), None)
    if original is not None:
        level = scaled(measured, original.attribute.value)
        figure.add_hline(y=level, line={"color": QUIET, "width": 1.2, "dash": "dash"}, annotation={
            "text": "untouched model", "font": {"size": 11, "color": QUIET}, "xanchor": "right",
        })  # fmt: skip
    return figure


def leave_one_out_figure(measured: Measured) -> go.Figure:
    """Change of the attribute when one component is left out, the largest loss on top."""
    points = [p for p in measured.points if p.change is not None and p.trial.left_out]
    better = -1 if measured.less_is_better else 1
    points.sort(key=lambda p: -better * p.change.value if p.change else 0.0)
    changes = [_scaled(measured, p.change) for p in points if p.change is not None]
    names = [_safe(p.trial.left_out) for p in points]
    figure = go.Figure(
        go.Bar(
            x=[value for value, _, _ in changes], y=names, orientation="h",
            error_x=_bars(changes, INK, width=4), marker={"color": EDIT_BAR, "line": {"color": EDIT, "width": 1}},
            text=[hover(measured, point, LOAD) for point in points], textposition="none",
            hovertemplate="%{text}<extra></extra>", customdata=[[measured.position(p.trial)] for p in points],
            showlegend=False,
        )
    )  # fmt: skip
    unit = "tokens" if measured.less_is_better else "points of 100"
    layout = _layout(measured)
    layout["xaxis"] = _axis(f"change of “{_safe(measured.wanted)}”<br>without it, {unit}")
    layout["yaxis"] = {"automargin": True, "ticks": "", "gridcolor": LINE, "tickfont": {"size": 11}}
    layout["margin"] |= {"b": 68}  # beside the names a phone has no room for the title in one line
    layout["height"] = 136 + 24 * max(4, len(points))
    figure.update_layout(layout)
    figure.add_vline(x=0, line={"color": INK, "width": 1})
    return figure


def _arm(
    measured: Measured, arm: str, name: str, symbol: str, color: str, bar: str, action: bool
) -> list[go.Scatter | None]:
    """The points of an arm, and the bars of those that need them."""
    places = [n for n, point in enumerate(measured.points) if point.trial.arm == arm]
    if not places:
        return []
    if arm == "steering":
        places.sort(key=lambda n: measured.points[n].trial.gamma or 0.0)
    kept_bars = places if len(places) <= FEW else [n for n in places if n in _marked(measured)]
    points = [measured.points[n] for n in places]
    cards = [hover(measured, point, LOADABLE[arm] if action else "") for point in points]
    sizes = {"edit": 8, "steering": 10, "original": 12}
    return [
        _with_bars(measured, [measured.points[n] for n in kept_bars], bar) if kept_bars else None,
        go.Scatter(
            x=[100 * p.result.kept.value for p in points], name=name,
            y=[scaled(measured, p.result.attribute.value) for p in points],
            mode="lines+markers" if arm == "steering" else "markers", line={"color": color, "width": 1.6},
            marker={"symbol": symbol, "size": sizes[arm], "color": color, "line": {"color": PAPER, "width": 1}},
            text=cards, customdata=[_corners(measured, n) for n in places], hovertemplate="%{text}<extra></extra>",
        ),
    ]  # fmt: skip


def _corners(measured: Measured, n: int) -> list[float]:
    """Of a point: its position, and what its bars reach to the left, right, below and above."""
    result = measured.tried[n].result
    (x, left, right), (y, low, high) = _percent(result.kept), _scaled(measured, result.attribute)
    return [n, x - left, right - x, y - low, high - y]


def _with_bars(measured: Measured, points: Sequence[Point], color: str) -> go.Scatter:
    kept = [_percent(point.result.kept) for point in points]
    attribute = [_scaled(measured, point.result.attribute) for point in points]
    return go.Scatter(
        x=[value for value, _, _ in kept], y=[value for value, _, _ in attribute], mode="markers",
        marker={"size": 1, "color": color}, hoverinfo="skip", showlegend=False,
        error_x=_bars(kept, color), error_y=_bars(attribute, color),
    )  # fmt: skip


def _marked(measured: Measured) -> set[int | None]:
    return {*measured.front(), measured.best("edit"), measured.best("steering")}


def _front_line(measured: Measured) -> go.Scatter | None:
    front = [measured.points[n].result for n in measured.front()]
    if len(front) < 2:
        return None
    return go.Scatter(
        x=[100 * r.kept.value for r in front], y=[scaled(measured, r.attribute.value) for r in front], mode="lines",
        line={"color": QUIET, "width": 1.2, "dash": "dot"}, name="Pareto front", hoverinfo="skip",
    )  # fmt: skip


def _run_off(measured: Measured, action: bool) -> go.Scatter | None:
    """The run-off, as signs with a dot."""
    if measured.run_off is None:
        return None
    points, first = measured.run_off.points, len(measured.points)
    cards = [hover(measured, point, LOADABLE[point.trial.arm] if action else "") for point in points]
    return go.Scatter(
        x=[100 * p.result.kept.value for p in points], mode="markers", name="in the run-off",
        y=[scaled(measured, p.result.attribute.value) for p in points],
        marker={"symbol": [f"{SYMBOLS[p.trial.arm]}-open-dot" for p in points], "size": 11,
                "color": [COLORS[p.trial.arm] for p in points], "line": {"width": 1.6}},
        text=["<b>In the run-off</b><br>" + card for card in cards], hovertemplate="%{text}<extra></extra>",
        customdata=[_corners(measured, first + n) for n in range(len(points))],
    )  # fmt: skip


def _held_out(measured: Measured) -> go.Scatter | None:
    """The check, as hollow signs with bars."""
    if measured.held_out is None:
        return None
    points = measured.held_out.points
    trace = _with_bars(measured, points, QUIET)
    trace.update(
        marker={"symbol": [f"{SYMBOLS[p.trial.arm]}-open" for p in points], "size": 12,
                "color": [COLORS[p.trial.arm] for p in points], "line": {"width": 2.2}},
        name="on held-out prompts", showlegend=True, hoverinfo=None, hovertemplate="%{text}<extra></extra>",
        text=["<b>On held-out prompts</b><br>" + hover(measured, point) for point in points],
    )  # fmt: skip
    return trace


def _ring(measured: Measured, n: int | None, name: str, color: str, symbol: str, size: int) -> go.Scatter | None:
    if n is None:
        return None
    result = measured.tried[n].result
    return go.Scatter(
        x=[100 * result.kept.value], y=[scaled(measured, result.attribute.value)], mode="markers", name=name,
        marker={"symbol": symbol, "size": size, "color": color, "line": {"color": color, "width": 2.6}},
        hoverinfo="skip",
    )  # fmt: skip


def _bars(values: Sequence[tuple[float, float, float]], color: str, width: int = 3) -> dict[str, Any]:
    return {
        "type": "data", "symmetric": False, "color": color, "thickness": 1.4, "width": width,
        "array": [high - value for value, _, high in values], "arrayminus": [value - low for value, low, _ in values],
    }  # fmt: skip


def _range(values: Sequence[tuple[float, float, float]]) -> list[float]:
    """From below the lowest bar to above the highest, with 100 % in sight; never so narrow that rounding fills it."""
    low, high = min((low for _, low, _ in values), default=90.0), max((high for *_, high in values), default=100.0)
    return [max(0.0, min(low, 80.0) - 4), max(high, 100.0) + 4]


def _scaled(measured: Measured, figure: Estimate) -> tuple[float, float, float]:
    return scaled(measured, figure.value), scaled(measured, figure.low), scaled(measured, figure.high)


def _percent(figure: Estimate) -> tuple[float, float, float]:
    return 100 * figure.value, 100 * figure.low, 100 * figure.high


def _layout(measured: Measured) -> dict[str, Any]:
    return {
        "template": go.layout.Template(), "height": 430, "margin": {"l": 62, "r": 18, "t": 34, "b": 52},
        "font": {"color": INK, "size": 12}, "paper_bgcolor": PAPER, "plot_bgcolor": PAPER,
        "xaxis": _axis("utility kept, % of the untouched model's"),
        "yaxis": {**_axis(attribute_title(measured)), **({"autorange": "reversed"} if measured.less_is_better else {})},
        "legend": {"orientation": "h", "x": 0, "y": -0.19, "yanchor": "top", "font": {"size": 11.5}},
        "hoverlabel": {"align": "left", "bgcolor": PAPER, "bordercolor": QUIET, "font": {"color": INK, "size": 12}},
        "hovermode": "closest", "hoverdistance": 12, "barcornerradius": 2,
    }  # fmt: skip


def attribute_title(measured: Measured) -> str:
    wanted = _safe(measured.wanted)
    if measured.less_is_better:
        return f"{wanted}: tokens per answer, less is better"
    return f"{wanted}, % of prompts" if attribute_kind(measured) in SHARES else f"{wanted}, score of 100"


def _axis(title: str) -> dict[str, Any]:
    return {
        "title": {"text": title, "font": {"size": 12, "color": QUIET}, "standoff": 8}, "gridcolor": LINE,
        "zeroline": False, "linecolor": QUIET, "showline": True, "ticks": "outside", "ticklen": 4, "tickcolor": QUIET,
        "tickfont": {"size": 11, "color": QUIET},
    }  # fmt: skip


def _safe(text: str) -> str:
    """Plotly reads a few tags in its texts; none may come from a name."""
    return html.escape(text, quote=False)
