"""The chat template of a loaded model: its arguments, and what a person should know about how it renders prompts.

Arguments and a fixed date become assignments at the head of the template, so that everything that renders a prompt
renders it alike.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from math import isfinite
from typing import TYPE_CHECKING, Any

from jinja2 import Environment, TemplateError, meta
from jinja2.ext import loopcontrols

from s2e_core.errors import ModelLoadError
from s2e_core.model import LoadedModel, begins_in_thought, has_chat_template, prompt_ids, rendered_prompt

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
    if isinstance(tokenizer.chat_template, str):
        tokenizer.chat_template = _head(tokenizer, args) + tokenizer.chat_template


def with_template_args(loaded: LoadedModel, args: Mapping[str, Any]) -> LoadedModel:
    """The same model in memory with these arguments of its chat template in place of those that it has.

    Weights and lock are shared. Raises ModelLoadError if the template does not use one of them, or cannot be rendered
    with them.
    """
    tokenizer = _without_args(loaded)
    complete_template(tokenizer, args, loaded.model_id)
    try:
        warnings = template_warnings(tokenizer)
    except Exception as error:  # a template can raise any error
        reason = " ".join(str(error).split())[:200]
        raise ModelLoadError(
            f"The chat template of {loaded.model_id} fails with these arguments ({reason}). Correct their values."
        ) from error
    before = template_warnings(loaded.tokenizer)
    return replace(
        loaded,
        tokenizer=tokenizer,
        template_args=dict(args),
        template=template_facts(tokenizer, args),
        warnings=(*(told for told in loaded.warnings if told not in before), *warnings),
    )


def template_arguments(loaded: LoadedModel) -> tuple[str, ...]:
    """The names that the chat template of a model takes as arguments; empty without one."""
    tokenizer = _without_args(loaded)
    return tuple(_arguments(tokenizer, loaded.model_id)) if isinstance(tokenizer.chat_template, str) else ()


def read_template_args(text: str) -> dict[str, Any]:
    """Arguments of a chat template by name, from a JSON object. Raises ModelLoadError for anything else."""
    try:
        args = json.loads(text, parse_constant=_refuse_constant, parse_float=_finite)
    except (ValueError, RecursionError):
        args = None
    if not isinstance(args, dict):
        raise ModelLoadError(
            f'{text[:80]} is not a JSON object. Write names and values, as in {{"enable_thinking": false}}.'
        )
    return args


def _refuse_constant(text: str) -> None:
    raise ValueError(text)


def _finite(text: str) -> float:
    if not isfinite(number := float(text)):
        raise ValueError(text)
    return number


def _without_args(loaded: LoadedModel) -> PreTrainedTokenizerBase:
    """A tokenizer whose template is as before `complete_template`; it shares everything else with the model's."""
    tokenizer = copy.copy(loaded.tokenizer)
    if isinstance(tokenizer.chat_template, str):
        tokenizer.chat_template = tokenizer.chat_template.removeprefix(_head(tokenizer, loaded.template_args))
    return tokenizer


def _head(tokenizer: PreTrainedTokenizerBase, args: Mapping[str, Any]) -> str:
    """What stands before a template, so that it finds its date and its arguments; empty if it needs neither."""
    head = _date_macro() if writes_date(tokenizer) else ""
    head += "".join(f"{{% set {name} = {_literal(value)} %}}" for name, value in sorted(args.items()))
    return f"{head}{{{{ '' }}}}" if head else ""


def _date_macro() -> str:
    """A macro in place of the function that formats the date of today."""
    parts = "".join(f" | replace('%{c}', '{TODAY.strftime('%' + c)}')" for c in DIRECTIVES)
    short = "".join(f" | replace('%-{c}', '{int(TODAY.strftime('%' + c))}')" for c in "dmHIMS")
    return f"{{% macro {DATE}(format) %}}{{{{ format{short}{parts} }}}}{{% endmacro %}}"


def _check_args(tokenizer: PreTrainedTokenizerBase, args: Mapping[str, Any], model_id: str) -> None:
    if not isinstance(tokenizer.chat_template, str):
        raise ModelLoadError(f"{model_id} has no chat template, so it takes no arguments. Leave them out.")
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
