"""Sections after the headline's tables in README, and the sentence on how well the screen predicts.

Knows the markers of a model's part; the tables themselves are made in `headline.py`.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from s2e_core import Behavior
from s2e_core.measure import STEERING_ARM, Race, RankCorrelation
from s2e_core.values import Variant

Run = tuple[Behavior, Race]
"""A behaviour with its race."""


def append_section(readme: Path, model: str, lines: Sequence[str]) -> None:
    """Add lines at the end of a model's part of README, which `write_readme` begins anew."""
    end = f"<!-- end of headline {model} -->"
    before, after = readme.read_text(encoding="utf-8").split(end)
    readme.write_text("\n".join([before.rstrip("\n"), "", *lines, end]) + after, encoding="utf-8")


def merge_json(path: Path, name: str, model: str, value: Any) -> None:
    """Write one more entry of a model beside the races: {name: {model: value}}."""
    known = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    known[name] = {**known.get(name, {}), model: value}
    path.write_text(json.dumps(known, indent=1, ensure_ascii=False, sort_keys=True) + "\n", encoding="utf-8")


def screen_sentence(runs: Sequence[Run]) -> str:
    """How well the screen predicts the sampled answers, for every behaviour."""
    figures = "; ".join(f"{behavior.title}: {_said(race)}" for behavior, race in runs)
    return (
        "How well the screen predicts (rank correlation of the screened margin with the sampled attribute over the "
        "asked edits that keep the floor, where 1 is the same order, and of the screened KL with the utility kept over "
        f"all asked edits, where -1 is the exactly opposite order): {figures}."
    )


def _said(race: Race) -> str:
    return f"margin {_figure(race.rank_correlation)}, KL {_figure(race.kl_rank_correlation)}"


def _figure(found: RankCorrelation) -> str:
    value = "–" if found.value is None else f"{found.value:.2f}"
    return f"{value} ({found.count})"


def markdown_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """The lines of a Markdown table."""
    lines = [f"| {' | '.join(cells)} |" for cells in (header, *rows)]
    return [lines[0], "|" + "---|" * len(header), *lines[1:]]


def chosen_variants(race: Race) -> dict[str, Variant]:
    """The best steering and the best edit of a race, as far as there are any, under "steering" and "edit"."""
    arms = {"steering": race.arms.get(STEERING_ARM), "edit": race.arms.get(race.best or "")}
    return {name: arm.variant for name, arm in arms.items() if arm is not None}
