"""Bundled behaviours with few prompts and short answers, so that a whole search takes seconds.

Knows the folder layout of behaviours and nothing of the page.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path

from s2e_core.data import BUNDLED_BEHAVIORS

PER_SPLIT = 4
"""Prompts of each side and split."""
TOKENS = 12


def small_behaviors(folder: Path, names: Sequence[str] = ("safety", "reasoning"), *, tokens: int = TOKENS) -> Path:
    """Writes the behaviours into `folder`, and returns it."""
    for name in names:
        source, target = BUNDLED_BEHAVIORS / name, folder / name
        target.mkdir(parents=True)
        described = json.loads((source / "behavior.json").read_text(encoding="utf-8"))
        described["max_new_tokens"] = min(tokens, described["max_new_tokens"])
        described.pop("best")  # the tests of the dials begin with the elastic net
        (target / "behavior.json").write_text(json.dumps(described), encoding="utf-8")
        shutil.copyfile(source / "contrast.jsonl", target / "contrast.jsonl")
        for side in ("attribute", "utility"):
            rows = [json.loads(line) for line in (source / f"{side}.jsonl").read_text(encoding="utf-8").splitlines()]
            (target / f"{side}.jsonl").write_text("\n".join(json.dumps(row) for row in _few(rows)), encoding="utf-8")
    return folder


def _few(rows: Sequence[dict]) -> list[dict]:
    """Evenly spread over each split, so that every kind of prompt is there."""
    kept = []
    for split in ("development", "test"):
        inside = [row for row in rows if row["split"] == split]
        kept += [inside[number * len(inside) // PER_SPLIT] for number in range(PER_SPLIT)]
    return kept
