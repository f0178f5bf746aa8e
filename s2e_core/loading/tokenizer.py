"""Whether a tokenizer and its chat template can be trusted: checked at load, told as sentences.

Knows the tokenizer and its files; no model. Each check is of a mistake that raises no error and spoils every text.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import takewhile
from pathlib import Path
from typing import TYPE_CHECKING

from jinja2 import TemplateError
from tokenizers import Tokenizer
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from s2e_core.errors import ModelLoadError
from s2e_core.model import folds_system, has_chat_template, prompt_ids

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

PROBES: Mapping[str, str] = {
    "plain sentences": "Hello, how are you? I'm fine.",
    "numbers": "12 + 3 = 15, and 3.14 is less than 1,000.",
    "line breaks and indentation": "def f(x):\n    return x\n\nDone.",
    "accents": "naïve café, señor Müller",
}


def load_tokenizer(folder: Path) -> tuple[PreTrainedTokenizerBase, tuple[str, ...]]:
    """(tokenizer, warnings): the one that transformers picks, unless it encodes otherwise than its own file says.

    transformers 5 picks a class by the model type and keeps of tokenizer.json what that class foresees: a qwen2
    checkpoint with another tokenizer inside is encoded wrongly without an error. Then the file is taken as it is.
    """
    file = folder / "tokenizer.json"
    picked = _picked(folder)
    if not file.is_file() or _encodes_as(file, picked):
        return picked, ()
    plain = PreTrainedTokenizerFast.from_pretrained(folder)
    name = type(picked).__name__
    if _encodes_as(file, plain):
        return plain, (
            f"This model's tokenizer.json is not that of the class {name}, which transformers picks for it and which "
            "would split text differently without an error. Here the file is used as it is; in other programs, load "
            "it with PreTrainedTokenizerFast.",
        )
    return picked, (
        f"This model's tokenizer.json splits text differently from the class {name} that transformers picks for it: "
        "prompts may be encoded wrongly. Compare a few texts before you trust a figure.",
    )


def _picked(folder: Path) -> PreTrainedTokenizerBase:
    try:
        return AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
    except Exception as error:
        if type(error) is not Exception:
            raise
        raise ValueError(f"its tokenizer.json is not one ({error})") from error  # the tokenizers library has no other


def text_warnings(tokenizer: PreTrainedTokenizerBase, model_id: str, vocabulary: int | None = None) -> tuple[str, ...]:
    """What a person should know before trusting the texts. `vocabulary` is the number of tokens that the model knows.

    Raises ModelLoadError for a template that fails, and for the tokenizer of a larger model.
    """
    found = (_round_trip(tokenizer), _template(tokenizer, model_id), _beyond(tokenizer, model_id, vocabulary))
    return tuple(warning for warning in found if warning)


def _beyond(tokenizer: PreTrainedTokenizerBase, model_id: str, vocabulary: int | None) -> str | None:
    """Tokens without an embedding end a run on a CPU, and on a GPU the whole program."""
    if vocabulary is None or len(tokenizer) <= vocabulary:
        return None
    used = [token for text in PROBES.values() for token in prompt_ids(tokenizer, text)]
    if max(used, default=0) >= vocabulary:
        raise ModelLoadError(
            f"{model_id} could not be loaded: its tokenizer has {len(tokenizer):,} tokens and the model knows "
            f"{vocabulary:,}, so that it is another model's. Put the tokenizer in the folder that belongs to the model."
        )
    last = tokenizer.convert_ids_to_tokens(len(tokenizer) - 1)
    return (
        f"The tokenizer has {len(tokenizer) - vocabulary:,} tokens more than the model knows (such as {last}): a text "
        "with one of them fails."
    )


def _encodes_as(file: Path, tokenizer: PreTrainedTokenizerBase) -> bool:
    """Whether a tokenizer splits the probes as its file does, read by nothing but the tokenizers library."""
    stored = Tokenizer.from_file(str(file))
    stored.no_padding()
    stored.no_truncation()
    return all(
        list(tokenizer(text, add_special_tokens=False)["input_ids"])
        == list(stored.encode(text, add_special_tokens=False).ids)
        for text in PROBES.values()
    )


def _lost(tokenizer: PreTrainedTokenizerBase) -> list[str]:
    """The probes that do not come back as they were."""
    return [name for name, text in PROBES.items() if _there_and_back(tokenizer, text).strip() != text]


def _round_trip(tokenizer: PreTrainedTokenizerBase) -> str | None:
    lost = _lost(tokenizer)
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
    return _beginnings(tokenizer) > 1


def _beginnings(tokenizer: PreTrainedTokenizerBase) -> int:
    """How many BOS tokens a prompt begins with."""
    bos = tokenizer.bos_token_id
    return len(list(takewhile(lambda token: token == bos, prompt_ids(tokenizer, "Hello"))))


def described_tokenizer(tokenizer: PreTrainedTokenizerBase) -> str:
    """In a few words, what the checks have found."""
    lost, beginnings = _lost(tokenizer), _beginnings(tokenizer)
    back = f"changes {', '.join(lost)}" if lost else "gives text back unchanged"
    begin = {0: "no BOS token", 1: "one BOS token"}.get(beginnings, f"{beginnings} BOS tokens")
    return f"{len(tokenizer):,} tokens, {back}, prompts begin with {begin}"


def described_template(tokenizer: PreTrainedTokenizerBase) -> str:
    """In a few words, how prompts reach the model."""
    if not has_chat_template(tokenizer):
        return "none: prompts are continued as plain text"
    return "yes, a system text is " + (
        "folded into the user's turn" if folds_system(tokenizer) else "a turn of its own"
    )
