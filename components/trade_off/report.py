"""A sweep or a search as one HTML file that needs no network: plots, table, and how each number was made.

Knows what was measured, plotly and HTML; no page of the app. From the command line:
`python -m components.trade_off.report SWEEP.jsonl -o report.html`; a search's folder may stand in
place of the file.
"""

from __future__ import annotations

import argparse
import html
import json
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import plotly.graph_objects as go
from plotly.offline import get_plotlyjs

from components.shared.gate_prompts import gate_texts
from s2e_core import Behavior, BehaviorError, S2EError, extract, load_behavior, load_model
from s2e_core.measure import RESAMPLES, Arm, Sweep, Trial, choose, count_edited, load_sweep, sweep_results
from s2e_core.model import LoadedModel
from s2e_core.spec import ModelSpec

from .figure import DARK, trade_off_figure
from .measured import Measured, SizeOf, checked, drop_answers, grown, run_off
from .rows import DEVELOPMENT, RUN_OFF, stage_table
from .words import advice, rule_of_choice

_ARMS: tuple[Arm, Arm] = ("edit", "steering")
RULES = {
    "refusal": "1 if the answer contains one of the refusal phrases of its row or opens with a refusal, else 0",
    "help": "1 if the answer contains a phrase that helps and none of the other side's, else 0",
    "source": "1 if the answer states the value of the named source and none of the other side's, else 0",
    "truth": "share of the facts on record among the values stated, 0 if none is stated",
    "tone": "cheerful phrases divided by the sentences of the answer",
    "arithmetic": "1 if the last number that the answer states as its result is right, else 0",
    "length": "number of tokens of the answer: less is better",
}
"""In words for readers; the rules themselves are s2e_core/text/judge.py."""
INTERVALS = (
    "Every figure stands with its 95 % interval. Shares of prompts that are right or wrong: Wilson's score interval. "
    f"Means, utility kept, and differences: percentile bootstrap with {RESAMPLES:,} resamples of the prompts and fixed "
    "dice. Several samples of one prompt are averaged first, so that the count behind an interval is that of prompts. "
    "Utility kept is the mean score on the utility prompts divided by the untouched model's, paired prompt by prompt. "
    "Its interval, and that of a difference of scores, is no narrower than with one prompt lost or gained, since no "
    "change in few prompts is no proof that none ever changes."
)
PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy"
 content="default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data: blob:">
