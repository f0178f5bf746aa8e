"""The figures of a trade-off in words: points, the recommendation and the rule behind it.

Knows what was measured; no page and no plot. `advice` is HTML, everything else is plain text.
"""

from __future__ import annotations

import html

from s2e_core.measure import WHY_KL, Estimate, Result, bar, by_utility, keeps, keeps_safely

from .measured import HeldOut, Measured, Point, RunOff

SHARES = ("refusal", "help", "source", "arithmetic")
"""Kinds of prompts that an answer gets right or not; the others have scores in between."""

CHOSEN_ON = "Measured on the prompts it was chosen on, so expect a little less on others."


def attribute_kind(measured: Measured) -> str:
    return next(str(q.row["kind"]) for q in measured.about.questions if q.side == "attribute")


def scaled(measured: Measured, value: float) -> float:
    """The attribute as it is shown: of 100, or in tokens."""
    return value if measured.less_is_better else 100 * value


def bracketed(value: float, low: float, high: float) -> str:
    """ "76.3 [69.0, 82.1]"."""
    return f"{_number(value)} [{_number(low)}, {_number(high)}]"


def attribute_figure(measured: Measured, figure: Estimate) -> str:
    """ "76.3 of 100 [69.0, 82.1]", or tokens."""
    value, low, high = (scaled(measured, one) for one in (figure.value, figure.low, figure.high))
    unit = " tokens" if measured.less_is_better else " of 100"
    return f"{_number(value)}{unit} [{_number(low)}, {_number(high)}]"


def attribute_words(measured: Measured, figure: Estimate) -> str:
    """ "refuses: 76.3 of 100 [69.0, 82.1]"."""
    return f"{measured.wanted}: {attribute_figure(measured, figure)}"


def percent(figure: Estimate) -> str:
    """ "98.2 % [95.0, 101.3]"."""
    return f"{_number(100 * figure.value)} % [{_number(100 * figure.low)}, {_number(100 * figure.high)}]"


def title(point: Point) -> str:
    """ "edit of 12 heads and 40 neurons", "steering γ = 0.4" or "original"."""
    if point.trial.arm == "edit" and point.size is not None:
        return f"edit of {counted(point.size)}"
    return point.trial.label


def counted(size: tuple[int, int]) -> str:
    """ "12 heads and 40 neurons"; a kind without any is left out."""
    parts = [f"{count:,} {word}{'s' * (count != 1)}" for count, word in zip(size, ("head", "neuron"), strict=True)]
    return " and ".join(part for part, count in zip(parts, size, strict=True) if count) or "nothing"


def hover(measured: Measured, point: Point, action: str = "") -> str:
    """The card of a point: settings, figures, numbers of prompts. Plotly's own markup, everything else escaped."""
    result = point.result
    flaws = ", ".join(f"{name} {100 * flaw.value:.1f} %" for name, flaw in result.flaws.items())
    lines = [
        f"<b>{html.escape(title(point))}</b>",
        html.escape(point.trial.label) if title(point) != point.trial.label else "",
        f"{html.escape(attribute_words(measured, result.attribute))}, {result.attribute.count} prompts",
        f"keeps {percent(result.kept)} of the utility, {result.kept.count} prompts",
        f"answers: {flaws}",
        f"<i>{action}</i>" if action else "",
    ]
    return "<br>".join(line for line in lines if line)


def advice(measured: Measured) -> str:
    """What to do, and how good it is, in sentences a newcomer understands."""
    best = measured.best("edit")
    if not measured.points:
        return ""
    if best is None:
        return _paragraphs(
            "No edit to recommend",
            f"None of the edits {'in the run-off' if measured.run_off else 'that were tried'} {_bar(measured)}. "
            f"{'Lower the floor or try' if _is_by_utility(measured) else 'Try'} more settings.",
            _steering_alone(measured),
        )
    edit = measured.tried[best]
    name = f"Recommended: the {title(edit)}"
    chosen = _run_off_words(measured, measured.run_off, edit) if measured.run_off else []
    if measured.held_out is not None and measured.held_out.edit is not None:
        return _paragraphs(name, *chosen, *_held_out_words(measured, measured.held_out), edit.trial.label)
    if chosen:
        return _paragraphs(name, *chosen, CHOSEN_ON, edit.trial.label)
    steering = measured.best("steering")
    sentences = [
        f"“{measured.wanted}”: {attribute_figure(measured, edit.result.attribute)}; "
        f"keeps {percent(edit.result.kept)} of the utility.",
        "" if steering is None else f"Best steering: {_steering(measured, measured.tried[steering])}",
        f"{CHOSEN_ON} Find a good edit also checks on held-out prompts.",
        edit.trial.label,
    ]
    return _paragraphs(name, *sentences)


