"""Writes what the records say: README's part, the lesson and the opening edit of a behaviour, and a plot.

Knows files and the sections; measures nothing.
"""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path

from components.trade_off.figure import trade_off_figure
from components.trade_off.measured import Measured, drop_answers, grown
from s2e_core import list_behaviors
from s2e_core.measure import STEERING_ARM, count_edited

from .answers import answer_section
from .greedy import greedy_section
from .likelihood import likelihood_section
from .probes import probe_section
from .records import Headline, Record, Records, read_records
from .sections import screen_sentence, write_part
from .tables import headline_sentence, headline_tables

ROOT = Path(__file__).resolve().parents[2]
RECORDS = ROOT / "assets" / "headline.json"
PLOTTED = ("safety", "truthfulness", "reasoning")
OPENING_DIALS = ("rho_attn", "rho_mlp", "alpha", "strength", "gate")
"""Settings of an edit that a behaviour's description contains; a search selects nothing by hand."""


def write_readme(model: str, folder: Path) -> None:
    """Make README's part of a model from its records, in the order of its behaviours."""
    known = read_records(RECORDS, model)
    ordered = {name: known[name] for name in list_behaviors(folder) if name in known}
    write_part(ROOT / "README.md", model, readme_part(ordered))


def readme_part(records: Records) -> list[str]:
    """All that README says of a model's races. A behaviour whose race was not run has the other figures alone."""
    raced = {name: record for name, record in records.items() if "arms" in record}
    more = [*greedy_section(records), *probe_section(records), *likelihood_section(records), *answer_section(records)]
    races = [*headline_tables(raced), "", screen_sentence(raced)] if raced else []
    return [*races, *(["", *more] if more else [])]


def write_measured(name: str, record: Record, folder: Path) -> None:
    """The best edit is what the page opens with; the lesson ends with what was measured."""
    path = folder / name / "behavior.json"
    described = json.loads(path.read_text(encoding="utf-8"))
    chosen = record["chosen"]
    if chosen[STEERING_ARM] is not None:
        described["gamma"] = chosen[STEERING_ARM]["gamma"]
    if record["best"] is not None:
        settings = chosen[record["best"]]["settings"]
        described["best"] = {dial: settings[dial] for dial in OPENING_DIALS if dial in settings}
    else:
        described.pop("best", None)
    described["measured"] = headline_sentence(name, record)
    path.write_text(json.dumps(described, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def write_plot(headline: Headline, folder: Path) -> None:
    """The picture of a race that README shows. Plotly draws it in an installed Chromium."""
    if headline.behavior.name not in PLOTTED:
        return
    race, size_of = headline.race, partial(count_edited, headline.extraction)
    measured = Measured(
        about=drop_answers(race.development),
        wanted=headline.behavior.positive,
        points=grown((), race.development, size_of=size_of),
        floor=race.floor,
    )
    figure = trade_off_figure(measured, action=False)
    figure.update_layout(title={"text": headline.behavior.title, "x": 0.01, "font": {"size": 16}})
    figure.write_image(folder / f"trade_off_{headline.behavior.name}.svg", width=820, height=500)
