"""The inputs of every projection at single token positions: what baked and gated steering are fitted on.

Knows shapes only; how they are captured and what is solved with them is in the package `method`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from torch import Tensor

from .spec import ModelSpec, check_shapes


@dataclass(frozen=True, eq=False)
class TokenInputs:
    """Projection inputs on texts of the behaviour (on) and on harmless ones (off), at sampled token positions.

    They are bf16 on the CPU: their rounding is noise of 4e-6 of every mean square, and the ridge of the fit is 1e-3.
    """

    spec: ModelSpec
    on: tuple[Tensor, ...]
    """Per site: (tokens, n_components * width)."""
    off: tuple[Tensor, ...]
    """Per site: (tokens, n_components * width)."""
    harmless: str
    """Which harmless texts, as the page, recipes and model cards name them."""
    mus: tuple[float, ...] = ()
    """The strictness for which `keys` are solved already."""
    keys: tuple[Tensor, ...] = ()
    """Gate c over all inputs, for every strictness. Per site: (len(mus), n_components * width), fp32."""

    def __post_init__(self) -> None:
        for name, tensors in (("on", self.on), ("off", self.off)):
            check_shapes(f"TokenInputs.{name}", tensors, self._shapes([len(tensor) for tensor in tensors]))
        if self.mus:
            check_shapes("TokenInputs.keys", self.keys, self._shapes([len(self.mus)] * len(self.spec.sites)))

    @cached_property
    def means(self) -> tuple[tuple[Tensor, Tensor], ...]:
        """Mean input on the behaviour's texts and on harmless ones, fp32; zero without rows. Per site: two (n_inputs,).

        Computed once: every move of a gate's dial asks for them.
        """
        return tuple((_mean(on), _mean(off)) for on, off in zip(self.on, self.off, strict=True))

    def _shapes(self, rows: Sequence[int]) -> list[tuple[int, int]]:
        return [(n, site.n_inputs) for n, site in zip(rows, self.spec.sites, strict=True)]


def _mean(rows: Tensor) -> Tensor:
    return rows.float().mean(dim=0) if len(rows) else rows.new_zeros(rows.shape[1]).float()
