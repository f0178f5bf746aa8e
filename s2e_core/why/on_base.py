"""The weights of a base model as something else gives them: what a recipe, an adapter and a file have in common."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from s2e_core.model import LoadedModel
from s2e_core.spec import ModelSpec


@dataclass(frozen=True, eq=False)
class OnBase(ABC):
    """A `WeightSource` for the sites of a base model."""

    base: LoadedModel

    @property
    def spec(self) -> ModelSpec:
        return self.base.spec

    def weight(self, site: int) -> Tensor:
        """(d, n_components * width), fp32; see `WeightSource.weight`."""
        return torch.cat(list(self.blocks(site)), dim=1)

    @abstractmethod
    def blocks(self, site: int) -> Iterator[Tensor]:
        """Blocks (d, n) of the weight, fp32; see `WeightSource.blocks`."""
