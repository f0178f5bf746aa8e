"""What the page shows beside the studio as a function of the session: one update per component, by name.

Knows sessions, readouts and gradio's updates; no event.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import gradio as gr

from components.shared import texts
from components.shared.brought import own_prompts
from components.shared.choices import offered
from components.shared.model_names import split_text
from components.shared.opening import opening
from components.shared.prompt_chips import prompt_chips
from components.shared.session import OWN, Session
from components.shared.store import ModelStore
from components.studio.place import place_of
from components.take_home.copying import as_command, as_python
from components.take_home.handlers import compared_steering
from s2e_core import ExportError
from s2e_core.export import ExportDtype, ExportFormat, export_size
from s2e_core.model import LoadedModel
from s2e_core.text import readable_size

CHOICE = ("status", "model", "behavior", "swap", "own", "template")
"""What of the page names the session's model and examples: the status line, and then the visitor's own controls."""
ASKED = ("prompt", "length", "temperature", "seed")
"""What is asked of the model, as an address holds it."""


def opening_view(store: ModelStore, session: Session) -> dict[str, Any]:
    """What changes with the behaviour or the model alone."""
    behavior = store.named_behavior(session.behavior)
    plain, args = split_text(session.model)
    to_try = behavior.examples if behavior else own_prompts(session.scored.contrast, store.limits)
    return {
        "place": place_of(session),
        "model": plain,
        "template": gr.update(**template_field(store, session.model), value=args),
        "behavior": gr.update(choices=offered(store, session.model, session.behavior), value=session.behavior),
        "own": gr.update(visible=session.behavior == OWN),
        "status": opening(session, behavior, store.model(session.model)),
        "prompt": to_try[0] if to_try else gr.skip(),
        "examples": gr.Dataset(**prompt_chips(to_try)) if to_try else gr.skip(),
        "length": behavior.max_new_tokens if behavior else gr.skip(),
        "gamma": behavior.gamma if behavior else gr.skip(),
        # Directions out of a file have no sides to swap.
        "swap": gr.update(value=session.swapped, interactive=session.origin is None),
    }


def template_field(store: ModelStore, model: str) -> dict[str, Any]:
    """Properties of the field for arguments of a chat template, without its value; hidden where there are none."""
    names = store.template_names(model)
    return {"visible": True, "info": template_help(names)} if names else {"visible": False}


def template_help(names: Sequence[str]) -> str:
    """What can be set, with an example."""
    example = json.dumps({"enable_thinking" if "enable_thinking" in names else names[0]: False})
    return texts.TEMPLATE_HELP.format(example=example, names=", ".join(names))


def restored_view(store: ModelStore, session: Session, place: Mapping[str, Any]) -> dict[str, Any]:
    """The view of a place that an address named, with what was asked there."""
    asked = place.get("ask")
    asked = asked if isinstance(asked, Mapping) else {}
    view = opening_view(store, session)
    kept = {name: place[name] for name in ("focus", "mode", "under") if name in place}
    numbers = {name: asked[name] for name in ASKED[1:] if isinstance(asked.get(name), int | float)}
    words = {"prompt": asked["prompt"]} if isinstance(asked.get("prompt"), str) else {}
    unset = {name: gr.skip() for name in ("temperature", "seed")}
    return {**unset, **view, "place": {**view["place"], **kept}, **numbers, **words}


def resting_view(store: ModelStore, session: Session, dtype: ExportDtype, *, reported: str = "") -> dict[str, Any]:
    """What follows when the dials rest: sizes of the downloads, what can be copied, no report on another edit."""
    loaded = store.model(session.model)
    checkpoint: ExportFormat = "checkpoint" if dtype == "stored" else "checkpoint-float32"
    return {
        "report": gr.skip() if reported == session.made else "",
        "checkpoint": _sized(texts.CHECKPOINT, loaded, session, checkpoint),
        "adapter": _sized(texts.ADAPTER, loaded, session, "adapter"),
        "gguf_lora": _sized(texts.GGUF_LORA, loaded, session, "gguf-lora"),
        "mlx": _sized(texts.MLX, loaded, session, "mlx"),
        "recipe": _sized(texts.RECIPE, loaded, session, "recipe"),
        "as_python": as_python(store, session),
        "as_command": as_command(store, session),
    }


def kept_choice(store: ModelStore, session: Session, asked: str) -> tuple[Any, ...]:
    """CHOICE as the session has it, after a choice that came to nothing; own examples stay open to be corrected."""
    view = opening_view(store, session)
    if asked != OWN:
        return tuple(view[name] for name in CHOICE)
    status = kept_status(store, session, waits_for=OWN if session.behavior != OWN else None)
    return tuple(status if name == "status" else gr.skip() for name in CHOICE)


def kept_status(store: ModelStore, session: Session, *, waits_for: str | None) -> str:
    """What is said of the session that stays, and of a choice that waits for the button."""
    behavior = store.named_behavior(session.behavior)
    status = opening(session, behavior, store.model(session.model))
    if waits_for is None:
        return status
    title = behavior.title if behavior else texts.OWN_EXAMPLES
    what = texts.GIVE_EXAMPLES if waits_for == OWN else texts.PRESS_EXTRACT
    return texts.UNTIL_EXTRACT.format(what=what, behavior=title, model=session.model) + status


def _sized(label: str, loaded: LoadedModel, session: Session, format: ExportFormat) -> dict[str, Any]:
    """A download button with the size of its file; an empty edit has no file to offer.

    What cannot be exported has no size, and says why when it is asked for: the rest of the page works.
    """
    if session.taken.is_empty:
        return gr.update(value=label, interactive=False)
    if session.under is not None:
        label = f"{label} · {texts.BOTH_EDITS}"
    steered = compared_steering(session, 1.0)  # its file is as large for any strength
    try:
        size = readable_size(export_size(loaded, session.taken, format, steered))
    except ExportError:
        return gr.update(value=label, interactive=True)
    return gr.update(value=f"{label} · {size}", interactive=True)
