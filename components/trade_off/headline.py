"""The headline: on held-out prompts, every way to get a behaviour against every other, for all behaviours of a model.

`python -m components.trade_off.headline` runs the races on the bundled model, with `--model smollm2` on SmolLM2, and
writes README's tables, `assets/headline.json` and, for the bundled model, lessons and plots. Knows nothing that the
races do not say.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from components.trade_off.figure import trade_off_figure
from components.trade_off.headline_answers import answer_section
from components.trade_off.headline_likelihood import describe_likelihood_runs, likelihood_section, run_likelihood
from components.trade_off.headline_probes import (
    N_PROBES,
    describe_probes,
    probe_count,
    probe_rows,
    probe_section,
    run_probes,
)
from components.trade_off.headline_sections import append_section, merge_json, screen_sentence
from components.trade_off.headline_tables import Headline, headline_tables, sentence
from components.trade_off.measured import Measured, drop_answers, grown
from s2e_core import Behavior, extract, list_behaviors, load_behavior, load_model
from s2e_core.data import ProbeRow, behavior_gate_texts, choose_behaviors_folder
from s2e_core.measure import (
    PAPER_GAMMA,
    STEERING_ARM,
    SearchPlan,
    count_edited,
    run_race,
    trial_to_json,
)
from s2e_core.model import LoadedModel
from s2e_core.settings import EditSettings
from s2e_core.settings_json import settings_to_json

ROOT = Path(__file__).resolve().parents[2]
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


def run_races(loaded: LoadedModel, model: str, work: Path, names: Sequence[str]) -> list[Headline]:
    """One race for each behaviour that fits the model; their files go to `work`, from where a run resumes."""
    folder = choose_behaviors_folder(loaded.source)
    return [_headline(loaded, load_behavior(n, folder), model, work / n) for n in names or list_behaviors(folder)]


def _headline(loaded: LoadedModel, behavior: Behavior, model: str, work: Path) -> Headline:
    extraction = extract(loaded, behavior.contrast, texts=behavior_gate_texts(behavior))
    work.mkdir(parents=True, exist_ok=True)
    race = run_race(
        loaded, extraction, SearchPlan(behavior, floor=FLOOR, **PLANS[model]), path=work, n_neutral=NEUTRAL[model]
    )
    headline = Headline(behavior, race, extraction)
    print(f"{behavior.name}: {sentence(headline)}", flush=True)
    return headline


def write_measured(headlines: Iterable[Headline], folder: Path) -> None:
    """The best edit is what the page opens with; the lesson ends with what was measured."""
    for headline in headlines:
        path = folder / headline.behavior.name / "behavior.json"
        described = json.loads(path.read_text(encoding="utf-8"))
        steering = headline.race.chosen[STEERING_ARM]
        if steering is not None:
            described["gamma"] = steering.gamma
        best = headline.race.chosen.get(headline.race.best or "")
        if best is not None and best.settings is not None:
            described["best"] = _suggested(best.settings)
        described["measured"] = sentence(headline)
        path.write_text(json.dumps(described, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def _suggested(settings: EditSettings) -> dict[str, Any]:
    """The dials of an edit, as a behaviour's description has them; a search selects nothing by hand."""
    written = settings_to_json(settings)
    return {name: written[name] for name in ("rho_attn", "rho_mlp", "alpha", "strength", "gate") if name in written}


def write_readme(headlines: Sequence[Headline], model: str, readme: Path) -> None:
    """Replace what stands between the markers of the README by the two tables of a model."""
    begin, end = f"<!-- headline {model} -->\n", f"<!-- end of headline {model} -->"
    before, rest = readme.read_text(encoding="utf-8").split(begin)
    _, after = rest.split(end)
    readme.write_text(f"{before}{begin}{headline_tables(headlines)}\n{end}{after}", encoding="utf-8")


def write_json(headlines: Sequence[Headline], model: str, path: Path) -> None:
    """All figures of a model's races, beside those of the other model."""
    known = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    known[model] = {headline.behavior.name: describe(headline) for headline in headlines}
    path.write_text(json.dumps(known, indent=1, ensure_ascii=False, sort_keys=True) + "\n", encoding="utf-8")


def write_sections(
    loaded: LoadedModel, headlines: Sequence[Headline], model: str, probes: Sequence[ProbeRow], root: Path
) -> None:
    """How well the screen predicts; for SmolLM2 also the probes, if there are any, and answers that nobody picked."""
    runs, readme = [(headline.behavior, headline.race) for headline in headlines], root / "README.md"
    append_section(readme, model, [screen_sentence(runs)])
    if probes:
        probed = run_probes(loaded, runs, probes)
        append_section(readme, model, probe_section(runs, probed))
        merge_json(root / "assets" / "headline.json", "probes", model, describe_probes(runs, probed))
    if model == REAL:
        found = [run_likelihood(loaded, headline.behavior) for headline in headlines]
        append_section(readme, model, likelihood_section(found))
        merge_json(root / "assets" / "headline.json", "by likelihood", model, describe_likelihood_runs(found))
        append_section(readme, model, answer_section(loaded, runs))


def describe(headline: Headline) -> dict[str, Any]:
    """One race as values that `json` can write."""
    race = headline.race
    return {
        "floor": race.floor,
        "best": race.best,
        "lead": None if race.lead is None else asdict(race.lead),
        "rank correlation": {
            "screened margin with attribute": asdict(race.rank_correlation),
            "screened KL with utility kept": asdict(race.kl_rank_correlation),
        },
        "chosen": {group: None if trial is None else trial_to_json(trial) for group, trial in race.chosen.items()},
        "arms": {
            arm: {name: asdict(figure) for name, figure in evaluation.figures().items()}
            for arm, evaluation in race.arms.items()
        },
    }


def write_plots(headlines: Iterable[Headline], folder: Path) -> None:
    """One picture for each of the paper's three behaviours. Plotly draws it in an installed Chromium."""
    for headline in headlines:
        if headline.behavior.name in PLOTTED:
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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", choices=(BUNDLED, REAL), default=BUNDLED)
    parser.add_argument("--behavior", action="append", default=[], metavar="NAME", help="this one alone, and no tables")
    parser.add_argument("--races", type=Path, help="keep the files of the races here, so that a stopped run resumes")
    parser.add_argument(
        "--probes", type=probe_count, default=N_PROBES, metavar="N|off", help="prompts of others, for SmolLM2 alone"
    )
    options = parser.parse_args()
    # Before the races, which take long: the package with the prompts may be missing.
    probes = probe_rows(options.probes if options.model == REAL and not options.behavior else 0)
    loaded = load_model(options.model)
    with TemporaryDirectory() as scratch:
        headlines = run_races(loaded, options.model, options.races or Path(scratch), options.behavior)
    if options.behavior:
        return
    write_readme(headlines, options.model, ROOT / "README.md")
    write_json(headlines, options.model, ROOT / "assets" / "headline.json")
    write_sections(loaded, headlines, options.model, probes, ROOT)
    if options.model == BUNDLED:
        write_measured(headlines, choose_behaviors_folder(loaded.source))
        write_plots(headlines, ROOT / "assets")


if __name__ == "__main__":
    main()
