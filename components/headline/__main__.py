"""The headline: on held-out prompts, every way to get a behaviour against every other, for all behaviours of a model.

`python -m components.headline` runs the races on the bundled model, with `--model smollm2` on SmolLM2. After
every behaviour it writes `assets/headline.json`, of which README's tables are made, and for the bundled model lessons
and plots.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from tempfile import TemporaryDirectory

from s2e_core import list_behaviors, load_behavior, load_model
from s2e_core.data import choose_behaviors_folder

from .likelihood import N_TURNS
from .probes import N_PROBES, probe_count, probe_rows
from .races import BUNDLED, REAL, measure_parts, race_behavior
from .records import add_to_record, read_records
from .writing import RECORDS, ROOT, write_measured, write_plot, write_readme


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
        "--behavior",
        action="append",
        default=[],
        metavar="NAME",
        help="measure this one; other rows stay",
    )
    parser.add_argument("--races", type=Path, help="keep the files of the races here, so that a stopped run resumes")
    parser.add_argument(
        "--probes",
        type=probe_count,
        default=N_PROBES,
        metavar="N|off",
        help="prompts of other people (SmolLM2 only)",
    )
    parser.add_argument(
        "--turns",
        type=turn_count,
        default=N_TURNS,
        metavar="N|off",
        help="turns by likelihood (SmolLM2 only)",
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
            headline = race_behavior(loaded, load_behavior(name, folder), options.model, work)
            for part in measure_parts(loaded, headline, options.model, probes, turns):
                add_to_record(RECORDS, options.model, name, part)
            if options.model == BUNDLED:
                write_measured(name, read_records(RECORDS, options.model)[name], folder)
                write_plot(headline, ROOT / "assets")
            write_readme(options.model, folder)


if __name__ == "__main__":
    main()
