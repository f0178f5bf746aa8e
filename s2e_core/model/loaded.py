"""A model in memory with everything the other stages need to know about it: read-only, shared by everybody."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from s2e_core.spec import ModelSpec
from s2e_core.values import Provenance

from .gguf_origin import GGUFOrigin
from .identity import run_hash
from .placement import Placement, running_device
from .weights import site_weight, weight_blocks

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


@dataclass(frozen=True, eq=False)
class LoadedModel:
    """A model, read-only and shared by all visitors. Its loader owns it; no session keeps it."""

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    spec: ModelSpec
    model_id: str
    revision: str | None
    source: Path
    """Folder of the checkpoint that was loaded; an export reads it."""
    fingerprint: str
    """Fingerprint of the weights at the sites; see `loading.fingerprint`."""
    warnings: tuple[str, ...] = ()
    """Sentences about what a person should know about this model."""
    full_precision: PreTrainedModel | None = None
    """The same model in full precision, its weights still in the files; None if `model` itself is in full precision."""
    placement: Placement = Placement()
    """Device, number format and memory limits that were requested."""
    source_quantization: str = ""
    """Quantisation method of the files that `model` was read from; empty if they are not quantised."""
    stop_strings: tuple[str, ...] = ()
    """Strings that end a text, besides the end-of-text tokens."""
    suppressed_first: tuple[int, ...] = ()
    """Tokens with which no text begins."""
    template_args: Mapping[str, Any] = field(default_factory=dict)
    """Arguments of the chat template, as the user gave them; the tokenizer's template has them already."""
    template: str = ""
    """What prompts are rendered with beside their texts (arguments, a fixed date), as JSON; empty if nothing."""
    adapter: str = ""
    """Folder of the LoRA adapter that is merged into the weights; empty if there is none."""
    gguf: GGUFOrigin | None = None
    """GGUF file from which the checkpoint in `source` was made; None if the checkpoint is the model's own."""
    base_name: str = ""
    """What an export calls its base: a Hub id or a local path; empty for the Hub id, or else a path to fill in."""
    lock: threading.Lock = field(default_factory=threading.Lock)
    """Lock to hold while the model runs, so that it never has the hooks of two visitors at once."""

    def weight(self, site: int) -> Tensor:
        """(d, n_components * width), fp32; see `WeightSource.weight`. Never write: it is a view of an fp32 model."""
        return site_weight(self.source_model, self.spec.sites[site])

    @property
    def source_model(self) -> PreTrainedModel:
        """The model whose weights are scored, edited and exported."""
        return self.model if self.full_precision is None else self.full_precision

    def blocks(self, site: int) -> Iterator[Tensor]:
        """Blocks (d, n) of the weight, fp32; see `WeightSource.blocks`. Never write."""
        return weight_blocks(self.source_model, self.spec.sites[site])

    def in_full(self) -> LoadedModel:
        """The model to run in full precision: itself, or the one that reads its weights from the files as it runs."""
        return (
            self
            if self.full_precision is None
            else replace(self, model=self.full_precision, full_precision=None, source_quantization="")
        )

    @cached_property
    def run_hash(self) -> str:
        """SHA-256 over the configuration and all weights of the model that runs; the fingerprint covers the sites."""
        return run_hash(self.model)

    @property
    def text_fingerprint(self) -> str:
        """The fingerprint, with a hash of what the chat template is rendered with if it is rendered with anything."""
        template = hashlib.sha256(self.template.encode()).hexdigest()[:12] if self.template else ""
        return self.fingerprint + template

    def provenance(self, name: str, content_hash: str) -> Provenance:
        """Provenance of a value that is computed with this model from examples or a file; the hash is a SHA-256."""
        return Provenance(self.model_id, self.revision, self.fingerprint, name, content_hash, template=self.template)

    @property
    def context_length(self) -> int | None:
        """Length in tokens of the longest text that the model reads; None if its configuration does not say."""
        limit = getattr(self.model.config.get_text_config(), "max_position_embeddings", None)
        return limit if isinstance(limit, int) else None

    @property
    def device(self) -> torch.device:
        """Device for inputs; layers may be on other devices."""
        return running_device(self.model)

    @property
    def dtype(self) -> torch.dtype:
        return self.model.dtype
