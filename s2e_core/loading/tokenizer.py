"""Load a tokenizer and check that it and its chat template can be trusted.

Each check is for a mistake that raises no error and spoils every text. Knows the tokenizer and its files; no model.
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

from .template import template_warnings

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

PROBES: Mapping[str, str] = {
    "plain sentences": "Hello, how are you? I'm fine.",
    "numbers": "12 + 3 = 15, and 3.14 is less than 1,000.",
    "line breaks and indentation": "def f(x):\n    return x\n\nDone.",
    "accents": "naïve café, señor Müller",
}


def load_tokenizer(folder: Path) -> tuple[PreTrainedTokenizerBase, tuple[str, ...]]:
    """Return (tokenizer, warnings): the tokenizer that transformers picks, unless it contradicts its own file.

    transformers 5 picks a class by the model type and uses only the parts of tokenizer.json that this class expects: a
    qwen2 checkpoint with another tokenizer inside encodes text wrongly without an error. Then the file is used as it
    is.
    """
    file = folder / "tokenizer.json"
    tokenizer = _load_automatically(folder)
    if not file.is_file() or _encodes_as(file, tokenizer):
        return tokenizer, ()
    plain = PreTrainedTokenizerFast.from_pretrained(folder)
    name = type(tokenizer).__name__
    if _encodes_as(file, plain):
        return plain, (
            f"This model's tokenizer.json is not of the class {name}, which transformers picks for it and which would "
            "split text differently without an error. This program uses the file as it is; in other programs, load it "
            "with PreTrainedTokenizerFast.",
        )
    return tokenizer, (
        f"This model's tokenizer.json splits text differently from the class {name} that transformers picks for it: "
        "prompts may be encoded wrongly. Read a few texts before you trust a figure.",
    )


def _load_automatically(folder: Path) -> PreTrainedTokenizerBase:
    try:
        return AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
    except Exception as error:
        if type(error) is not Exception:
            raise
        # The tokenizers library raises bare Exceptions.
        raise ValueError(f"its tokenizer.json is not a tokenizer ({error})") from error


def check_texts(tokenizer: PreTrainedTokenizerBase, model_id: str, vocabulary: int | None = None) -> tuple[str, ...]:
    """Return warnings for a person who reads the texts. `vocabulary` is the number of tokens that the model knows.

    Raises ModelLoadError if the chat template fails, or the tokenizer is that of a larger model.
    """
    warnings = (
        _check_round_trip(tokenizer),
        _check_template(tokenizer, model_id),
        _check_size(tokenizer, model_id, vocabulary),
        *template_warnings(tokenizer),
    )
    return tuple(warning for warning in warnings if warning)


def _check_size(tokenizer: PreTrainedTokenizerBase, model_id: str, vocabulary: int | None) -> str | None:
    """Warn of tokens without an embedding: one of them ends a run on a CPU, and on a GPU the whole program."""
    if vocabulary is None or len(tokenizer) <= vocabulary:
        return None
    tokens = [token for text in PROBES.values() for token in prompt_ids(tokenizer, text)]
    if max(tokens, default=0) >= vocabulary:
        raise ModelLoadError(
            f"{model_id} could not be loaded: its tokenizer has {len(tokenizer):,} tokens and the model knows "
            f"{vocabulary:,}, so it belongs to another model. Replace it with the tokenizer of this model."
        )
    last = tokenizer.convert_ids_to_tokens(len(tokenizer) - 1)
    return (
        f"The tokenizer has {len(tokenizer):,} tokens and the model knows only {vocabulary:,}: a text that contains "
        f"one of the others (such as {last}) fails."
    )


def _encodes_as(file: Path, tokenizer: PreTrainedTokenizerBase) -> bool:
    """Check whether a tokenizer splits the probes as the bare tokenizers library does with the same file."""
    file_tokenizer = Tokenizer.from_file(str(file))
    file_tokenizer.no_padding()
    file_tokenizer.no_truncation()
    return all(
        list(tokenizer(text, add_special_tokens=False)["input_ids"])
        == list(file_tokenizer.encode(text, add_special_tokens=False).ids)
        for text in PROBES.values()
    )


def _find_damaged_probes(tokenizer: PreTrainedTokenizerBase) -> list[str]:
    """Return the names of the probes that do not survive encoding and decoding."""
    return [name for name, text in PROBES.items() if _encode_and_decode(tokenizer, text).strip() != text]


def _check_round_trip(tokenizer: PreTrainedTokenizerBase) -> str | None:
    names = _find_damaged_probes(tokenizer)
    if next(iter(PROBES)) in names:
        return "The tokenizer changes a simple sentence when it encodes and decodes it; it may not fit this model."
    if names:
        return f"The tokenizer changes {', '.join(names)} when it encodes and decodes text; texts may differ there."
    return None


def _encode_and_decode(tokenizer: PreTrainedTokenizerBase, text: str) -> str:
    return str(tokenizer.decode(tokenizer(text, add_special_tokens=False)["input_ids"]))


def _check_template(tokenizer: PreTrainedTokenizerBase, model_id: str) -> str | None:
    """Warn if there is no template or a prompt begins twice. Raises ModelLoadError if the template fails."""
    if not has_chat_template(tokenizer):
        warning = "This model has no chat template: prompts are continued as plain text."
        return f"{warning} {EXTRA_BOS}" if _count_bos(tokenizer) > 1 else warning
    try:
        return EXTRA_BOS if _count_bos(tokenizer) > 1 else None
    except (TemplateError, TypeError, ValueError, KeyError, AttributeError) as error:
        reason = " ".join(str(error).split())[:200]
        raise ModelLoadError(
            f"{model_id} could not be loaded: its chat template cannot write a simple prompt ({reason}). "
            "Correct the template, or remove it to continue plain text."
        ) from error


EXTRA_BOS = "Prompts begin with more than one BOS token, which most models have never seen."


def _count_bos(tokenizer: PreTrainedTokenizerBase) -> int:
    """Count the BOS tokens at the beginning of a prompt."""
    bos = tokenizer.bos_token_id
    return len(list(takewhile(lambda token: token == bos, prompt_ids(tokenizer, "Hello"))))


def describe_tokenizer(tokenizer: PreTrainedTokenizerBase) -> str:
    """Describe the result of the checks in a few words."""
    names, n_bos = _find_damaged_probes(tokenizer), _count_bos(tokenizer)
    round_trip = f"changes {', '.join(names)}" if names else "gives text back unchanged"
    bos = {0: "no BOS token", 1: "one BOS token"}.get(n_bos, f"{n_bos} BOS tokens")
    return f"{len(tokenizer):,} tokens, {round_trip}, prompts begin with {bos}"


def describe_template(tokenizer: PreTrainedTokenizerBase) -> str:
    """Describe in a few words how prompts reach the model."""
    if not has_chat_template(tokenizer):
        return "none: prompts are continued as plain text"
    return "yes, a system text is " + (
        "folded into the user's turn" if folds_system(tokenizer) else "a turn of its own"
    )
