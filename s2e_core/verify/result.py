"""What the check of an export found, as a value with its verdict and the sentences that say it to a person.

Knows no file and no model.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from s2e_core.export import RECIPE_FILE, CardKind
from s2e_core.model import component_label
from s2e_core.spec import Component, ModelSpec

ENOUGH = 0.9
"""Share of a component's intended change below which its rounding deserves a warning."""


@dataclass(frozen=True, eq=False)
class Verification:
    """What was found in a written checkpoint or adapter; `realised` is aligned with `spec.sites`."""

    kind: CardKind
    spec: ModelSpec
    number_format: str
    """Number formats of the edited weights on disk: F32, BF16, ..."""
    intended: tuple[str, ...]
    """Names on disk of the tensors that carry the edit."""
    missing: tuple[str, ...]
    """Those of them that are absent or the same as in the base."""
    unexpected: tuple[str, ...]
    """Other tensors that differ from the base's, are too many or are gone."""
    realised: tuple[Tensor, ...]
    """Per site (n_components,): realised . intended / |intended|^2, NaN if a component is not edited"""
    not_found: tuple[str, ...] = ()
    """Weights for which transformers found no tensor, so that it begins them with random numbers."""
    logit_difference: float = math.nan
    """Largest |reloaded - preview| over all prompts, positions and tokens; of rounded mixtures of experts, over the
    nearest nine tenths of the positions."""
    logit_effect: float = math.nan
    """Largest |preview - original|: what the edit itself does there."""
    logit_tolerance: float = math.nan
    """The largest logit difference that passes."""
    agreement: float = math.nan
    """Share of positions at which the reloaded model and the preview have the same next token."""
    n_positions: int = 0
    held: str = ""
    """Sentence that says where the model that was checked had its weights."""
    not_checked: str = ""
    """Reason why nothing could be computed here, as the rest of a sentence; empty if it could."""
    folder: str = ""
    """The name of the written folder."""

    @property
    def n_changed(self) -> int:
        """Tensors that changed as intended."""
        return len(self.intended) - len(self.missing)

    @property
    def passed(self) -> bool:
        return self.has_right_tensors and self.logit_difference <= self.logit_tolerance

    @property
    def has_right_tensors(self) -> bool:
        """The edit is in every tensor that it is meant for, and in no other."""
        return not (self.missing or self.unexpected or self.not_found)

    @property
    def realised_min(self) -> float:
        return float(self._shares.min())

    @property
    def realised_median(self) -> float:
        return float(self._shares.median())

    def worst(self, count: int = 5) -> tuple[tuple[Component, float], ...]:
        """The edited components that kept the smallest share of their intended change, smallest first."""
        shares = ((Component(i, int(j)), float(r[j])) for i, r in enumerate(self.realised) for j in _edited(r))
        return tuple(sorted(shares, key=lambda item: item[1])[:count])

    @property
    def warnings(self) -> tuple[str, ...]:
        """What a person should know, as sentences."""
        return tuple(self._warnings())

    def sentence(self) -> str:
        """The verdict for a person."""
        if self.not_checked and self.has_right_tensors:
            return (
                f"The {self.kind} was written, and the edit is in all {len(self.intended)} intended tensors and in no "
                f"other; what it computes was not checked here, because {self.not_checked}. To check it on another "
                f"machine, run python -m s2e_core verify {self.folder}/{RECIPE_FILE} {self.folder} there, with this "
                "model as --model."
            )
        if not self.passed:
            return f"The {self.kind} does not do what the preview showed. {' '.join(self.warnings)}"
        return (
            f"The {self.kind} does what the preview showed: the edit is in all {len(self.intended)} intended "
            f"tensors and in no other, logits differ by at most {self.logit_difference:.1g}, and the next token "
            f"agrees at {self.agreement:.1%} of {self.n_positions} positions."
        )

    def lines(self) -> tuple[str, ...]:
        """The findings, one per line."""
        worst = ", ".join(f"{component_label(self.spec, component)} {share:.0%}" for component, share in self.worst())
        form = f" in {self.number_format}" if self.number_format else ""  # nothing was changed
        return (
            self.sentence(),
            f"Tensors: {self.n_changed} of {len(self.intended)} intended changed, {len(self.unexpected)} others.",
            *(() if self.not_checked else self._computed()),
            f"Change kept{form}: median {self.realised_median:.1%}, least {self.realised_min:.1%}.",
            f"Components that kept least: {worst}.",
            *(self.warnings if self.passed or (self.not_checked and self.has_right_tensors) else ()),
        )

    def _computed(self) -> Iterator[str]:
        yield (
            f"Logits: at most {self.logit_difference:.3g} from the preview, {self.logit_tolerance:.3g} allowed; the "
            f"edit itself moves them by up to {self.logit_effect:.3g}"
            + (", too little to show in them." if self.logit_effect <= self.logit_tolerance else ".")
        )
        yield f"Next token: the same at {self.agreement:.1%} of {self.n_positions} positions. {self.held}".rstrip()

    @property
    def _shares(self) -> Tensor:
        return torch.cat([r[_edited(r)] for r in self.realised])

    def _warnings(self) -> Iterator[str]:
        if self.missing:
            yield f"Without the edit: {_some(self.missing)}."
        if self.unexpected:
            yield f"Changed without being meant to: {_some(self.unexpected)}."
        if self.not_found:
            yield (
                f"Transformers found no numbers for {_some(self.not_found)}, which are random each time the model is "
                "loaded; download the base model again."
            )
        if not self.not_checked and not self.logit_difference <= self.logit_tolerance:  # NaN is a failure too
            yield (
                f"Logits differ from the preview by {self.logit_difference:.3g}, more than the "
                f"{self.logit_tolerance:.3g} that rounding explains."
            )
        lost = int((self._shares < ENOUGH).sum())
        if lost:
            yield (
                f"{lost} of {len(self._shares)} edited components keep less than {ENOUGH:.0%} of their change after "
                f"rounding to {self.number_format} (smallest {self.realised_min:.0%}); export the adapter or a float32 "
                "checkpoint to keep all of it."
            )


def _edited(realised: Tensor) -> Tensor:
    """Indices of the components of a site that the edit changes."""
    return (~realised.isnan()).nonzero().flatten()


def _some(names: tuple[str, ...]) -> str:
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return ", ".join(names[:3]) + more
