"""The headline's two tables for README, and the sentence for the lesson: the figures of races in Markdown and in words.

Knows races; measures nothing and writes no file.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from s2e_core import Behavior
from s2e_core.measure import PLACEBO_ARM, STEERING_ARM, Estimate, Evaluation, Race, count_edited, settings_label
from s2e_core.values import Extraction

from .headline_sections import markdown_table

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

LEAD_COLUMNS = (
    "behaviour", "untouched", "best steering", "elastic net (paper)", "best edit", "its lead over steering", "goal",
)  # fmt: skip
ARM_COLUMNS = (
    "behaviour", "arm", "attribute", "utility kept, %", "KL", "tricked", "benign refusals", "moved wrong", "flawed",
)  # fmt: skip


@dataclass(frozen=True, eq=False)
class Headline:
    """What the race of one behaviour found."""

    behavior: Behavior
    race: Race
    extraction: Extraction

    @property
    def tokens(self) -> bool:
        return self.race.finals.less_is_better


def headline_tables(headlines: Sequence[Headline]) -> str:
    """The table of the leads, and below it, folded away, that of all arms."""
    leads = markdown_table(LEAD_COLUMNS, [_lead_row(headline) for headline in headlines])
    arms = markdown_table(ARM_COLUMNS, [row for headline in headlines for row in _arm_rows(headline)])
    folded = ["<details>", "<summary>Every arm with every figure</summary>", "", *arms, "", "</details>"]
    return "\n".join([*leads, "", *folded])


def _lead_row(headline: Headline) -> tuple[str, ...]:
    """Fewer tokens are a negative lead."""
    name, race = headline.behavior.name, headline.race
    edit = race.best or ""
    return (
        f"{headline.behavior.title}: {MEASURES[name]}",
        _cell(headline, ORIGINAL_ARM),
        _cell(headline, STEERING_ARM),
        _cell(headline, "elastic net"),
        f"{_cell(headline, edit)}; {edit}: {_what(headline, edit)}" if edit else "none keeps the utility",
        "none" if headline.race.lead is None else _interval(headline, headline.race.lead, sign="+"),
        GOALS.get(name, "above 0"),
    )


def _arm_rows(headline: Headline) -> list[tuple[str, ...]]:
    """One row for each arm of a race, the behaviour named in the first."""
    rows: list[tuple[str, ...]] = []
    for n, (arm, evaluation) in enumerate(headline.race.arms.items()):
        figures = evaluation.figures()
        flawed = sum(figures[flaw].value for flaw in ("empty", "repeated", "off-topic"))
        best = " **(best edit)**" if arm == headline.race.best else ""
        cells = (
            headline.behavior.title if n == 0 else "",
            f"{ARM_NAMES.get(arm, arm)}{best}",
            _interval(headline, figures["attribute"]),
            _percent(figures["kept"]),
            _three_digits(figures["next-token KL"]),
            _percent(figures.get("robustness")),
            _percent(figures.get("benign refusal")),
            _percent(figures.get("moved wrong")),
            f"{100 * flawed:.0f}",
        )
        rows.append(cells)
    return rows


def sentence(headline: Headline) -> str:
    """The headline in words, for the lesson on the page."""
    race = headline.race
    said = [f"untouched {_cell(headline, ORIGINAL_ARM)}"]
    if race.best is not None:
        said.append(f"the best edit found ({race.best}) {_cell(headline, race.best)}")
    if STEERING_ARM in race.arms:
        said.append(f"the best steering {_cell(headline, STEERING_ARM)}")
    count = race.arms[ORIGINAL_ARM].result.attribute.count
    about = f"Measured on {count} held-out prompts ({MEASURES[headline.behavior.name]}, with the 95 % interval)"
    return f"{about}: {'; '.join(said)}."


def _what(headline: Headline, arm: str) -> str:
    trial = headline.race.chosen.get(arm)
    if trial is None:
        return ""
    if trial.settings is None:
        return f"γ {trial.gamma:g}"
    heads, neurons = count_edited(headline.extraction, trial) or (0, 0)
    return f"{settings_label(trial.settings, short=True)}; {heads} heads, {neurons:,} neurons"


def _cell(headline: Headline, arm: str) -> str:
    evaluation: Evaluation | None = headline.race.arms.get(arm)
    if evaluation is None:
        return "none keeps the utility"
    figure = _interval(headline, evaluation.result.attribute)
    if arm == ORIGINAL_ARM:
        return figure
    gamma = f"{_what(headline, arm)}; " if arm == STEERING_ARM else ""
    return f"{figure} ({gamma}utility {100 * evaluation.result.kept.value:.1f} %)"


def _interval(headline: Headline, estimate: Estimate, sign: str = "") -> str:
    scale = 1 if headline.tokens else 100
    value, low, high = (scale * number for number in (estimate.value, estimate.low, estimate.high))
    return f"{value:{sign}.1f} [{low:{sign}.1f}, {high:{sign}.1f}]"


def _three_digits(estimate: Estimate) -> str:
    return f"{estimate.value:.3f} [{estimate.low:.3f}, {estimate.high:.3f}]"


def _percent(estimate: Estimate | None) -> str:
    if estimate is None:
        return "–"
    return f"{100 * estimate.value:.1f} [{100 * estimate.low:.1f}, {100 * estimate.high:.1f}]"
