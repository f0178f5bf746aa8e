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
from s2e_core.files import write_whole
from s2e_core.measure import STEERING_ARM, Race, count_edited, settings_label, trial_to_json
from s2e_core.values import Edited, Extraction, Steered, Variant

Record = dict[str, Any]
Records = Mapping[str, Record]
"""Records by the names of behaviours, in the order of the tables."""
OF_WINNERS = ("answers", "greedy", "probes")
"""Parts of a record that were measured of the winners of its race."""
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
    return _read(path).get(model, {})


def add_to_record(path: Path, model: str, name: str, found: Record) -> None:
    """Replace the parts in `found`, and keep the other parts of the record and the file.

    With a new race goes what was measured of the winners of the last one.
    """
    known = _read(path)
    records = known.setdefault(model, {})
    kept = records.get(name, {})
    if "arms" in found:
        kept = {part: value for part, value in kept.items() if part not in OF_WINNERS}
    records[name] = {**kept, **found}
    text = json.dumps(known, indent=1, ensure_ascii=False) + "\n"
    write_whole(path, lambda temporary: temporary.write_text(text, encoding="utf-8"))


def _read(path: Path) -> dict[str, dict[str, Record]]:
    known: dict[str, dict[str, Record]] = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    return known


def _what(headline: Headline, arm: str) -> str:
    """What ran under the name of an arm: the strength of steering, or the dials of an edit and how much it changes."""
    trial, variant = headline.race.chosen.get(arm), headline.race.arms[arm].variant
    if isinstance(variant, Steered):
        return f"γ {variant.gamma:.3g}"
    if trial is None or trial.settings is None or not isinstance(variant, Edited):
        return ""
    heads, neurons = count_edited(headline.extraction, trial) or (0, 0)
    return f"{settings_label(trial.settings, short=True)}; {heads} heads, {neurons:,} neurons"
