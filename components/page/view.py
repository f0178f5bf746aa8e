"""The whole page as a function of the session: one update per component, by name.

Knows sessions, readouts and gradio's updates; no event. Because every change of the session is followed by the same
view, no handler has to know what else on the page depends on it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Literal

import gradio as gr

from components.select import readouts
from components.select.copying import as_command, as_python
from components.select.dials import count_above
from components.select.families import (
    DEFAULT_GATE,
    LEAST_GAMMA,
    MOST_GAMMA,
    MOST_PROTECT,
    family_of,
    most_size,
    mu_choices,
)
from components.select.presets import preset_name, presets
from components.select.table import Shown, ranked_table
from components.shared import texts
from components.shared.brought import own_prompts
from components.shared.choices import offered
from components.shared.grid_packing import heatmap_value
from components.shared.prompt_chips import prompt_chips
from components.shared.session import OWN, Session
from components.shared.store import ModelStore
from s2e_core import ExportError
from s2e_core.export import ExportDtype, ExportFormat, export_size
from s2e_core.model import LoadedModel
from s2e_core.spec import Kind
from s2e_core.text import readable_size

COUNT_STEPS = 1000
"""A count slider ends here where a model has more components, and grows with the count."""


HALF_A_STEP = 0.0025
"""Of the finest dial: what it may be rounded by."""
CHOICE = ("status", "model", "behavior", "swap", "own")
"""What of the page names the session's model and examples: the status line, and then the visitor's own controls."""


def page_view(session: Session) -> dict[str, Any]:
    """What follows every move of a dial: heatmaps, dials, figures, inspector."""
    settings, firing = session.settings, readouts.firing(session) if session.mode == "when" else None
    return {
        "heads": _map(session, "heads", firing),
        "neurons": _map(session, "neurons", firing),
        "summary": f'<div data-edit="{session.made}">{readouts.summary(session)}</div>',
        "strength": round(settings.strength, 4),
        "preset": _preset(session),
        "first_layer": _layers(session)[0],
        "last_layer": _layers(session)[1],
        "inspector": readouts.inspector(session),
        "own_strength": _own_strength(session),
        "undo": gr.update(interactive=bool(session.past)),
        "redo": gr.update(interactive=bool(session.future)),
        **_family_view(session),
    }


def _preset(session: Session) -> dict[str, Any]:
    return gr.update(choices=[*presets(session), texts.BY_HAND], value=preset_name(session) or texts.BY_HAND)


def _family_view(session: Session) -> dict[str, Any]:
    """The choice of the family and its dials; those of the others are hidden."""
    family = family_of(session.settings)
    dials = [(_net_dials(session), family in ("elastic", "sum")), (_gate_dials(session), family != "elastic")]
    shown = {name: shown and (name, family) != ("gate_mu", "baked") for part, shown in dials for name in part}
    return {
        "family": family,
        **{name: gr.update(visible=_shown(shown[name]), **dial) for part, _ in dials for name, dial in part.items()},
    }


def _net_dials(session: Session) -> dict[str, dict[str, Any]]:
    settings = session.settings
    return {
        "heads_on": {"value": settings.rho_attn is not None},
        "neurons_on": {"value": settings.rho_mlp is not None},
        "heads_count": _count(session, "heads"),
        "neurons_count": _count(session, "neurons"),
        "rho_attn": _rho(settings.rho_attn),
        "rho_mlp": _rho(settings.rho_mlp),
        "alpha": {"value": round(settings.alpha, 4)},
    }


def _gate_dials(session: Session) -> dict[str, dict[str, Any]]:
    settings, gate, size = session.settings, session.settings.gate or DEFAULT_GATE, most_size(session)
    low, high = min(LEAST_GAMMA, gate.gamma), max(MOST_GAMMA, gate.gamma)
    return {
        "gate_gamma": {"value": round(gate.gamma, 4), "minimum": low, "maximum": high},
        "gate_mu": {"value": gate.mu, "choices": mu_choices(settings)},
        "gate_size": {"value": size if gate.size is None else min(gate.size, size), "maximum": size},
        "protect": {"value": settings.protect, "maximum": max(MOST_PROTECT, settings.protect)},
    }


def _shown(shown: bool) -> bool | Literal["hidden"]:
    return True if shown else "hidden"


DIALS = (
    "heads_on", "neurons_on", "heads_count", "neurons_count", "rho_attn", "rho_mlp", "alpha", "strength", "preset",
    "first_layer", "last_layer", "own_strength", "family", "gate_gamma", "gate_mu", "gate_size", "protect",
)  # fmt: skip
"""What of the page both shows the settings and changes them."""


def is_shown(session: Session, summary: str | None, values: Sequence[Any]) -> bool:
    """Whether a page is that of the session: the summary it shows, and the values of DIALS; an empty field is none."""
    if f'data-edit="{session.made}"' not in (summary or ""):
        return False
    view = page_view(session)
    wanted = [view[name].get("value") if isinstance(view[name], dict) else view[name] for name in DIALS]
    return all(None in (one, other) or _same(one, other) for one, other in zip(values, wanted, strict=True))


def _same(one: Any, other: Any) -> bool:
    numbers = isinstance(one, int | float) and isinstance(other, int | float)
    return abs(one - other) < HALF_A_STEP if numbers else bool(one == other)


def resting_view(
    store: ModelStore, session: Session, shown: Shown, dtype: ExportDtype, *, reported: int = 0
) -> dict[str, Any]:
    """What follows when the dials rest: the table, the sizes of the downloads, and no report on another edit."""
    loaded = store.model(session.model)
    checkpoint: ExportFormat = "checkpoint" if dtype == "stored" else "checkpoint-float32"
    return {
        "report": gr.skip() if reported == session.made else "",
        "table": ranked_table(session, shown, store.limits.table_rows),
        "checkpoint": _sized(texts.CHECKPOINT, loaded, session, checkpoint),
        "adapter": _sized(texts.ADAPTER, loaded, session, "adapter"),
        "recipe": _sized(texts.RECIPE, loaded, session, "recipe"),
        "as_python": as_python(store, session),
        "as_command": as_command(store, session),
    }


def whole_view(store: ModelStore, session: Session, shown: Shown, dtype: ExportDtype) -> dict[str, Any]:
    """Everything, for a new tab or another behaviour."""
    return {**page_view(session), **opening_view(store, session), **resting_view(store, session, shown, dtype)}


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
    status = readouts.opening(session, behavior, store.model(session.model))
    if waits_for is None:
        return status
    title = behavior.title if behavior else texts.OWN_EXAMPLES
    what = texts.GIVE_EXAMPLES if waits_for == OWN else texts.PRESS_EXTRACT
    return texts.UNTIL_EXTRACT.format(what=what, behavior=title, model=session.model) + status


def opening_view(store: ModelStore, session: Session) -> dict[str, Any]:
    """What changes with the behaviour or the model alone."""
    last, behavior = session.scored.scores.spec.n_layers - 1, store.named_behavior(session.behavior)
    to_try = behavior.examples if behavior else own_prompts(session.scored.contrast, store.limits)
    return {
        "model": session.model,
        "behavior": gr.update(choices=offered(store, session.model, session.behavior), value=session.behavior),
        "own": gr.update(visible=session.behavior == OWN),
        "status": readouts.opening(session, behavior, store.model(session.model)),
        "first_layer": gr.update(value=0, maximum=last),
        "last_layer": gr.update(value=last, maximum=last),
        "prompt": to_try[0] if to_try else gr.skip(),
        "examples": gr.Dataset(**prompt_chips(to_try)) if to_try else gr.skip(),
        "length": behavior.max_new_tokens if behavior else gr.skip(),
        "gamma": behavior.gamma if behavior else gr.skip(),
        "all_columns": gr.update(value=False, visible=True if wide(session) else "hidden"),
        "swap": session.swapped,
        "color": gr.update(choices=_colors(session), value=session.mode),
    }


def _colors(session: Session) -> list[tuple[str, str]]:
    """What the heatmaps' colour may mean; when an edit acts is known only with texts."""
    when = [] if session.scored.extraction.token_inputs is None else [texts.WHEN_CHOICE]
    return [*texts.COLOR_CHOICES, *when]


