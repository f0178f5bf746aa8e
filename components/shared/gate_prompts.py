"""What the gates of an extraction are fitted on: prompts of a behaviour, or of a visitor's own examples.

Knows behaviours, examples and the core's texts; no page, and no store.
"""

from __future__ import annotations

from dataclasses import replace

from s2e_core import Behavior, ContrastSet, Example, SettingsError
from s2e_core.data import GateTexts, behavior_gate_texts, example_gate_texts
from s2e_core.generation import encode_prompt
from s2e_core.model import LoadedModel

from .session import Scored


def gate_texts(loaded: LoadedModel, contrast: ContrastSet, behavior: Behavior | None) -> GateTexts | None:
    """What gates are fitted on: the behaviour's prompts, or those of the examples; None if none can be answered."""
    if behavior is not None and behavior.attribute and behavior.utility:
        texts = behavior_gate_texts(behavior)
    else:
        texts = example_gate_texts(contrast, loaded.source)
    on, off = (tuple(it for it in side if _is_answerable(loaded, it, texts)) for side in (texts.on, texts.off))
    return replace(texts, on=on, off=off) if on else None


def _is_answerable(loaded: LoadedModel, example: Example, texts: GateTexts) -> bool:
    """False for an empty prompt or one that is too long: such examples are scored, and no gate needs them."""
    try:
        encode_prompt(loaded, example.prompt, example.system, texts.answer_tokens, 0.0, example.earlier)
    except SettingsError:
        return False
    return True


def token_bytes(scored: Scored) -> int:
    """Memory that the token inputs of an extraction take, in bytes."""
    inputs = scored.extraction.token_inputs
    return 0 if inputs is None else sum(tensor.nbytes for tensor in (*inputs.on, *inputs.off, *inputs.keys))
