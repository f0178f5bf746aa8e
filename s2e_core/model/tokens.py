"""From text to token ids: prompts as the model saw them in training, and the span of a response.

Knows the tokenizer, not the model. Rendered prompts are never stripped and never get a second BOS; a response is
appended as ids, so the prompt's ids are always a prefix of the whole.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from s2e_core.errors import ContrastDataError
from s2e_core.text import is_think_tag, opens_thought, without_open_tag
from s2e_core.values import Example, Turn

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

PROMPT_END = 16
"""Tokens at the end of a prompt that may contain an open think tag."""


def is_encodable(text: str) -> bool:
    """Whether a string can be encoded; an unpaired surrogate, which a browser can send, cannot."""
    return not any("\ud800" <= character <= "\udfff" for character in text)


def has_chat_template(tokenizer: PreTrainedTokenizerBase) -> bool:
    """Whether prompts are rendered as chat turns; otherwise they are plain text."""
    return bool(tokenizer.chat_template)


def prompt_ids(
    tokenizer: PreTrainedTokenizerBase, prompt: str, system: str | None = None, earlier: Sequence[Turn] = ()
) -> list[int]:
    """Ids of a prompt up to the start of the response, in the chat template if there is one, else as plain text.

    `earlier` are the turns before the prompt; as plain text, an empty line separates the turns.
    """
    if not has_chat_template(tokenizer):
        text = "\n\n".join([*([system] if system else []), *(text for _, text in earlier), prompt])
        ids = list(tokenizer(text)["input_ids"])
        return ids[:-1] if ids and ids[-1] == tokenizer.eos_token_id else ids
    return list(tokenizer(_rendered(tokenizer, prompt, system, earlier), add_special_tokens=False)["input_ids"])


def example_ids(tokenizer: PreTrainedTokenizerBase, example: Example) -> tuple[list[int], int]:
    """(ids of prompt and response, number of prompt ids `start`); positions start-1 .. len-2 predict the response."""
    start = prompt_ids(tokenizer, example.prompt, example.system, example.earlier)
    if has_chat_template(tokenizer):
        response = without_open_tag(example.response) if begins_in_thought(tokenizer, start) else example.response
        return start + list(tokenizer(response, add_special_tokens=False)["input_ids"]), len(start)
    return start + _continuation_ids(tokenizer, start, example), len(start)


def begins_in_thought(tokenizer: PreTrainedTokenizerBase, prompt: Sequence[int]) -> bool:
    """Whether a rendered prompt ends with an open think tag, so that the response begins inside the thought."""
    return opens_thought(str(tokenizer.decode(prompt[-PROMPT_END:])))


def response_text(tokenizer: PreTrainedTokenizerBase, ids: Sequence[int]) -> str:
    """The text of a response without special tokens, except for think tags."""
    added = tokenizer.added_tokens_decoder
    special = {i for i in set(ids) if i in added and added[i].special}
    tags = {i for i in special if is_think_tag(added[i].content)}
    if not tags:
        return str(tokenizer.decode(ids, skip_special_tokens=True))
    return str(tokenizer.decode([i for i in ids if i in tags or i not in special]))


def _continuation_ids(tokenizer: PreTrainedTokenizerBase, start: list[int], example: Example) -> list[int]:
    """Ids of a response that continues plain text, split as the tokenizer splits running text."""
    has_space = not example.prompt or example.prompt[-1].isspace() or example.response[:1].isspace()
    response = example.response if has_space else " " + example.response
    whole = prompt_ids(tokenizer, example.prompt + response, example.system, example.earlier)
    if whole[: len(start)] == start and len(whole) > len(start):
        return whole[len(start) :]
    return list(tokenizer(response, add_special_tokens=False)["input_ids"])


def folds_system(tokenizer: PreTrainedTokenizerBase) -> bool:
    """Whether the system prompt goes into the user's turn because the chat template has no system role."""
    return _with_system_turn(tokenizer, [("user", "Hello")], "Be brief.") is None


def _rendered(tokenizer: PreTrainedTokenizerBase, prompt: str, system: str | None, earlier: Sequence[Turn]) -> str:
    """The prompt in the chat template, with the system prompt in the first user turn if there is no system role."""
    turns: list[Turn] = [*earlier, ("user", prompt)]
    if system:
        text = _with_system_turn(tokenizer, turns, system)
        if text is not None:
            return text
        turns[0] = ("user", f"{system}\n\n{turns[0][1]}")
    return _apply(tokenizer, turns) if len(turns) == 1 else _apply_to_chat(tokenizer, turns)


def rendered_prompt(tokenizer: PreTrainedTokenizerBase, prompt: str) -> str:
    """A prompt in the chat template, which must exist, as the user's turn."""
    return _apply(tokenizer, [("user", prompt)])


def _apply_to_chat(tokenizer: PreTrainedTokenizerBase, turns: Sequence[Turn]) -> str:
    """Several turns in the template. Raises ContrastDataError if it only knows one question."""
    from jinja2 import TemplateError

    try:
        return _apply(tokenizer, turns)
    except TemplateError as error:
        raise ContrastDataError(
            f"The chat template of this model cannot write a chat of several turns ({' '.join(str(error).split())}). "
            "Leave out such chats, or choose another model."
        ) from error


def _with_system_turn(tokenizer: PreTrainedTokenizerBase, turns: Sequence[Turn], system: str) -> str | None:
    from jinja2 import TemplateError

    try:
        text = _apply(tokenizer, [("system", system), *turns])
    except TemplateError:  # raised by templates without a system role
        return None
    return text if system in text else None


def _apply(tokenizer: PreTrainedTokenizerBase, turns: Sequence[tuple[str, str]]) -> str:
    messages = [{"role": role, "content": text} for role, text in turns]
    return str(tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True))