def wide(session: Session) -> bool:
    """Whether the heatmap of the neurons leaves some out."""
    scores = session.scored.scores
    return session.columns["neurons"].shape[1] < scores.grid("neurons").shape[1]


def _sized(label: str, loaded: LoadedModel, session: Session, format: ExportFormat) -> dict[str, Any]:
    """A download button with the size of its file; an empty edit has no file to offer.

    What cannot be exported has no size, and says why when it is asked for: the rest of the page works.
    """
    if session.edit.is_empty:
        return gr.update(value=label, interactive=False)
    try:
        size = readable_size(export_size(loaded, session.edit, format))
    except ExportError:
        return gr.update(value=label, interactive=True)
    return gr.update(value=f"{label} · {size}", interactive=True)


def _map(session: Session, kind: Kind, firing: readouts.Firing | None) -> dict[str, Any]:
    return heatmap_value(
        kind,
        session.scored.scores,
        session.edit,
        columns=session.columns[kind],
        mode=session.mode,
        title=texts.HEADS_MAP if kind == "heads" else texts.NEURONS_MAP,
        seq=session.picks.get(kind, 0),
        firing=firing,
    )


def _count(session: Session, kind: Kind) -> dict[str, Any]:
    count, total = count_above(session, kind), session.scored.scores.spec.n_components(kind)
    grown = 10 ** math.ceil(math.log10(max(count, 1)))
    return {"value": count, "maximum": min(total, max(COUNT_STEPS, grown))}


def _rho(rho: float | None) -> dict[str, Any]:
    """A kind that is off keeps the slider where it was; the switch beside it says that it is off."""
    return {} if rho is None else {"value": round(rho, 4), "maximum": max(1.5, math.ceil(rho * 2) / 2)}


def _layers(session: Session) -> tuple[int, int]:
    return session.settings.selection.layers or (0, session.scored.scores.spec.n_layers - 1)


def _own_strength(session: Session) -> dict[str, Any]:
    factor = 1.0 if session.focus is None else session.settings.strengths.get(session.focus, 1.0)
    return gr.update(value=factor, interactive=session.focus is not None)