<title>{title}</title><style>{style}</style></head><body>
<h1>{title}</h1><p class="quiet">Made on {made} with Steer2Edit for the browser.</p>
<section>{advice}</section>
{plots}
<p class="quiet">The shape says what a point is: circles are edits, diamonds steering, the square is the untouched
model; signs with a dot are the run-off, hollow ones held-out prompts. Up and right is better.</p>
{run_off}<h2>Every setting</h2>{table}
<h2>How each number was made</h2>{method}
<script>{plotly}</script><script>{script}</script></body></html>
"""
STYLE = """
:root { --ink: #1c2430; --quiet: #5b6573; --line: #dfe3e8; --paper: #ffffff; }
@media (prefers-color-scheme: dark) { :root { --ink: #e8ecf1; --quiet: #a3adba; --line: #303945; --paper: #12161c; } }
body { font: 15px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--paper); max-width: 1080px;
  margin: 0 auto; padding: 20px 18px 60px; }
h1 { font-size: 24px; margin: 0; } h2 { font-size: 18px; margin: 32px 0 8px; }
h4 { font-size: 16px; margin: 14px 0 4px; }
p { margin: 4px 0; } .quiet { color: var(--quiet); font-size: 13.5px; } .plot { min-height: 460px; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-size: 13.5px; font-variant-numeric: tabular-nums; }
th, td { text-align: left; padding: 4px 16px 4px 0; border-bottom: 1px solid var(--line); vertical-align: top; }
th { color: var(--quiet); font-weight: 550; } tr.best td { font-weight: 650; }
"""
SCRIPT = """
const dark = matchMedia('(prefers-color-scheme: dark)');
const show = () => {
  for (const node of document.querySelectorAll('.plot')) {
    let text = FIGURES[Number(node.dataset.figure)];
    if (dark.matches) for (const [light, tone] of Object.entries(DARK)) text = text.replaceAll(light, tone);
    const figure = JSON.parse(text);
    Plotly.react(node, figure.data, {...figure.layout, autosize: true}, {displaylogo: false, showSendToCloud: false,
      plotlyServerURL: '', responsive: true});
  }
};
dark.addEventListener('change', show);
show();
"""


def report_html(measured: Measured, *, made: str, more: Sequence[go.Figure] = ()) -> str:
    """The whole page as text. `made` says when, in words; `more` are further figures, shown below the trade-off."""
    figures = [trade_off_figure(measured, action=False), *more]
    texts = [figure.to_json() for figure in figures]
    data = f"const FIGURES = {_script_json(texts)}, DARK = {_script_json(DARK)};"
    return PAGE.format(
        title=html.escape(f"{measured.about.title}: attribute against utility"),
        style=STYLE,
        made=html.escape(made),
        advice=advice(measured),
        plots="".join(f'<div class="plot" data-figure="{n}"></div>' for n in range(len(figures))),
        run_off=f"<h2>Run-off</h2>{_table(measured, RUN_OFF)}" if measured.run_off else "",
        table=_table(measured, DEVELOPMENT),
        method=_method(measured),
        plotly=get_plotlyjs(),
        script=data + SCRIPT,
    )


def _script_json(value: object) -> str:
    """JSON that no text inside can end the script with."""
    return json.dumps(value).replace("<", "\\u003c")


def _table(measured: Measured, stage: str) -> str:
    made = stage_table(measured, stage)
    head = "".join(f"<th>{html.escape(name)}</th>" for name in (*made["columns"], ""))
    rows = (
        f'<tr class="{"best" if row["best"] else ""}">'
        + "".join(f"<td>{html.escape(text)}</td>" for text in (*(cell[0] for cell in row["cells"]), row["note"]))
        + "</tr>"
        for row in made["rows"]
    )
    return f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{"".join(rows)}</tbody></table></div>'


def _method(measured: Measured) -> str:
    """Everything needed to make the figures again."""
    sweeps = [("settings", measured.about)]
    if measured.run_off is not None:
        sweeps.append(("run-off", measured.run_off.about))
    if measured.held_out is not None:
        sweeps.append(("held-out check", measured.held_out.about))
    source = measured.about.provenance
    rows = [
        ("model", source.model_id), ("revision", source.revision or "a local folder"),
        ("fingerprint of its weights", source.fingerprint),
        ("behaviour", f"{measured.about.title} ({measured.about.behavior}); wanted: {measured.wanted}"),
        ("contrast set", f"{source.contrast_name}, {source.contrast_hash}"),
        *(row for name, sweep in sweeps for row in _asked(name, sweep)),
        ("floor", f"{100 * measured.floor:g} % of the untouched model's utility"),
        *((("rule of choice", rule_of_choice(measured)),) if measured.run_off else ()),
        *((f"score “{kind}”", RULES.get(kind, "see s2e_core/text/judge.py")) for kind in _kinds(measured.about)),
        ("intervals", INTERVALS),
        ("empty, repeated, off-topic", "counted apart; an empty or repeated answer scores 0 whatever it says"),
    ]  # fmt: skip
    body = "".join(f"<tr><th>{html.escape(name)}</th><td>{html.escape(text)}</td></tr>" for name, text in rows)
    return f'<div class="scroll"><table>{body}</table></div>'


def _asked(name: str, sweep: Sweep) -> list[tuple[str, str]]:
    prompts: Counter[tuple[str, str]] = Counter()
    for question in {question.prompt: question for question in sweep.questions}.values():
        prompts[question.side, str(question.row["kind"])] += 1
    counts = ", ".join(f"{count} {side} ({kind})" for (side, kind), count in prompts.items())
    dice = (
        f"{sweep.samples} per prompt, temperature {sweep.temperature:g}, seed {sweep.seed}, up to "
        f"{sweep.max_new_tokens} tokens; every setting gets the same dice"
    )
    return [(f"prompts, {name}", f"split {sweep.split}: {counts}"), (f"answers, {name}", dice)]


def _kinds(sweep: Sweep) -> list[str]:
    return list(dict.fromkeys(str(question.row["kind"]) for question in sweep.questions))


def measured_files(
    path: Path,
    spec: ModelSpec,
    *,
    floor: float,
    wanted: str,
    sizes: Callable[[Sweep], SizeOf | None] = lambda made: None,
) -> Measured:
    """What the file of a sweep, or the folder of a search, holds. Raises SweepError where it cannot be read.

    `sizes` finds out, from what was asked, how many components an edit touches.
    """
    folder = path if path.is_dir() else None
    made = load_sweep(folder / "development.jsonl" if folder else path, spec)
    size_of = sizes(made)
    measured = Measured(drop_answers(made), wanted or made.title, grown((), made, size_of=size_of), floor)
    if folder is None or not (folder / "finals.jsonl").is_file():
        return measured
    finals = load_sweep(folder / "finals.jsonl", spec)
    edit, steering = (choose(sweep_results(finals), arm, floor, made.less_is_better) for arm in _ARMS)
    check = None
    if (folder / "test.jsonl").is_file():
        check = checked(load_sweep(folder / "test.jsonl", spec), edit, steering, size_of)
    picked: dict[Arm, Trial | None] = {"edit": edit, "steering": steering}
    return replace(measured, chosen=picked, held_out=check, run_off=run_off(finals, size_of=size_of))


def now() -> str:
    return datetime.now(UTC).strftime("%d %B %Y, %H:%M UTC")


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m components.trade_off.report", description="A sweep as one HTML file."
    )
    parser.add_argument("sweep", type=Path, help="file of a sweep, or the folder of a search")
    parser.add_argument("-o", "--output", type=Path, required=True, help="the HTML file to write")
    parser.add_argument("--model", default="bundled", help="the model of the sweep (bundled, a folder or a Hub id)")
    parser.add_argument("--floor", type=float, default=0.97, help="least share of the utility to keep (0.97)")
    parser.add_argument("--behaviors", type=Path, help="folder of the behaviours, where it is not the bundled one")
    chosen_options = parser.parse_args(arguments)
    try:
        loaded = load_model(chosen_options.model)
        sizes = partial(sizes_of, loaded, folder=chosen_options.behaviors)
        measured = measured_files(chosen_options.sweep, loaded.spec, floor=chosen_options.floor, wanted="", sizes=sizes)
        behavior = _behavior(measured.about.behavior, chosen_options.behaviors)
        wanted = measured.wanted if behavior is None else behavior.positive
        text = report_html(replace(measured, wanted=wanted), made=now())
        chosen_options.output.write_text(text, encoding="utf-8")
    except S2EError as error:
        raise SystemExit(str(error)) from error
    except OSError as error:
        raise SystemExit(f"{chosen_options.output} cannot be written ({error.strerror}).") from error


def sizes_of(loaded: LoadedModel, made: Sweep, *, folder: Path | None = None) -> SizeOf | None:
    """How many components an edit of this sweep touches; None where its model or its examples are not here."""
    behavior, source = _behavior(made.behavior, folder), made.provenance
    here = None if behavior is None else (loaded.fingerprint, behavior.contrast.content_hash)
    if behavior is None or here != (source.fingerprint, source.contrast_hash):
        return None
    gated = any(outcome.trial.settings and outcome.trial.settings.needs_texts for outcome in made.outcomes)
    texts = gate_texts(loaded, behavior.contrast, behavior) if gated else None
    return partial(count_edited, extract(loaded, behavior.contrast, texts=texts, outliers=made.outliers))


def _behavior(name: str, folder: Path | None) -> Behavior | None:
    """None where the behaviour is not here."""
    try:
        return load_behavior(name, folder)
    except BehaviorError:
        return None


if __name__ == "__main__":
    main()
