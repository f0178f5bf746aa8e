"""The result of verifying an export: its measurements, its verdict and the sentences that report them.

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

NAMES: dict[CardKind, str] = {
    "checkpoint": "checkpoint",
    "adapter": "adapter",
    "gguf-lora": "GGUF LoRA",
    "mlx": "MLX adapter",
}
"""What each kind of export is called in a sentence."""
_ENOUGH = 0.9
"""Share of the intended change below which a component gets a warning about rounding."""


@dataclass(frozen=True, eq=False)
class Verification:
    """What a written checkpoint or adapter contains and computes; `realised_shares` has one entry per `spec.sites`."""

    kind: CardKind
    spec: ModelSpec
    number_format: str
    """Number format of the edited weights on disk: F32, BF16, ..."""
    intended_tensors: tuple[str, ...]
    """Names on disk of the tensors that the edit changes."""
    unedited_tensors: tuple[str, ...]
    """Intended tensors that are absent or the same as in the base."""
    unexpected_tensors: tuple[str, ...]
    """Other tensors that differ from the base's, are absent or are extra."""
    realised_shares: tuple[Tensor, ...]
    """Per site: (n_components,) of realised . intended / |intended|^2, NaN for a component without an edit."""
    random_weights: tuple[str, ...] = ()
    """Weights without a stored tensor, which transformers initialises with random numbers."""
    logit_difference: float = math.nan
    """Largest |reloaded - preview| over all prompts, positions and tokens; for rounded mixtures of experts, over the
    nine tenths of the positions where it is smallest."""
    logit_effect: float = math.nan
    """Largest |preview - original|: the effect of the edit itself."""
    logit_tolerance: float = math.nan
    """Largest logit difference that passes."""
    agreement: float = math.nan
    """Share of positions at which the reloaded model and the preview have the same next token."""
    n_positions: int = 0
    """Number of token positions over all prompts."""
    placement: str = ""
    """Sentence about where the second model had its weights."""
    not_checked: str = ""
    """Reason why nothing could be computed here, as the rest of a sentence; empty if the logits were compared."""
    runs_in: str = ""
    """Program that runs such a file and is not part of this one, so that the file was only read back; mostly empty."""
    folder: str = ""
    """Name of the written folder."""

    @property
    def n_changed(self) -> int:
        """Number of intended tensors that changed."""
        return len(self.intended_tensors) - len(self.unedited_tensors)

    @property
    def passed(self) -> bool:
        """True if the right tensors changed and the logits, unless another program runs it, agree with the preview."""
        return self.has_right_tensors and (bool(self.runs_in) or self.logit_difference <= self.logit_tolerance)

    @property
    def has_right_tensors(self) -> bool:
        """True if every intended tensor changed, no other tensor did, and no weight is random."""
        return not (self.unedited_tensors or self.unexpected_tensors or self.random_weights)

    @property
    def realised_min(self) -> float:
        """Smallest realised share of an edited component."""
        return float(self._shares.min())

    @property
    def realised_median(self) -> float:
        """Median of the realised shares of the edited components."""
        return float(self._shares.median())

    def worst(self, count: int = 5) -> tuple[tuple[Component, float], ...]:
        """The edited components with the smallest realised shares, smallest first."""
        shares = (
            (Component(i, int(j)), float(r[j])) for i, r in enumerate(self.realised_shares) for j in _edited_indices(r)
        )
        return tuple(sorted(shares, key=lambda item: item[1])[:count])

    @property
    def warnings(self) -> tuple[str, ...]:
        """The warnings for the user, as sentences."""
        return tuple(self._warnings())

    def sentence(self) -> str:
        """The verdict for the user."""
        name = NAMES[self.kind]
        if self.runs_in and self.passed:
            return (
                f"The {name} contains the edit: all {len(self.intended_tensors)} tensors read back from the file are "
                f"those of the edit in every bit, and there are no others. {self.runs_in} was not run here."
            )
        if self.not_checked and self.has_right_tensors:
            return (
                f"The {name} was written, and the edit is in all {len(self.intended_tensors)} intended tensors "
                f"and in no other; its output was not checked here, because {self.not_checked}. To check it on another "
                f"machine, run python -m s2e_core verify {self.folder}/{RECIPE_FILE} {self.folder} there, with this "
                "model as --model."
            )
        if not self.passed:
            verb = "contain" if self.runs_in else "do"
            return f"The {name} does not {verb} what the preview showed. {' '.join(self.warnings)}"
        return (
            f"The {name} does what the preview showed: the edit is in all {len(self.intended_tensors)} intended "
            f"tensors and in no other, logits differ by at most {self.logit_difference:.1g}, and the next token "
            f"agrees at {self.agreement:.1%} of {self.n_positions} positions."
        )

    def lines(self) -> tuple[str, ...]:
        """The report, one line per measurement."""
        worst = ", ".join(f"{component_label(self.spec, component)} {share:.0%}" for component, share in self.worst())
        number_format = f" in {self.number_format}" if self.number_format else ""  # empty if nothing changed
        return (
            self.sentence(),
            f"Tensors: {self.n_changed} of {len(self.intended_tensors)} intended changed, "
            f"{len(self.unexpected_tensors)} others.",
            *(() if self.not_checked or self.runs_in else self._logit_lines()),
            f"Change kept{number_format}: median {self.realised_median:.1%}, least {self.realised_min:.1%}.",
            f"Components that kept least: {worst}.",
            *(self.warnings if self.passed or (self.not_checked and self.has_right_tensors) else ()),
        )

    def _logit_lines(self) -> Iterator[str]:
        yield (
            f"Logits: at most {self.logit_difference:.3g} from the preview, {self.logit_tolerance:.3g} allowed; the "
            f"edit itself changes them by up to {self.logit_effect:.3g}"
            + (", too little to be visible." if self.logit_effect <= self.logit_tolerance else ".")
        )
        yield f"Next token: the same at {self.agreement:.1%} of {self.n_positions} positions. {self.placement}".rstrip()

    @property
    def _shares(self) -> Tensor:
        return torch.cat([r[_edited_indices(r)] for r in self.realised_shares])

    def _warnings(self) -> Iterator[str]:
        if self.unedited_tensors:
            yield f"Without the edit: {_shorten(self.unedited_tensors)}."
        if self.unexpected_tensors:
            yield f"Changed unintentionally: {_shorten(self.unexpected_tensors)}."
        if self.random_weights:
            yield (
                f"Transformers found no stored values for {_shorten(self.random_weights)}, so they are random each "
                "time the model is loaded; download the base model again."
            )
        if (
            not (self.not_checked or self.runs_in) and not self.logit_difference <= self.logit_tolerance
        ):  # NaN is a failure too
            yield (
                f"Logits differ from the preview by {self.logit_difference:.3g}, more than the "
                f"{self.logit_tolerance:.3g} that rounding explains."
            )
        n_rounded = int((self._shares < _ENOUGH).sum())
        if n_rounded:
            yield (
                f"{n_rounded} of {len(self._shares)} edited components keep less than {_ENOUGH:.0%} of their change "
                f"after rounding to {self.number_format} (smallest {self.realised_min:.0%}); export the adapter or a "
                "float32 checkpoint to keep all of it."
            )


def _edited_indices(shares: Tensor) -> Tensor:
    """Indices of the components of a site that the edit changes."""
    return (~shares.isnan()).nonzero().flatten()


def _shorten(names: tuple[str, ...]) -> str:
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return ", ".join(names[:3]) + more
