"""The headline's probes: the best steering and edit of every behaviour, asked prompts that others collected.

Knows races and the prompts of an installed package, by which nothing was chosen; how answers are asked and judged is in
the core.
"""

from __future__ import annotations

from argparse import ArgumentTypeError
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from s2e_core import Behavior, S2EError
from s2e_core.bundled import PROBES_PACKAGE
from s2e_core.data import ProbeRow, load_probes
from s2e_core.measure import PROBE_FIGURES, PROBE_TOKENS, SOLUTION_TOKENS, Estimate, Race, probe
from s2e_core.model import LoadedModel
from s2e_core.values import Original, Variant

from .records import Figure, Records, chosen_variants
from .sections import markdown_table
from .tables import ORIGINAL_ARM, format_figure

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
ARMS = ("steering", "edit")


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


def probe_record(loaded: LoadedModel, behavior: Behavior, race: Race, rows: Sequence[ProbeRow]) -> dict[str, Any]:
    """What the untouched model, the best steering and the best edit answer, and the lead of the edit over steering."""
    variants: dict[str, Variant] = {ORIGINAL_ARM: Original(), **chosen_variants(race)}
    probed = {one.label: one for one in probe(loaded, behavior, variants, rows, progress=_show)}
    edit, steering = probed.get("edit"), probed.get("steering")
    return {
        "package": PROBES_PACKAGE,
        "figure": WANTED.get(str(behavior.attribute[0]["kind"])),
        "figures": {label: _plain(one.figures()) for label, one in probed.items()},
        "lead": _plain(edit.lead(steering)) if edit and steering else {},
    }


def _show(done: int, total: int) -> None:
    print(f"probes: {done:,} of {total:,} answers", flush=True)


def probe_section(records: Records) -> list[str]:
    """The third table, with what was asked, and the leads of the behaviours that the prompts measure."""
    probed = {record["title"]: record["probes"] for record in records.values() if "probes" in record}
    if not probed:
        return []
    first = next(iter(probed.values()))["figures"][ORIGINAL_ARM]
    rows = [["untouched", *_cells(first)]]
    for title, one in probed.items():
        rows += [[f"{title}: best {arm}", *_cells(one["figures"][arm])] for arm in ARMS if arm in one["figures"]]
    header = ["", *(title if name == "solution tokens" else f"{title}, %" for name, title in COLUMNS.items())]
    said = _lead_sentence(probed)
    return [_introduction(first), "", *markdown_table(header, rows), "", *([said, ""] if said else [])]


def _introduction(figures: Mapping[str, Figure]) -> str:
    names = ("harmful refused", "harmless refused", "problems solved")
    harmful, harmless, problems = (int(figures[name]["count"]) for name in names)
    return (
        f"On prompts that others collected, by which nothing was fitted or chosen: {harmful} harmful ones, {harmless} "
        f"harmless ones that look harmful, and {problems} word problems of GSM8K. They are read from the installed "
        f"package `{PROBES_PACKAGE}` (MIT licence) and spread evenly over it. One greedy answer each, of at most "
        f"{PROBE_TOKENS} tokens ({SOLUTION_TOKENS} for a word problem), with 95 % intervals over prompts."
    )


def _lead_sentence(probed: Mapping[str, Mapping[str, Any]]) -> str:
    """The lead over steering in the figure that measures the behaviour itself; "" if no behaviour has one."""
    parts = []
    for title, one in probed.items():
        if one["figure"] in one["lead"]:
            name = one["figure"]
            parts.append(f"{title} {_interval(name, one['lead'][name], sign='+')} ({COLUMNS[name]})")
    return f"The edit minus steering on these prompts: {'; '.join(parts)}." if parts else ""


def _cells(figures: Mapping[str, Figure]) -> list[str]:
    return [_interval(name, figures[name]) if name in figures else "–" for name in COLUMNS]


def _interval(name: str, figure: Figure, sign: str = "") -> str:
    return format_figure(figure, name == "solution tokens", sign)


def _plain(figures: Mapping[str, Estimate]) -> dict[str, Any]:
    return {name: asdict(figures[name]) for name in PROBE_FIGURES if name in figures}
