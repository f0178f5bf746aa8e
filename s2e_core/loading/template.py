"""The chat template of a loaded model: its arguments, and what a person should know about how it renders prompts.

Arguments and a fixed date become assignments at the head of the template, so that everything that renders a prompt
renders it alike.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any

from jinja2 import Environment, TemplateError, meta
from jinja2.ext import loopcontrols

from s2e_core.errors import ModelLoadError
from s2e_core.model import begins_in_thought, has_chat_template, prompt_ids, rendered_prompt

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

PROBE = "The 3 quick foxes (and I) don't jump."
TODAY = datetime(2026, 1, 1, 12)
"""Date for every chat template that writes one: with the real one a recipe would differ from day to day."""
DATE = "strftime_now"
DIRECTIVES = "aAbBdfHIjmMpSUwyY"
RESERVED = ("messages", "tools", "documents", "add_generation_prompt", DATE, "raise_exception", "namespace", "dict")
"""Names that are not arguments of a person."""


def complete_template(tokenizer: PreTrainedTokenizerBase, args: Mapping[str, Any], model_id: str) -> None:
    """Give the chat template of a tokenizer its date and arguments, such as {"enable_thinking": false}.

    Raises ModelLoadError if there is no template or it does not use one of them.
    """
    if args:
        _check_args(tokenizer, args, model_id)
    head = _date_macro() if writes_date(tokenizer) else ""
    head += "".join(f"{{% set {name} = {_literal(value)} %}}" for name, value in sorted(args.items()))
    if head and isinstance(tokenizer.chat_template, str):
        tokenizer.chat_template = f"{head}{{{{ '' }}}}{tokenizer.chat_template}"


def _date_macro() -> str:
    """A macro in place of the function that formats the date of today."""
    parts = "".join(f" | replace('%{c}', '{TODAY.strftime('%' + c)}')" for c in DIRECTIVES)
    short = "".join(f" | replace('%-{c}', '{int(TODAY.strftime('%' + c))}')" for c in "dmHIMS")
    return f"{{% macro {DATE}(format) %}}{{{{ format{short}{parts} }}}}{{% endmacro %}}"


def _check_args(tokenizer: PreTrainedTokenizerBase, args: Mapping[str, Any], model_id: str) -> None:
    if not isinstance(tokenizer.chat_template, str):
        raise ModelLoadError(f"{model_id} has no chat template, so it takes no --template-args. Leave them out.")
    known = _arguments(tokenizer, model_id)
    for name in args:
        if name not in known:
            others = f"It has {', '.join(known)}." if known else "It has none."
            raise ModelLoadError(f"The chat template of {model_id} has no argument {name[:60]}. {others}")


def template_facts(tokenizer: PreTrainedTokenizerBase, args: Mapping[str, Any]) -> str:
    """What prompts are rendered with beside their texts, as JSON for recipes; empty if nothing."""
    date = {DATE: TODAY.date().isoformat()} if writes_date(tokenizer) else {}
    facts = {**args, **date}
    return json.dumps(facts, sort_keys=True) if facts else ""


def writes_date(tokenizer: PreTrainedTokenizerBase) -> bool:
    """Whether the chat template asks for the date."""
    return DATE in str(tokenizer.chat_template or "")


def template_warnings(tokenizer: PreTrainedTokenizerBase) -> tuple[str, ...]:
    """Return what a person should know. Raises what a template raises that fails."""
    if not has_chat_template(tokenizer):
        return ()
    found = []
    if PROBE not in rendered_prompt(tokenizer, PROBE):
        found.append(
            "The chat template changes or drops the text of a prompt: what you type is not what the model reads. "
            "Correct the template, or remove it to continue plain text."
        )
    if writes_date(tokenizer):
        found.append(
            f"The chat template writes the date: it is always {TODAY:%d %B %Y} here, so that results do not change "
            "from day to day."
        )
    if begins_in_thought(tokenizer, prompt_ids(tokenizer, PROBE)):
        found.append(
            "The chat template opens a thought at the end of every prompt, so responses begin inside it. If the "
            "template can leave it out (often --template-args '{\"enable_thinking\": false}'), that is an answer alone."
        )
    return tuple(found)


def _arguments(tokenizer: PreTrainedTokenizerBase, model_id: str) -> list[str]:
    """The names that a template uses and nothing else defines."""
    try:
        names = meta.find_undeclared_variables(Environment(extensions=[loopcontrols]).parse(_plain(tokenizer)))
    except TemplateError as error:
        raise ModelLoadError(f"The chat template of {model_id} cannot be read ({error}). Correct it.") from error
    return sorted(names - {*RESERVED, *tokenizer.special_tokens_map})


def _plain(tokenizer: PreTrainedTokenizerBase) -> str:
    """The template without the marks of transformers' own extension."""
    text = str(tokenizer.chat_template)
    for mark in ("generation", "endgeneration"):
        for left in ("{%", "{%-"):
            for right in ("%}", "-%}"):
                text = text.replace(f"{left} {mark} {right}", "")
    return text


def _literal(value: Any) -> str:
    """A JSON value as Jinja writes it."""
    if value is None or isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list):
        return "[" + ", ".join(map(_literal, value)) + "]"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_literal(str(key))}: {_literal(item)}" for key, item in value.items()) + "}"
    if isinstance(value, str):
        return repr(value)
    return str(value)
