"""What an extraction is computed from, and the file name that stands for it.

Everything that changes a number is part of the name: a hit is never the extraction of another model or other examples.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from s2e_core.data import GateTexts
from s2e_core.model import LoadedModel, example_ids, is_encodable, prompt_ids
from s2e_core.values import OUTLIERS, ContrastSet, Example, Outliers

from .extraction_file import VERSION

NO_TEXTS = "0" * 16
"""Second part of the name of an extraction without texts."""


@dataclass(frozen=True, eq=False)
class ExtractionKey:
    """A model, its examples, what becomes of outliers, the texts of a gate: together they give one extraction."""

    loaded: LoadedModel
    contrast: ContrastSet
    texts: GateTexts | None = None
    outliers: Outliers = OUTLIERS

    @cached_property
    def examples_hash(self) -> str:
        """SHA-256 of all but the texts, in hexadecimal.

        It covers every weight, the number format, the examples with their sides, their token ids, which depend on the
        tokenizer and the chat template, and what becomes of outliers.
        """
        loaded, contrast = self.loaded, self.contrast
        placement = loaded.placement
        run = [loaded.fingerprint, loaded.run_hash, str(loaded.dtype), placement.quantize, loaded.source_quantization]
        ids = [[example_ids(loaded.tokenizer, it) for it in side] for side in (contrast.positive, contrast.negative)]
        return _sha256([VERSION, run, contrast.content_hash, ids, self.outliers])

    @cached_property
    def texts_hash(self) -> str:
        """The first 16 digits of the SHA-256 of the texts and their token ids; NO_TEXTS without texts."""
        if self.texts is None:
            return NO_TEXTS
        return _sha256([self.texts.content_hash, self._prompt_ids(self.texts.on), self._prompt_ids(self.texts.off)])[
            :16
        ]

    @property
    def name(self) -> str:
        """File name without its ending."""
        return f"{self.examples_hash}-{self.texts_hash}"

    def _prompt_ids(self, examples: Sequence[Example]) -> list[list[int]]:
        """Token ids of prompts; empty for one that cannot be encoded, which `extract` refuses with a sentence."""
        tokenizer = self.loaded.tokenizer
        return [
            prompt_ids(tokenizer, it.prompt, it.system, it.earlier) if is_encodable(it.prompt) else []
            for it in examples
        ]


def _sha256(content: Any) -> str:
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()
