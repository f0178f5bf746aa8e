"""A model in memory with everything the other stages need to know about it: read-only, shared by everybody."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from s2e_core.spec import ModelSpec

from .placement import Placement, running_device
from .weights import site_weight, weight_blocks

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


@dataclass(frozen=True, eq=False)
class LoadedModel:
    """A model, read-only and shared by everybody; owned by whoever loaded it, never kept in a visitor's session."""

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    spec: ModelSpec
    model_id: str
    revision: str | None
    source: Path
    """Folder with the checkpoint that was loaded: what an export reads."""
    fingerprint: str
    warnings: tuple[str, ...] = ()
    """What a person should know about this model, as sentences."""
    precise: PreTrainedModel | None = None
    """Where `model` runs in fewer bits than `source` has: the same model with its weights left in those files."""
    placement: Placement = Placement()
    """How it was asked to be held."""
    stored_quantized: str = ""
    """The method, where the files that `model` was read from are quantised themselves."""
    lock: threading.Lock = field(default_factory=threading.Lock)
    """Held while the model runs: hooks of two visitors must not be on the model together."""

    def weight(self, site: int) -> Tensor:
        """(d, n_components * width), fp32: see `WeightSource.weight`. A view where the model is fp32: never write."""
        return site_weight(self.as_stored, self.spec.sites[site])

    @property
    def as_stored(self) -> PreTrainedModel:
        """The model whose weights are scored, edited and exported."""
        return self.model if self.precise is None else self.precise

    def blocks(self, site: int) -> Iterator[Tensor]:
        """Pieces (d, n) of the weight, fp32: see `WeightSource.blocks`. Never write."""
        return weight_blocks(self.as_stored, self.spec.sites[site])

    def in_full(self) -> LoadedModel:
        """Itself; of a model that runs in fewer bits, the one that reads its weights from the files as it runs."""
        return self if self.precise is None else replace(self, model=self.precise, precise=None, stored_quantized="")

    @property
    def device(self) -> torch.device:
        """Where inputs go; the layers of a spread model may be elsewhere."""
        return running_device(self.model)

    @property
    def dtype(self) -> torch.dtype:
        return self.model.dtype
