"""What ends a text: end-of-text tokens and stop strings.

Knows token ids and the tokenizer; no batch and no model.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from s2e_core.model import LoadedModel

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


@dataclass(frozen=True, eq=False)
class Ends:
    """The end-of-text tokens and the stop strings of one model."""

    tokens: tuple[int, ...]
    strings: tuple[str, ...]
    tokenizer: PreTrainedTokenizerBase

    def cut(self, row: Sequence[int]) -> list[int]:
        """The token ids of an answer before its end.

        Of a stop string only what shares a token with the text before it remains.
        """
        row = list(row[: next((i for i, token in enumerate(row) if token in self.tokens), len(row))])
        text = self._decode(row) if self.strings else ""
        places = [place for string in self.strings if (place := text.find(string)) >= 0]
        if not places:
            return row
        return row[: bisect_left(range(len(row) + 1), min(places), key=lambda n: len(self._decode(row[:n])))]

    def is_reached(self, row: Sequence[int]) -> bool:
        """Whether an answer contains an end."""
        return bool(set(self.tokens) & set(row)) or self.has_string(row)

    def has_string(self, row: Sequence[int]) -> bool:
        """Whether an answer contains a stop string."""
        text = self._decode(row) if self.strings else ""
        return any(string in text for string in self.strings)

    def has_string_at_end(self, row: Sequence[int]) -> bool:
        """Whether an answer ends in a token with which a stop string becomes complete."""
        most = max((len(string.encode()) for string in self.strings), default=0)  # a token is a byte or more
        return self.has_string(row[-most:] if most else ())

    def _decode(self, row: Sequence[int]) -> str:
        return str(self.tokenizer.decode(list(row)))


def ends_of(loaded: LoadedModel) -> Ends:
    """What ends the texts of a model: what its generation config says, else the tokenizer's end-of-text token."""
    ids = loaded.model.generation_config.eos_token_id
    ids = loaded.tokenizer.eos_token_id if ids is None else ids
    tokens = () if ids is None else (ids,) if isinstance(ids, int) else tuple(ids)
    return Ends(tokens, loaded.stop_strings, loaded.tokenizer)
