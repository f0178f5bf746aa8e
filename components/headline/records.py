"""The record of one behaviour in `assets/headline.json`: what its race found, as values that `json` can write.

Knows races and the file; README's part is made of records alone, so that one behaviour can be measured again by itself.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from s2e_core import Behavior
from s2e_core.measure import STEERING_ARM, Race, count_edited, settings_label, trial_to_json
from s2e_core.values import Edited, Extraction, Steered, Variant

Record = dict[str, Any]
Records = Mapping[str, Record]
"""Records by the names of behaviours, in the order of the tables."""
Figure = Mapping[str, float]
"""An estimate as the file has it: value, low, high, count."""


@dataclass(frozen=True, eq=False)
class Headline:
    """What the race of one behaviour found."""

    behavior: Behavior
    race: Race
    extraction: Extraction


def race_record(headline: Headline) -> Record:
    """One race, with what README says of it."""
    behavior, race = headline.behavior, headline.race
    return {
        "title": behavior.title,
        "wanted": behavior.positive,
        "floor": race.floor,
        "fewer is better": race.finals.less_is_better,
        "best": race.best,
        "lead": None if race.lead is None else asdict(race.lead),
        "lead at equal KL": None if race.lead_at_kl is None else asdict(race.lead_at_kl),
        "rank correlation": {
            "screened margin with attribute": asdict(race.rank_correlation),
            "screened KL with utility kept": asdict(race.kl_rank_correlation),
        },
        "chosen": {group: None if trial is None else trial_to_json(trial) for group, trial in race.chosen.items()},
        "what": {arm: what for arm in race.arms if (what := _what(headline, arm))},
        "arms": {
            arm: {name: asdict(figure) for name, figure in evaluation.figures().items()}
            for arm, evaluation in race.arms.items()
        },
    }


def chosen_variants(race: Race) -> dict[str, Variant]:
    """The best steering and the best edit of a race, as far as there are any, under "steering" and "edit"."""
    arms = {"steering": race.arms.get(STEERING_ARM), "edit": race.arms.get(race.best or "")}
    return {name: arm.variant for name, arm in arms.items() if arm is not None}


def read_records(path: Path, model: str) -> dict[str, Record]:
    """The records of a model; none if there is no file."""
    known: dict[str, dict[str, Record]] = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    return known.get(model, {})


def add_to_record(path: Path, model: str, name: str, found: Record) -> None:
    """Write what was found of a behaviour over what its record had of the same, and keep the rest of the file."""
    known = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    records = known.setdefault(model, {})
    records[name] = {**records.get(name, {}), **found}
    path.write_text(json.dumps(known, indent=1, ensure_ascii=False, sort_keys=True) + "\n", encoding="utf-8")


def _what(headline: Headline, arm: str) -> str:
    """What ran under the name of an arm: the strength of steering, or the dials of an edit and how much it changes."""
    trial, variant = headline.race.chosen.get(arm), headline.race.arms[arm].variant
    if isinstance(variant, Steered):
        return f"γ {variant.gamma:.3g}"
    if trial is None or trial.settings is None or not isinstance(variant, Edited):
        return ""
    heads, neurons = count_edited(headline.extraction, trial) or (0, 0)
    return f"{settings_label(trial.settings, short=True)}; {heads} heads, {neurons:,} neurons"
