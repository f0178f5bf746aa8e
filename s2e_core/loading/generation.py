"""Decide what of a model's own generation config reaches a text: its special tokens, suppressed tokens, stop strings.

Everything else (beams, guidance, penalties, caches, lengths) would compare decoding strategies and not models, and is
left in the file. Builds no model.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from transformers import GenerationConfig

from s2e_core.errors import ModelLoadError

from .config import read_json

GENERATION_CONFIG = "generation_config.json"
KEPT = ("eos_token_id", "suppress_tokens", "begin_suppress_tokens", "stop_strings")
"""Entries that are kept. The other special tokens begin or pad a text: they come from the tokenizer."""


@dataclass(frozen=True)
class GenerationRules:
    """What a model's own generation config says of every text that it writes."""

    ends: tuple[int, ...] = ()
    """Tokens that end a text; without any, that of the tokenizer."""
    suppressed: tuple[int, ...] = ()
    """Tokens that are never written."""
    suppressed_first: tuple[int, ...] = ()
    """Tokens with which no text begins."""
    stop_strings: tuple[str, ...] = ()
    """Strings that end a text."""

    def config(self) -> GenerationConfig:
        """The part that transformers applies by itself, as the model's whole generation config."""
        return GenerationConfig(eos_token_id=list(self.ends) or None, suppress_tokens=list(self.suppressed) or None)


def read_rules(folder: Path, config: Mapping[str, Any], model_id: str) -> GenerationRules:
    """Read the rules from the generation config of a folder, or from its config.json, as older models have them.

    Raises ModelLoadError if an entry that is kept cannot be used.
    """
    file = folder / GENERATION_CONFIG
    text = config.get("text_config")
    entries = read_json(file, model_id) if file.is_file() else {**(text if isinstance(text, dict) else {}), **config}
    name = GENERATION_CONFIG if file.is_file() else "config.json"
    ends, suppressed, first = (_tokens(entries, key, name, model_id) for key in KEPT[:3])
    return GenerationRules(ends, suppressed, first, _strings(entries, name, model_id))


def _tokens(entries: Mapping[str, Any], key: str, file: str, model_id: str) -> tuple[int, ...]:
    tokens = _listed(entries.get(key))
    if any(type(token) is not int for token in tokens):
        raise ModelLoadError(_explain(model_id, file, key, tokens, "token ids"))
    return tuple(dict.fromkeys(token for token in tokens if token >= 0))  # -1 stands for none in older files


def _strings(entries: Mapping[str, Any], file: str, model_id: str) -> tuple[str, ...]:
    strings = _listed(entries.get("stop_strings"))
    if any(not isinstance(string, str) for string in strings):
        raise ModelLoadError(_explain(model_id, file, "stop_strings", strings, "strings"))
    return tuple(dict.fromkeys(string for string in strings if string))


def _listed(value: Any) -> list[Any]:
    return [] if value is None else value if isinstance(value, list) else [value]


def _explain(model_id: str, file: str, key: str, values: list[Any], expected: str) -> str:
    found = str(values)[:60]
    return f"{model_id} could not be loaded: its {file} has {found} as {key}. Correct it to a list of {expected}."
