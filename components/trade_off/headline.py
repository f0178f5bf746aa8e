"""The headline: on held-out prompts, every way to get a behaviour against every other, for all behaviours of a model.

`python -m components.trade_off.headline` runs the races on the bundled model, with `--model smollm2` on SmolLM2, and
writes README's tables, `assets/headline.json` and, for the bundled model, lessons and plots. Knows nothing that the
races do not say.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from components.trade_off.figure import trade_off_figure
from components.trade_off.headline_answers import answer_section
from components.trade_off.headline_probes import (
    N_PROBES,
    describe_probes,
    probe_count,
    probe_rows,
    probe_section,
    run_probes,
)
from components.trade_off.headline_sections import append_section, merge_json, screen_sentence
from components.trade_off.measured import Measured, drop_answers, grown
from s2e_core import Behavior, extract, list_behaviors, load_behavior, load_model
from s2e_core.data import ProbeRow, behavior_gate_texts, choose_behaviors_folder
from s2e_core.measure import (
    PAPER_GAMMA,
    PLACEBO_ARM,
    STEERING_ARM,
    Estimate,
    Evaluation,
    Race,
    SearchPlan,
    count_edited,
    run_race,
    settings_label,
    trial_to_json,
)
from s2e_core.model import LoadedModel
from s2e_core.values import Extraction

ROOT = Path(__file__).resolve().parents[2]
FLOOR = 0.97
BUNDLED, REAL = "bundled", "smollm2"
PLANS: Mapping[str, Mapping[str, Any]] = {
    BUNDLED: {"n_trials": 300, "shortlist": 48, "finalists": 4, "prompts": 60, "gammas": PAPER_GAMMA},
    REAL: {"n_trials": 16, "shortlist": 8, "finalists": 1, "prompts": 16, "gammas": (0.2, 0.4, 0.6, 0.8, 1.1)},
}
NEUTRAL = {BUNDLED: 60, REAL: 20}
"""Harmless texts on which KL is measured."""
"""How much is tried: the bundled model answers a thousand times as fast as SmolLM2."""
PLOTTED = ("safety", "truthfulness", "reasoning")
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

    @property
    def gain(self) -> Estimate | None:
        """The lead of the best edit over steering; fewer tokens are a negative number."""
        return self.race.lead


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
    """The best steering strength becomes the suggested one, and the lesson ends with what was measured."""
    for headline in headlines:
        path = folder / headline.behavior.name / "behavior.json"
        described = json.loads(path.read_text(encoding="utf-8"))
        steering = headline.race.chosen[STEERING_ARM]
        if steering is not None:
            described["gamma"] = steering.gamma
        described["measured"] = sentence(headline)
        path.write_text(json.dumps(described, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def write_readme(headlines: Sequence[Headline], model: str, readme: Path) -> None:
    """Replace what stands between the markers of the README by the two tables of a model."""
    begin, end = f"<!-- headline {model} -->\n", f"<!-- end of headline {model} -->"
    before, rest = readme.read_text(encoding="utf-8").split(begin)
    _, after = rest.split(end)
    readme.write_text(f"{before}{begin}{_tables(headlines)}\n{end}{after}", encoding="utf-8")


def _tables(headlines: Sequence[Headline]) -> str:
    """The table of the leads, and below it, folded away, that of all arms."""
    leads = [*_header(LEAD_COLUMNS), *map(lead_row, headlines)]
    arms = [*_header(ARM_COLUMNS), *(row for headline in headlines for row in arm_rows(headline))]
    folded = ["<details>", "<summary>Every arm with every figure</summary>", "", *arms, "", "</details>"]
    return "\n".join([*leads, "", *folded])


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


def lead_row(headline: Headline) -> str:
    name, race = headline.behavior.name, headline.race
    edit = race.best or ""
    cells = (
        f"{headline.behavior.title}: {MEASURES[name]}",
        _cell(headline, ORIGINAL_ARM),
        _cell(headline, STEERING_ARM),
        _cell(headline, "elastic net"),
        f"{_cell(headline, edit)}; {edit}: {_what(headline, edit)}" if edit else "none keeps the utility",
        "none" if headline.gain is None else _interval(headline, headline.gain, sign="+"),
        GOALS.get(name, "above 0"),
    )
    return "| " + " | ".join(cells) + " |"


def arm_rows(headline: Headline) -> list[str]:
    """One row for each arm of a race, the behaviour named in the first."""
    rows = []
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
        rows.append("| " + " | ".join(cells) + " |")
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


def _header(names: Sequence[str]) -> list[str]:
    return ["| " + " | ".join(names) + " |", "|" + "---|" * len(names)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", choices=(BUNDLED, REAL), default=BUNDLED)
    parser.add_argument("--behavior", action="append", default=[], metavar="NAME", help="this one alone, and no tables")
    parser.add_argument("--races", type=Path, help="keep the files of the races here, so that a stopped run resumes")
    parser.add_argument(
        "--probes", type=probe_count, default=N_PROBES, metavar="N|off", help="prompts of others, for SmolLM2 alone"
    )
    options = parser.parse_args()
    # Before the races, which take hours: the package with the prompts may be missing.
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
