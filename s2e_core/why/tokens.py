"""The text of single tokens, as a person reads it."""

from __future__ import annotations

from collections.abc import Sequence

from s2e_core.model import LoadedModel


def token_texts(loaded: LoadedModel, ids: Sequence[int]) -> tuple[str, ...]:
    """The text of every token; a part of a character is shown as the tokenizer's own name of the token."""
    texts = [str(loaded.tokenizer.decode([i])) for i in ids]
    names = loaded.tokenizer.convert_ids_to_tokens(list(ids))
    return tuple(
        name or "" if not text or "\N{REPLACEMENT CHARACTER}" in text else text
        for text, name in zip(texts, names, strict=True)
    )
