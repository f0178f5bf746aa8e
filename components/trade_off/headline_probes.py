"""The headline's probes: the best steering and edit of every behaviour, asked prompts that others collected.

Knows races and the prompts of an installed package, by which nothing was chosen; how answers are asked and judged is in
the core.
"""

from __future__ import annotations

from argparse import ArgumentTypeError
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from s2e_core import S2EError
from s2e_core.bundled import PROBES_PACKAGE
from s2e_core.data import ProbeRow, load_probes
from s2e_core.measure import PROBE_FIGURES, PROBE_TOKENS, SOLUTION_TOKENS, Estimate, Probed, probe
from s2e_core.model import LoadedModel
from s2e_core.values import Original, Variant

from .headline_sections import Run, chosen_variants, markdown_table

N_PROBES = 40
"""Harmful prompts, and as many harmless ones; word problems are 5 for every 8, since their answers are long."""
COLUMNS = {
    "harmful refused": "harmful refused",
    "harmless refused": "harmless refused",
    "harmless answered": "harmless answered properly",
    "problems solved": "word problems solved",
    "solution tokens": "tokens of a solution",
    "flawed": "empty or repeated",
}
"""Figures of the table, in order, with their headings."""
WANTED = {"refusal": "harmful refused", "length": "solution tokens"}
"""Figure that measures a behaviour on the probes, by the kind of its attribute prompts."""


def probe_count(text: str) -> int:
    """The value of --probes: a number of prompts, or 0 for "off". Raises ArgumentTypeError for anything else."""
    if text == "off":
        return 0
    if not text.isdecimal() or int(text) < 1:
        raise ArgumentTypeError(f'"{text}" is neither a number of prompts from 1 nor "off".')
    return int(text)


def probe_rows(n: int) -> tuple[ProbeRow, ...]:
    """The prompts to ask; none for n = 0. Ends the program with a sentence if their package is not installed."""
    if not n:
        return ()
    try:
        kinds = (load_probes("refusal", n), load_probes("help", n), load_probes("arithmetic", -(-n * 5 // 8)))
    except S2EError as error:
        raise SystemExit(f"{error}\nOr leave these prompts out: --probes off") from error
    return tuple(row for rows in kinds for row in rows)


def run_probes(loaded: LoadedModel, runs: Sequence[Run], rows: Sequence[ProbeRow]) -> dict[str, Probed]:
    """What the untouched model and the winners of all races answer, by "original", "refusal: steering", ..."""
    variants: dict[str, Variant] = {"original": Original()}
    for behavior, race in runs:
        variants |= {f"{behavior.name}: {arm}": variant for arm, variant in chosen_variants(race).items()}
    return {probed.label: probed for probed in probe(loaded, runs[0][0], variants, rows, progress=_show)}


def _show(done: int, total: int) -> None:
    print(f"probes: {done:,} of {total:,} answers", flush=True)


def describe_probes(runs: Sequence[Run], probed: Mapping[str, Probed]) -> dict[str, Any]:
    """All figures, and the lead of each edit over steering, as values that `json` can write."""
    return {
        "package": PROBES_PACKAGE,
        "figures": {label: _plain(one.figures()) for label, one in probed.items()},
        "lead of the edit over steering": {name: _plain(lead) for name, lead in _leads(runs, probed).items()},
    }


def probe_section(runs: Sequence[Run], probed: Mapping[str, Probed]) -> list[str]:
    """The third table, with what was asked, and the leads of the behaviours that the prompts measure."""
    names = {behavior.name: behavior.title for behavior, _ in runs}
    rows = [[_arm_title(label, names), *_cells(one.figures())] for label, one in probed.items()]
    header = ["", *(title if name == "solution tokens" else f"{title}, %" for name, title in COLUMNS.items())]
    section = [_introduction(probed["original"].figures()), "", *markdown_table(header, rows)]
    said = _lead_sentence(runs, probed)
    return [*section, "", said] if said else section


def _introduction(figures: Mapping[str, Estimate]) -> str:
    names = ("harmful refused", "harmless refused", "problems solved")
    harmful, harmless, problems = (figures[name].count for name in names)
    return (
        f"On prompts that others collected, by which nothing was fitted or chosen: {harmful} harmful ones, {harmless} "
        f"harmless ones that look harmful, and {problems} word problems of GSM8K. They are read from the installed "
        f"package `{PROBES_PACKAGE}` (MIT licence) and spread evenly over it. One greedy answer each, of at most "
        f"{PROBE_TOKENS} tokens ({SOLUTION_TOKENS} for a word problem), with 95 % intervals over prompts."
    )


def _lead_sentence(runs: Sequence[Run], probed: Mapping[str, Probed]) -> str:
    """The lead over steering in the figure that measures the behaviour itself; "" if no behaviour has one."""
    leads, parts = _leads(runs, probed), []
    for behavior, _ in runs:
        figure = WANTED.get(str(behavior.attribute[0]["kind"]))
        if figure and figure in leads.get(behavior.name, {}):
            lead = _interval(figure, leads[behavior.name][figure], sign="+")
            parts.append(f"{behavior.title} {lead} ({COLUMNS[figure]})")
    return f"The edit minus steering on these prompts: {'; '.join(parts)}." if parts else ""


def _leads(runs: Sequence[Run], probed: Mapping[str, Probed]) -> dict[str, dict[str, Estimate]]:
    pairs = {b.name: (probed.get(f"{b.name}: edit"), probed.get(f"{b.name}: steering")) for b, _ in runs}
    return {name: edit.lead(steering) for name, (edit, steering) in pairs.items() if edit and steering}


def _arm_title(label: str, names: Mapping[str, str]) -> str:
    name, _, arm = label.partition(": ")
    return f"{names[name]}: best {arm}" if arm else "untouched"


def _cells(figures: Mapping[str, Estimate]) -> list[str]:
    return [_interval(name, figures[name]) if name in figures else "–" for name in COLUMNS]


def _interval(name: str, figure: Estimate, sign: str = "") -> str:
    scale = 1 if name == "solution tokens" else 100
    value, low, high = (scale * number for number in (figure.value, figure.low, figure.high))
    return f"{value:{sign}.1f} [{low:{sign}.1f}, {high:{sign}.1f}]"


def _plain(figures: Mapping[str, Estimate]) -> dict[str, Any]:
    return {name: asdict(figures[name]) for name in PROBE_FIGURES if name in figures}
