"""Whether a tokenizer and its chat template can be trusted: checked at load, told as sentences.

Knows the tokenizer and its file; no model. Each check is of a mistake that raises no error and spoils every text.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from jinja2 import TemplateError
from tokenizers import Tokenizer

from .chat import folds_system, has_chat_template, prompt_ids
from .errors import ModelLoadError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

PROBES: Mapping[str, str] = {
    "plain sentences": "Hello, how are you? I'm fine.",
    "numbers": "12 + 3 = 15, and 3.14 is less than 1,000.",
    "line breaks and indentation": "def f(x):\n    return x\n\nDone.",
    "accents": "naïve café, señor Müller",
}


def text_warnings(tokenizer: PreTrainedTokenizerBase, folder: Path, model_id: str) -> tuple[str, ...]:
    """What a person should know before trusting the texts. Raises ModelLoadError for a template that fails."""
    found = (_other_tokenizer(tokenizer, folder), _round_trip(tokenizer), _template(tokenizer, model_id))
    return tuple(warning for warning in found if warning)


def _other_tokenizer(tokenizer: PreTrainedTokenizerBase, folder: Path) -> str | None:
    """transformers picks a tokenizer class by the model type, and keeps of tokenizer.json what that class foresees."""
    file = folder / "tokenizer.json"
    if not file.is_file():
        return None
    try:
        stored = Tokenizer.from_file(str(file))
    except Exception as error:  # noqa: BLE001 - the library raises no narrower class
        raise ModelLoadError(
            f"The tokenizer.json of {folder.name} cannot be read. Download the model again."
        ) from error
    stored.no_padding()
    stored.no_truncation()
    for text in PROBES.values():
        if list(tokenizer(text, add_special_tokens=False)["input_ids"]) != _stored_ids(stored, text):
            return (
                f"The tokenizer's file splits text differently from the class {type(tokenizer).__name__} that "
                "transformers chose for this model: prompts may be encoded wrongly. If texts look broken, set "
                '"tokenizer_class" in tokenizer_config.json to "PreTrainedTokenizerFast".'
            )
    return None


def _stored_ids(stored: Tokenizer, text: str) -> list[int]:
    return list(stored.encode(text, add_special_tokens=False).ids)


def _round_trip(tokenizer: PreTrainedTokenizerBase) -> str | None:
    lost = [name for name, text in PROBES.items() if _there_and_back(tokenizer, text).strip() != text]
    if next(iter(PROBES)) in lost:
        return "The tokenizer does not give back a simple sentence unchanged; it may not fit this model."
    if lost:
        return f"The tokenizer does not give back {', '.join(lost)} unchanged; texts may differ there."
    return None


def _there_and_back(tokenizer: PreTrainedTokenizerBase, text: str) -> str:
    return str(tokenizer.decode(tokenizer(text, add_special_tokens=False)["input_ids"]))


def _template(tokenizer: PreTrainedTokenizerBase, model_id: str) -> str | None:
    """No template, one that fails, or one after which a prompt begins twice."""
    if not has_chat_template(tokenizer):
        warning = "This model has no chat template: prompts are continued as plain text."
        return f"{warning} {TWICE}" if _begins_twice(tokenizer) else warning
    try:
        return TWICE if _begins_twice(tokenizer) else None
    except (TemplateError, TypeError, ValueError, KeyError, AttributeError) as error:
        reason = " ".join(str(error).split())[:200]
        raise ModelLoadError(
            f"{model_id} could not be loaded: its chat template cannot write a simple prompt ({reason}). "
            "Correct the template, or remove it to continue plain text."
        ) from error


TWICE = "Prompts begin with more than one BOS token, which most models have never seen."


def _begins_twice(tokenizer: PreTrainedTokenizerBase) -> bool:
    bos = tokenizer.bos_token_id
    return bos is not None and prompt_ids(tokenizer, "Hello")[:2] == [bos, bos]


def described_template(tokenizer: PreTrainedTokenizerBase) -> str:
    """In a few words, how prompts reach the model."""
    if not has_chat_template(tokenizer):
        return "none: prompts are continued as plain text"
    return "yes, a system text is " + (
        "folded into the user's turn" if folds_system(tokenizer) else "a turn of its own"
    )
