"""A model's part of README between its markers, and the sentence on how well the screen predicts.

Knows records, markers and Markdown tables; the tables of the races are in `tables.py`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from .records import Records


def write_part(readme: Path, model: str, lines: Sequence[str]) -> None:
    """Replace what stands between the markers of a model."""
    begin, end = f"<!-- headline {model} -->\n", f"<!-- end of headline {model} -->"
    before, rest = readme.read_text(encoding="utf-8").split(begin)
    _, after = rest.split(end)
    readme.write_text("\n".join([f"{before}{begin}{lines[0]}", *lines[1:], end]) + after, encoding="utf-8")


def screen_sentence(records: Records) -> str:
    """How well the screen predicts the sampled answers, for every behaviour."""
    figures = "; ".join(f"{record['title']}: {_said(record['rank correlation'])}" for record in records.values())
    return (
        "How well the screen predicts (rank correlation of the screened margin with the sampled attribute over the "
        "asked edits that keep the floor, where 1 is the same order, and of the screened KL with the utility kept over "
        f"all asked edits, where -1 is the exactly opposite order): {figures}."
    )


def _said(found: Mapping[str, Mapping[str, Any]]) -> str:
    margin, kl = found["screened margin with attribute"], found["screened KL with utility kept"]
    return f"margin {_rank(margin)}, KL {_rank(kl)}"


def _rank(found: Mapping[str, Any]) -> str:
    value = "–" if found["value"] is None else f"{found['value']:.2f}"
    return f"{value} ({found['count']})"


def markdown_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """The lines of a Markdown table."""
    lines = [f"| {' | '.join(cells)} |" for cells in (header, *rows)]
    return [lines[0], "|" + "---|" * len(header), *lines[1:]]
