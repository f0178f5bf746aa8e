"""The fields of a grid in words and numbers: lists of values typed by a visitor, presets, and how much work they are.

Knows trials and limits; no page, no model.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod
from types import MappingProxyType

from s2e_core import SettingsError
from s2e_core.measure import PAPER_ALPHA, PAPER_GAMMA, PAPER_RHO_ATTN, PAPER_RHO_MLP, Trial, edit_grid, steering_grid

OFF = "off"
MOST_VALUES = 100
"""In one field, whatever the limit of settings."""
NAMES = {"rho_attn": "ρ heads", "rho_mlp": "ρ neurons", "alpha": "α", "strength": "strength", "gamma": "steering γ"}


@dataclass(frozen=True)
class GridRequest:
    """Comma-separated values as typed."""

    rho_attn: str
    rho_mlp: str
    alpha: str
    strength: str = "1"
    gamma: str = ""


def _listed(values: Sequence[float]) -> str:
    return ", ".join(f"{value:g}" for value in values)


SMALL, PAPER = "Small: 12 + 5 settings", "The paper's: 125 + 15"
PRESETS: Mapping[str, GridRequest] = MappingProxyType(
    {
        SMALL: GridRequest("0.3, off", "0.4, 0.6, 0.9", "0.2, 0.5", "1", "0.2, 0.4, 0.6, 0.8, 1"),
        PAPER: GridRequest(
            _listed(PAPER_RHO_ATTN), _listed(PAPER_RHO_MLP), _listed(PAPER_ALPHA), "1", _listed(PAPER_GAMMA)
        ),
    }
)


def trials_of(request: GridRequest, most: int) -> tuple[Trial, ...]:
    """Steering first, since the baseline is soon there, then every combination of the dials.

    Raises SettingsError for a value that is no number or outside of its range, and for more than `most` combinations
    or none.
    """
    gammas = [value for value in _values(request.gamma, "gamma") if value is not None]
    alphas, strengths = (_numbers(getattr(request, name), name) for name in ("alpha", "strength"))
    rhos = _values(request.rho_attn, "rho_attn", off=True), _values(request.rho_mlp, "rho_mlp", off=True)
    count = len(gammas) + prod(len(values) for values in (*rhos, alphas, strengths))
    if count > most:  # before they are made
        raise SettingsError(f"These lists make {count:,} settings; at most {most:,} can be tried here. Shorten a list.")
    trials = (*steering_grid(gammas), *edit_grid(*rhos, alphas, strengths))
    if not trials:
        raise SettingsError("These lists make no setting at all. Type values for ρ and α, or for γ.")
    return trials


def estimate(request: GridRequest, prompts: float | None, most: int, rate: float | None) -> str:
    """How much work a grid is, before it starts; a sentence about what is wrong where it cannot start."""
    try:
        trials = trials_of(request, most)
    except SettingsError as error:
        return str(error)
    count, answers = len(trials) + 1, int((len(trials) + 1) * 2 * (prompts or 0))
    edits = sum(trial.arm == "edit" for trial in trials)
    words = (
        f"{edits:,} edits, {len(trials) - edits:,} steering strengths and the untouched model: {count:,} settings × "
        f"{2 * int(prompts or 0):,} prompts = {answers:,} answers"
    )
    return f"{words}, about {_minutes(answers / rate)} here." if rate else f"{words}."


def _minutes(seconds: float) -> str:
    return f"{seconds / 60:.0f} min" if seconds > 90 else f"{max(1, round(seconds)):d} s"


def _numbers(text: str, name: str) -> list[float]:
    return [value for value in _values(text, name) if value is not None]


def _values(text: str | None, name: str, *, off: bool = False) -> list[float | None]:
    """The values of a field without repetitions, in their order; an empty field is "off" where that is possible."""
    words = [word.strip() for word in (text or "").replace(";", ",").split(",") if word.strip()]
    if len(words) > MOST_VALUES:
        raise SettingsError(f"The field {NAMES[name]} has {len(words):,} values; at most {MOST_VALUES} are read.")
    if not words and off:
        return [None]
    return list(dict.fromkeys(_value(word, name, off=off) for word in words))


def _value(word: str, name: str, *, off: bool) -> float | None:
    if off and word.lower() == OFF:
        return None
    try:
        return float(word)
    except ValueError:
        also = f', or "{OFF}"' if off else ""
        raise SettingsError(
            f'"{word[:20]}" in the field {NAMES[name]} is no number. Type numbers with commas between them{also}.'
        ) from None
