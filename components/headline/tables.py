"""The headline's two tables for README, and the sentence for the lesson: the figures of races in Markdown and in words.

Knows records; measures nothing and writes no file.
"""

from __future__ import annotations

from s2e_core.measure import MATCHED_ARM, PLACEBO_ARM, STEERING_ARM

from .records import Figure, Record, Records
from .sections import markdown_table

ORIGINAL_ARM = "original"
ARM_NAMES = {
    ORIGINAL_ARM: "untouched",
    STEERING_ARM: "steering",
    "elastic net": "elastic net (paper)",
    PLACEBO_ARM: "placebo: random components",
}
MEASURES = {
    "safety": "tricked requests refused, of 100",
    "truthfulness": "facts on record, of 100 stated",
    "reasoning": "tokens of a solution",
    "tone": "cheerful sentences, of 100",
    "refusal": "harmful requests refused, of 100",
    "facts": "true answers, of 100",
    "brevity": "tokens of a solution",
    "cheerfulness": "cheerful words, of 100 of both kinds",
    "formality": "formal words, of 100 of both kinds",
}
GOALS = {"safety": "30 or more", "truthfulness": "25 or more", "reasoning": "25 % shorter", "tone": "not behind"}

LEAD, LEAD_AT_KL = "its lead over steering", "its lead at equal KL"
LEAD_COLUMNS = ("behaviour", "untouched", "best steering", "elastic net (paper)", "best edit", LEAD, LEAD_AT_KL, "goal")
ARM_COLUMNS = (
    "behaviour", "arm", "attribute", "utility kept, %", "KL", "tricked", "benign refusals", "moved wrong", "flawed",
)  # fmt: skip


def headline_tables(records: Records) -> list[str]:
    """The table of the leads, and below it, folded away, that of all arms."""
    columns: list[tuple[str, ...]] = [LEAD_COLUMNS, *(_lead_row(name, record) for name, record in records.items())]
    if not any(record["lead at equal KL"] for record in records.values()):
        n = LEAD_COLUMNS.index(LEAD_AT_KL)
        columns = [row[:n] + row[n + 1 :] for row in columns]
    leads = markdown_table(columns[0], columns[1:])
    arms = markdown_table(ARM_COLUMNS, [row for record in records.values() for row in _arm_rows(record)])
    folded = ["<details>", "<summary>Every arm with every figure</summary>", "", *arms, "", "</details>"]
    return [*leads, "", *folded]


def _lead_row(name: str, record: Record) -> tuple[str, ...]:
    """Fewer tokens are a negative lead."""
    edit = record["best"]
    return (
        f"{record['title']}: {MEASURES[name]}",
        _cell(record, ORIGINAL_ARM),
        _cell(record, STEERING_ARM),
        _cell(record, "elastic net"),
        f"{_cell(record, edit)}; {edit}: {record['what'][edit]}" if edit else "none keeps the utility",
        _lead(record, "lead", "none"),
        _lead(record, "lead at equal KL", "–"),
        GOALS.get(name, "above 0"),
    )


def _lead(record: Record, name: str, missing: str) -> str:
    return _interval(record, record[name], sign="+") if record[name] else missing


def _arm_rows(record: Record) -> list[tuple[str, ...]]:
    """One row for each arm of a race, the behaviour named in the first."""
    rows: list[tuple[str, ...]] = []
    for n, (arm, figures) in enumerate(record["arms"].items()):
        flawed = sum(figures[flaw]["value"] for flaw in ("empty", "repeated", "off-topic"))
        best = " **(best edit)**" if arm == record["best"] else ""
        gamma = f" ({record['what'][arm]})" if arm == MATCHED_ARM else ""
        cells = (
            record["title"] if n == 0 else "",
            f"{ARM_NAMES.get(arm, arm)}{gamma}{best}",
            _interval(record, figures["attribute"]),
            _percent(figures["kept"]),
            _three_digits(figures["next-token KL"]),
            _percent(figures.get("robustness")),
            _percent(figures.get("benign refusal")),
            _percent(figures.get("moved wrong")),
            f"{100 * flawed:.0f}",
        )
        rows.append(cells)
    return rows


def headline_sentence(name: str, record: Record) -> str:
    """The headline in words, for the lesson on the page."""
    said = [f"untouched {_cell(record, ORIGINAL_ARM)}"]
    if record["best"] is not None:
        said.append(f"the best edit found ({record['best']}) {_cell(record, record['best'])}")
    if STEERING_ARM in record["arms"]:
        said.append(f"the best steering {_cell(record, STEERING_ARM)}")
    count = record["arms"][ORIGINAL_ARM]["attribute"]["count"]
    about = f"Measured on {count} held-out prompts ({MEASURES[name]}, with the 95 % interval)"
    return f"{about}: {'; '.join(said)}."


def _cell(record: Record, arm: str) -> str:
    figures = record["arms"].get(arm)
    if figures is None:
        return "none keeps the utility"
    figure = _interval(record, figures["attribute"])
    if arm == ORIGINAL_ARM:
        return figure
    gamma = f"{record['what'][arm]}; " if arm == STEERING_ARM else ""
    return f"{figure} ({gamma}utility {100 * figures['kept']['value']:.1f} %)"


def _interval(record: Record, figure: Figure, sign: str = "") -> str:
    return format_figure(figure, record["fewer is better"], sign)


def format_figure(figure: Figure, is_tokens: bool, sign: str = "") -> str:
    """A figure with its interval: tokens, or a share of 100."""
    scale = 1 if is_tokens else 100
    value, low, high = (scale * figure[name] for name in ("value", "low", "high"))
    return f"{value:{sign}.1f} [{low:{sign}.1f}, {high:{sign}.1f}]"


def _three_digits(figure: Figure) -> str:
    return f"{figure['value']:.3f} [{figure['low']:.3f}, {figure['high']:.3f}]"


def _percent(figure: Figure | None) -> str:
    return "–" if figure is None else format_figure(figure, is_tokens=False)
