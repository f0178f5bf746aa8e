"""The file of a screen: what a search measured by likelihood, so that a search that was stopped does not repeat it.

Knows JSON and what the entries mean; a file of another screen, or a damaged one, is made again.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from s2e_core.errors import SettingsError
from s2e_core.files import write_whole
from s2e_core.spec import ModelSpec

from .estimates import Estimate
from .screening import Likelihood
from .shortlist import Screened
from .trials import trial_from_json, trial_to_json

FIGURES = ("margin", "wanted", "kl")


def save_screened(path: Path, about: Mapping[str, Any], screened: Sequence[Screened]) -> None:
    """Write everything that was screened; `about` says of what. Raises OSError if the file cannot be written."""
    entries = [
        {
            "trial": trial_to_json(each.trial),
            "level": each.level,
            "margins": each.figures.margins,
            **{name: asdict(getattr(each.figures, name)) for name in FIGURES},
        }
        for each in screened
    ]
    text = json.dumps({"about": dict(about), "screened": entries})
    write_whole(path, lambda temporary: temporary.write_text(text, encoding="utf-8"))


def load_screened(path: Path, about: Mapping[str, Any], spec: ModelSpec) -> tuple[Screened, ...] | None:
    """What the file has; None if there is none, or one of another screen."""
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        if data["about"] != json.loads(json.dumps(dict(about))):
            return None
        return tuple(_screened(entry, spec) for entry in data["screened"])
    except (OSError, ValueError, KeyError, TypeError, SettingsError):
        return None


def _screened(entry: Mapping[str, Any], spec: ModelSpec) -> Screened:
    margin, wanted, kl = (Estimate(**entry[name]) for name in FIGURES)
    figures = Likelihood(margin, wanted, kl, tuple(entry["margins"]))
    return Screened(trial_from_json(entry["trial"], spec), figures, entry["level"])
