"""The marks of chat templates in examples: prompts that were rendered already, and would be rendered a second time.

Knows the marks of the usual templates; no tokenizer. A text is taken apart into its turns only if it has such marks.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace

from s2e_core.text import counted
from s2e_core.values import Example

from .turns import chat_of

TAKE_OFF = (
    "The model's own template is put around them, so that everything is marked twice. Have the marks taken off: with "
    'the command "data" and --take-off-marks, or on the page in the correction of how the file was read.'
)
"""What marks do, and what to do about them, as sentences."""
_SPEAKER = re.compile(
    r"<\|im_start\|>(?P<chatml>\w+)\n"
    r"|<\|start_header_id\|>(?P<llama>\w+)<\|end_header_id\|>\n*"
    r"|<start_of_turn>(?P<gemma>\w+)\n"
    r"|<\|(?P<zephyr>system|user|assistant)\|>\n?"
    r"|<｜(?P<deepseek>User|Assistant)｜>"
    r"|(?P<question>\[INST\])|(?P<answer>\[/INST\])|(?P<system><<SYS>>)|(?P<after>\s*<</SYS>>)"
)
_FIXED = {"question": "user", "answer": "assistant", "system": "system", "after": "user"}
_END = re.compile(
    r"<\|(?:im_end|eot_id|end|endoftext|end_of_text|begin_of_text)\|>\n?|<end_of_turn>\n?"
    r"|<｜(?:begin|end)▁of▁sentence｜>|\A\s*(?:<s>|<bos>)|<s>(?=\s*\Z)|(?:</s>|<eos>)\s*(?=\Z|<s>|\[INST\]|<\|)"
)
_ROLES = {"system": "system", "assistant": "assistant", "model": "assistant"}
"""Role of a mark's name; every other name is the user's."""


def find_marks(texts: Sequence[str]) -> str | None:
    """The first mark of a chat template in the texts; None if there is none."""
    for text in texts:
        match = _SPEAKER.search(text) or _END.search(text)
        if match is not None:
            return match[0].strip()
    return None


def mark_in(example: Example) -> str | None:
    """The first mark of a chat template in an example; None if it has none."""
    return find_marks([example.system or "", example.prompt, example.response])


def take_off_marks(example: Example) -> Example:
    """The example without marks, its turns taken apart; as it was if it has none, or no question before its answer."""
    if mark_in(example) is None:
        return example
    system = _END.sub("", example.system or "").strip()
    turns = [*_turns(example.prompt, "user"), *_turns(example.response, "assistant")]
    chat = chat_of([(role, text) for role, text in turns if text])
    if isinstance(chat, str) or chat.response is None:
        return example
    prompts = "\n\n".join(text for text in (system, chat.system) if text)
    earlier = (*example.earlier, *chat.earlier)
    return replace(example, prompt=chat.prompt, response=chat.response, system=prompts or None, earlier=earlier)


def examples_without_marks(examples: Sequence[Example]) -> tuple[list[Example], str]:
    """The examples with their marks taken off, and a sentence on it; empty if none had marks."""
    cleaned = [take_off_marks(example) for example in examples]
    n = sum(mark_in(example) is not None for example in examples)
    left = sum(mark_in(example) is not None for example in cleaned)
    more = f" {counted(left, 'other')} could not be taken apart." if left else ""
    return cleaned, f"Marks of a chat template were taken off {counted(n - left, 'example')}.{more}" if n else ""


def marks_sentence(examples: Sequence[Example]) -> str:
    """A sentence on the marks in examples, with what to do; empty if there are none."""
    marks = [mark for example in examples if (mark := mark_in(example)) is not None]
    has = "contains" if len(marks) == 1 else "contain"
    return (
        f"{counted(len(marks), 'example')} {has} marks of a chat template, such as {marks[0]}. {TAKE_OFF}"
        if marks
        else ""
    )


def _turns(text: str, role: str) -> Iterator[tuple[str, str]]:
    """(role, text) of every turn; `role` speaks until the first mark."""
    start = 0
    for match in _SPEAKER.finditer(text):
        kind = str(match.lastgroup)
        opens = start == 0 and kind == "deepseek"  # this template marks no system text
        yield "system" if opens else role, _bare(text[start : match.start()])
        role = _FIXED.get(kind) or _ROLES.get(match[kind].lower(), "user")
        start = match.end()
    yield role, _bare(text[start:])


def _bare(text: str) -> str:
    return _END.sub("", text).strip()