def rule_of_choice(measured: Measured) -> str:
    """By which rule the run-off chose the edit, in a sentence."""
    best, floor = measured.best("edit"), f"{100 * measured.floor:g} %"
    if not _is_by_utility(measured):
        return f"{WHY_KL} Chosen by the run-off: {_most(measured)} among those within that bound."
    most = _most(measured)
    if best is None or keeps_safely(measured.tried[best].result, measured.floor):
        return f"Chosen by the run-off: {most} among those that keep {floor} of the utility by one standard error."
    return (
        f"Chosen by the run-off: {most} among those that keep {floor} of the utility, since none keeps it by one "
        "standard error."
    )


def _most(measured: Measured) -> str:
    return "the fewest tokens" if measured.less_is_better else f"the most of “{measured.wanted}”"


def _decisive(measured: Measured) -> tuple[Point, ...]:
    """The points that the choice is made by."""
    return measured.run_off.points if measured.run_off else measured.points


def _is_by_utility(measured: Measured) -> bool:
    return all(by_utility(point.result) for point in _decisive(measured))


def _bar(measured: Measured) -> str:
    return bar((point.result for point in _decisive(measured)), measured.floor)


def _run_off_words(measured: Measured, finals: RunOff, edit: Point) -> list[str]:
    """The rule, and the choice beside the best steering and the edit that was on the page."""
    result, steering = edit.result, measured.best("steering")
    page = finals.point(finals.page)
    return [
        rule_of_choice(measured),
        f"In the run-off, “{measured.wanted}” on {result.attribute.count} prompts, {finals.about.samples} answers "
        f"each: {_scored(measured, edit)}",
        f"No steering strength {_bar(measured)} there."
        if steering is None
        else f"The best steering there: {_steering(measured, measured.tried[steering])}",
        "" if page is None else _page_words(measured, page, is_choice=page is edit),
    ]


def _page_words(measured: Measured, page: Point, *, is_choice: bool) -> str:
    if is_choice:
        return "It is the edit that was on the page: no other did better."
    short = " That is less than asked for." if not keeps(page.result, measured.floor) else ""
    return f"The edit that was on the page: {_scored(measured, page)}{short}"


def _held_out_words(measured: Measured, check: HeldOut) -> list[str]:
    assert check.edit is not None
    edit, original = check.edit.result, check.original.result
    floor = f"{100 * measured.floor:g} %"
    short = not keeps(edit, measured.floor)
    return [
        f"“{measured.wanted}” on {edit.attribute.count} held-out prompts: "
        f"{attribute_figure(measured, edit.attribute)}; the untouched model: "
        f"{attribute_figure(measured, original.attribute)}. "
        f"The edit keeps {percent(edit.kept)} of the utility{_kl(edit)}"
        + (f", less than the {floor} asked for: on these prompts the choice does not quite hold." if short else "."),
        f"No steering strength {_bar(measured)}."
        if check.steering is None
        else f"Best steering: {_steering(measured, check.steering)}",
        winner(measured, check.lead),
    ]


def winner(measured: Measured, lead: Estimate | None) -> str:
    """Who is ahead on the held-out prompts, or that nobody clearly is."""
    if lead is None:
        return ""
    value, low, high = (scaled(measured, one) for one in (lead.value, lead.low, lead.high))
    unit = "tokens" if measured.less_is_better else "of 100"
    if low > 0:
        return f"The edit wins by {bracketed(value, low, high)} {unit}."
    if high < 0:
        return f"Steering wins by {bracketed(-value, -high, -low)} {unit}."
    return f"No clear winner: edit minus steering is {bracketed(value, low, high)} {unit}, which includes 0."


def _steering(measured: Measured, point: Point) -> str:
    return f"{point.trial.name or point.trial.dials} with {_scored(measured, point)}"


def _scored(measured: Measured, point: Point) -> str:
    result = point.result
    figure = attribute_figure(measured, result.attribute)
    return f"{figure}, keeps {percent(result.kept)} of the utility{_kl(result)}."


def _kl(result: Result) -> str:
    return "" if result.kl is None else f", KL {result.kl.value:.3f}"


def _steering_alone(measured: Measured) -> str:
    """The best steering where no edit is good enough: on held-out prompts where it was asked those."""
    checked, best = measured.held_out and measured.held_out.steering, measured.best("steering")
    if checked:
        return f"Best steering, on held-out prompts: {_steering(measured, checked)}"
    return "" if best is None else f"Best steering: {_steering(measured, measured.tried[best])}"


def _paragraphs(name: str, *sentences: str) -> str:
    body = "".join(f"<p>{html.escape(sentence)}</p>" for sentence in sentences if sentence)
    return f'<h4 aria-level="3">{html.escape(name)}</h4>{body}'


def _number(value: float) -> str:
    """One decimal; never "-0.0"."""
    return f"{round(value, 1) + 0.0:,.1f}"
