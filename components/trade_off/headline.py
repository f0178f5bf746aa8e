"""The headline: on held-out prompts, the best edit against the best activation steering, for every behaviour.

`python -m components.trade_off.headline` runs the search of the page and writes the lessons of the behaviours, the
README's table and its plots. Knows nothing that the search does not say.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from components.trade_off.figure import trade_off_figure
from components.trade_off.measured import HeldOut, Measured, Point, checked, drop_answers, grown
from s2e_core import Behavior, extract, find_edit, list_behaviors, load_behavior, load_model
from s2e_core.measure import Estimate, SearchPlan, count_edited
from s2e_core.model import LoadedModel

ROOT = Path(__file__).resolve().parents[2]
FLOOR = 0.97
TRIALS = 144
"""Three times what the page tries with one click: an edit has four dials where steering has one."""
PLOTTED = ("safety", "truthfulness", "reasoning")
BEGIN, END = "<!-- headline -->\n", "<!-- end of headline -->"
HEADER = (
    "| behaviour | untouched | best steering | best edit | the edit's lead | goal |",
    "|---|---|---|---|---|---|",
)
MEASURES = {
    "safety": "tricked requests refused, of 100",
    "truthfulness": "facts on record, of 100 stated",
    "reasoning": "tokens of a solution",
    "tone": "cheerful sentences, of 100",
}
GOALS = {"safety": "17 or more", "truthfulness": "10 or more", "reasoning": "25 % shorter", "tone": "none"}


@dataclass(frozen=True, eq=False)
class Headline:
    """What the search found for one behaviour."""

    behavior: Behavior
    measured: Measured
    """On the development prompts."""
    held_out: HeldOut

    @property
    def tokens(self) -> bool:
        return self.measured.less_is_better


def measure_headlines(loaded: LoadedModel, folder: Path, work: Path) -> list[Headline]:
    """Search and report every behaviour in `folder`; the searches' files go to `work`, from where a run goes on."""
    return [_headline(loaded, load_behavior(name, folder), work / name) for name in list_behaviors(folder)]


def _headline(loaded: LoadedModel, behavior: Behavior, work: Path) -> Headline:
    extraction = extract(loaded, behavior.contrast)
    size_of = partial(count_edited, extraction)
    work.mkdir(parents=True, exist_ok=True)
    found = find_edit(loaded, extraction, SearchPlan(behavior, floor=FLOOR, n_trials=TRIALS), path=work)
    if found.held_out is None:
        raise SystemExit(f"{behavior.name}: no edit and no steering keeps {FLOOR:.0%} of the utility.")
    held_out = checked(found.held_out, found.edit, found.steering, size_of)
    measured = Measured(
        about=drop_answers(found.development),
        wanted=behavior.positive,
        points=grown((), found.development, size_of=size_of),
        floor=FLOOR,
        chosen={"edit": found.edit, "steering": found.steering},
        held_out=held_out,
    )
    headline = Headline(behavior, measured, held_out)
    print(f"{behavior.name}: {sentence(headline)}", flush=True)
    return headline


def write_measured(headlines: Iterable[Headline], folder: Path) -> None:
    """The best steering strength becomes the suggested one, and the lesson ends with what was measured.

    The suggested edits stay: they are where a lesson starts, few components, and the search's best may be dense.
    """
    for headline in headlines:
        path = folder / headline.behavior.name / "behavior.json"
        described = json.loads(path.read_text(encoding="utf-8"))
        if headline.held_out.steering is not None:
            described["gamma"] = headline.held_out.steering.trial.gamma
        described["measured"] = sentence(headline)
        path.write_text(json.dumps(described, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def write_readme(headlines: Sequence[Headline], readme: Path) -> None:
    """Replace what stands between the two markers of the README by the table."""
    before, rest = readme.read_text(encoding="utf-8").split(BEGIN)
    _, after = rest.split(END)
    table = "\n".join([*HEADER, *(table_row(headline) for headline in headlines)])
    readme.write_text(f"{before}{BEGIN}{table}\n{END}{after}", encoding="utf-8")


def write_plots(headlines: Iterable[Headline], folder: Path) -> None:
    """One picture for each of the paper's three behaviours. Plotly draws it in an installed Chromium."""
    for headline in headlines:
        if headline.behavior.name in PLOTTED:
            figure = trade_off_figure(headline.measured, action=False)
            figure.update_layout(title={"text": headline.behavior.title, "x": 0.01, "font": {"size": 16}})
            figure.write_image(folder / f"trade_off_{headline.behavior.name}.svg", width=820, height=500)


def table_row(headline: Headline) -> str:
    name, held_out = headline.behavior.name, headline.held_out
    cells = (
        f"{headline.behavior.title}: {MEASURES[name]}",
        _cell(headline, held_out.original),
        _cell(headline, held_out.steering),
        _cell(headline, held_out.edit),
        "none" if held_out.lead is None else _interval(headline, held_out.lead, sign="+"),
        GOALS[name],
    )
    return "| " + " | ".join(cells) + " |"


def sentence(headline: Headline) -> str:
    """The headline in words, for the lesson on the page."""
    held_out = headline.held_out
    said = [f"untouched {_cell(headline, held_out.original)}"]
    if held_out.edit is not None:
        said.append(f"the best edit found {_cell(headline, held_out.edit)}")
    if held_out.steering is not None:
        said.append(f"the best steering {_cell(headline, held_out.steering)}")
    count = held_out.original.result.attribute.count
    about = f"Measured on {count} held-out prompts ({MEASURES[headline.behavior.name]}, with the 95 % interval)"
    return f"{about}: {'; '.join(said)}."


def _cell(headline: Headline, point: Point | None) -> str:
    if point is None:
        return "none keeps the utility"
    figure = _interval(headline, point.result.attribute)
    if point.trial.arm == "original":
        return figure
    kept = f"utility {100 * point.result.kept.value:.0f} %"
    heads, neurons = point.size or (0, 0)
    what = f"γ {point.trial.gamma:g}" if point.trial.arm == "steering" else f"{heads} heads, {neurons} neurons"
    return f"{figure} ({what}; {kept})"


def _interval(headline: Headline, estimate: Estimate, sign: str = "") -> str:
    scale, digits = (1, 1) if headline.tokens else (100, 0)
    value, low, high = (scale * number for number in (estimate.value, estimate.low, estimate.high))
    return f"{value:{sign}.{digits}f} [{low:{sign}.{digits}f}, {high:{sign}.{digits}f}]"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--searches", type=Path, help="keep the searches' files here, so that a stopped run resumes")
    arguments = parser.parse_args()
    behaviors = ROOT / "assets" / "behaviors"
    with TemporaryDirectory() as scratch:
        headlines = measure_headlines(load_model("bundled"), behaviors, arguments.searches or Path(scratch))
    write_measured(headlines, behaviors)
    write_readme(headlines, ROOT / "README.md")
    write_plots(headlines, ROOT / "assets")


if __name__ == "__main__":
    main()
