"""The headline: on held-out prompts, every way to get a behaviour against every other, for all behaviours of a model.

`python -m components.trade_off.headline` runs the races on the bundled model, with `--model smollm2` on SmolLM2. After
every behaviour it writes `assets/headline.json`, of which README's tables are made, and for the bundled model lessons
and plots. Knows nothing that the races do not say.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from components.trade_off.figure import trade_off_figure
from components.trade_off.headline_answers import answer_section, first_answers
from components.trade_off.headline_likelihood import N_TURNS, likelihood_record, likelihood_section, run_likelihood
from components.trade_off.headline_probes import N_PROBES, probe_count, probe_record, probe_rows, probe_section
from components.trade_off.headline_records import (
    Headline,
    Record,
    Records,
    add_to_record,
    race_record,
    read_records,
)
from components.trade_off.headline_sections import screen_sentence, write_part
from components.trade_off.headline_tables import headline_tables, sentence
from components.trade_off.measured import Measured, drop_answers, grown
from s2e_core import Behavior, extract, list_behaviors, load_behavior, load_model
from s2e_core.data import ProbeRow, behavior_gate_texts, choose_behaviors_folder
from s2e_core.measure import PAPER_GAMMA, STEERING_ARM, SearchPlan, count_edited, run_race
from s2e_core.model import LoadedModel

ROOT = Path(__file__).resolve().parents[2]
RECORDS = ROOT / "assets" / "headline.json"
FLOOR = 0.97
BUNDLED, REAL = "bundled", "smollm2"
PLANS: Mapping[str, Mapping[str, Any]] = {
    BUNDLED: {"n_trials": 300, "shortlist": 48, "finalists": 4, "prompts": 60, "gammas": PAPER_GAMMA},
    REAL: {
        "n_trials": 16,
        "shortlist": 8,
        "finalists": 1,
        "prompts": 36,
        "samples": 3,
        "gammas": (0.2, 0.4, 0.6, 0.8, 1.1),
    },
}
"""How much is tried: less on the real model, whose answers take far longer."""
NEUTRAL = {BUNDLED: 60, REAL: 20}
"""Harmless texts on which KL is measured."""
PLOTTED = ("safety", "truthfulness", "reasoning")
OPENING_DIALS = ("rho_attn", "rho_mlp", "alpha", "strength", "gate")
"""Of the settings of an edit, those of a behaviour's description; a search selects nothing by hand."""


def run_one(loaded: LoadedModel, behavior: Behavior, model: str, work: Path) -> Headline:
    """The race of one behaviour; its files go to `work`, from where a run resumes."""
    extraction = extract(loaded, behavior.contrast, texts=behavior_gate_texts(behavior))
    work.mkdir(parents=True, exist_ok=True)
    race = run_race(
        loaded, extraction, SearchPlan(behavior, floor=FLOOR, **PLANS[model]), path=work, n_neutral=NEUTRAL[model]
    )
    return Headline(behavior, race, extraction)


def found_of(
    loaded: LoadedModel, headline: Headline, model: str, probes: Sequence[ProbeRow], turns: Sequence[int]
) -> Iterator[Record]:
    """All that is recorded of a behaviour, part by part; of the real model also answers, probes and likelihoods."""
    behavior, race = headline.behavior, headline.race
    record = race_record(headline)
    print(f"{behavior.name}: {sentence(behavior.name, record)}", flush=True)
    yield record
    if model == REAL:
        yield {"answers": first_answers(loaded, behavior, race)}
    if probes:
        yield {"probes": probe_record(loaded, behavior, race, probes)}
    if turns:
        yield {"by likelihood": likelihood_record(run_likelihood(loaded, behavior, turns))}


def write_measured(name: str, record: Record, folder: Path) -> None:
    """The best edit is what the page opens with; the lesson ends with what was measured."""
    path = folder / name / "behavior.json"
    described = json.loads(path.read_text(encoding="utf-8"))
    chosen = record["chosen"]
    if chosen[STEERING_ARM] is not None:
        described["gamma"] = chosen[STEERING_ARM]["gamma"]
    if record["best"] is not None:
        settings = chosen[record["best"]]["settings"]
        described["best"] = {name: settings[name] for name in OPENING_DIALS if name in settings}
    described["measured"] = sentence(name, record)
    path.write_text(json.dumps(described, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def readme_part(records: Records) -> list[str]:
    """All that README says of a model's races."""
    more = [*probe_section(records), *likelihood_section(records), *answer_section(records)]
    return [*headline_tables(records), "", screen_sentence(records), *(["", *more] if more else [])]


def write_plot(headline: Headline, folder: Path) -> None:
    """The picture of a race that README shows. Plotly draws it in an installed Chromium."""
    if headline.behavior.name not in PLOTTED:
        return
    race, size_of = headline.race, partial(count_edited, headline.extraction)
    measured = Measured(
        about=drop_answers(race.development),
        wanted=headline.behavior.positive,
        points=grown((), race.development, size_of=size_of),
        floor=FLOOR,
    )
    figure = trade_off_figure(measured, action=False)
    figure.update_layout(title={"text": headline.behavior.title, "x": 0.01, "font": {"size": 16}})
    figure.write_image(folder / f"trade_off_{headline.behavior.name}.svg", width=820, height=500)


def turn_count(text: str) -> int:
    """The value of --turns: a number up to N_TURNS, or 0 for "off". Raises ArgumentTypeError for anything else."""
    if text == "off":
        return 0
    if not text.isdecimal() or not 1 <= int(text) <= N_TURNS:
        raise argparse.ArgumentTypeError(f'"{text}" is neither a number of turns from 1 to {N_TURNS} nor "off".')
    return int(text)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", choices=(BUNDLED, REAL), default=BUNDLED)
    parser.add_argument(
        "--behavior", action="append", default=[], metavar="NAME", help="this one alone; the rest of the tables stays"
    )
    parser.add_argument("--races", type=Path, help="keep the files of the races here, so that a stopped run resumes")
    parser.add_argument(
        "--probes", type=probe_count, default=N_PROBES, metavar="N|off", help="prompts of others, for SmolLM2 alone"
    )
    parser.add_argument(
        "--turns", type=turn_count, default=N_TURNS, metavar="N|off", help="turns by likelihood, for SmolLM2 alone"
    )
    options = parser.parse_args()
    # Before the races, which take long: the package with the prompts may be missing.
    probes = probe_rows(options.probes if options.model == REAL else 0)
    loaded = load_model(options.model)
    folder = choose_behaviors_folder(loaded.source)
    turns = range(options.turns if options.model == REAL else 0)
    with TemporaryDirectory() as scratch:
        for name in options.behavior or list_behaviors(folder):
            work = (options.races or Path(scratch)) / name
            headline = run_one(loaded, load_behavior(name, folder), options.model, work)
            for part in found_of(loaded, headline, options.model, probes, turns):
                add_to_record(RECORDS, options.model, name, part)
            if options.model == BUNDLED:
                write_measured(name, read_records(RECORDS, options.model)[name], folder)
                write_plot(headline, ROOT / "assets")
            write_readme(options.model, folder)


def write_readme(model: str, folder: Path) -> None:
    """Make README's part of a model from its records, in the order of its behaviours."""
    known = read_records(RECORDS, model)
    ordered = {name: known[name] for name in list_behaviors(folder) if name in known}
    write_part(ROOT / "README.md", model, readme_part(ordered))


if __name__ == "__main__":
    main()
