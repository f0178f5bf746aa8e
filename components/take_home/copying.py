"""The edit on the page as a few lines to copy: Python, a command, and how to cite the method.

Knows sessions, stores and the core's settings; no page. What cannot be said in a line says so: the recipe holds it.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator
from pathlib import Path

from components.shared.model_names import split_text
from components.shared.session import OWN, Session
from components.shared.store import ModelStore
from s2e_core import EditSettings, Selection
from s2e_core.loading import BUNDLED, SMOLLM2, split_revision

EXAMPLES_FILE = "examples.jsonl"
"""Name of the visitor's own examples in what is copied."""
MODEL_PLACE = "path/to/model"
"""In place of a folder of the operator."""


def as_python(store: ModelStore, session: Session) -> str:
    """Python that makes the edit on the page again from the model and the examples."""
    if note := _not_from_settings(session):
        return f"# {note}\n" + _load_recipe(store, session)
    return "\n".join([*_imports(session), "", *_chain(store, session), ""])


def as_command(store: ModelStore, session: Session) -> str:
    """The command that saves the edit on the page as a recipe."""
    if note := _not_from_settings(session) or _beyond_options(session):
        return f"# {note}\n"
    name = session.label if session.behavior != OWN else "mine"
    return " ".join(["steer2edit", "edit", *_options(store, session), "-o", shlex.quote(f"{name}.safetensors")]) + "\n"


def _not_from_settings(session: Session) -> str:
    """Why the edit does not follow from settings and examples; empty if it does."""
    if session.under is not None:
        return "Another edit lies under this one: save the recipe, it holds both."
    if session.origin is not None:
        return "The directions come from a file: save the recipe, it holds the whole edit."
    if session.recipe and not session.made_here(session.edit):
        return "The edit comes from a file: save the recipe, it holds the whole edit."
    return ""


def _beyond_options(session: Session) -> str:
    """What of the edit no option of the command says; empty if they say all."""
    if session.swapped:
        return "The two sides are swapped, which no option says: save the recipe, or copy the Python."
    if _has_selection(session.settings.selection) or session.settings.strengths:
        return "Components were chosen by hand, which no option says: save the recipe, or copy the Python."
    return ""


def _has_selection(selection: Selection) -> bool:
    chosen = selection.only is not None or selection.included or selection.excluded or selection.layers is not None
    return bool(chosen)


def _load_recipe(store: ModelStore, session: Session) -> str:
    model = _python_model(store, session)
    return (
        f"from s2e_core import load_edit, load_model\n\nloaded = load_model({model})\n"
        'edit = load_edit("recipe.safetensors", base=loaded)\n'
    )


def _imports(session: Session) -> Iterator[str]:
    settings, own = session.settings, session.behavior == OWN
    names = {"EditSettings", "build_edit", "extract", "load_model", "load_contrast_set" if own else "load_behavior"}
    if session.swapped:
        names.add("swapped")
    if _has_selection(settings.selection):
        names.add("Selection")
    if settings.strengths or settings.selection.included or settings.selection.excluded or settings.selection.only:
        names.add("Component")
    yield f"from s2e_core import {', '.join(sorted(names))}"
    if settings.needs_texts:
        yield f"from s2e_core.data import {'example' if own else 'behavior'}_gate_texts"
    if settings.gate is not None:
        yield "from s2e_core.settings import Gate"


def _chain(store: ModelStore, session: Session) -> Iterator[str]:
    settings, own = session.settings, session.behavior == OWN
    yield f"loaded = load_model({_python_model(store, session)})"
    if not own:
        yield f"behavior = load_behavior({session.behavior!r})"
    source = f"load_contrast_set({EXAMPLES_FILE!r})" if own else "behavior.contrast"
    yield f"contrast = {f'swapped({source})' if session.swapped else source}"
    texts = ""
    if settings.needs_texts:
        texts = f", texts={'example_gate_texts(contrast, loaded.source)' if own else 'behavior_gate_texts(behavior)'}"
    yield f"extraction = extract(loaded, contrast{texts})"
    yield f"edit = build_edit(extraction, {_python_settings(settings)})"


def _python_settings(settings: EditSettings) -> str:
    parts = [f"rho_attn={settings.rho_attn!r}", f"rho_mlp={settings.rho_mlp!r}", f"alpha={settings.alpha!r}"]
    if settings.strength != 1:
        parts.append(f"strength={settings.strength!r}")
    if settings.gate is not None:
        parts.append(f"gate=Gate({settings.gate.gamma!r}, mu={settings.gate.mu!r}, size={settings.gate.size!r})")
    if settings.protect:
        parts.append(f"protect={settings.protect!r}")
    if _has_selection(settings.selection):
        parts.append(f"selection={_python_selection(settings.selection)}")
    if settings.strengths:
        factors = ", ".join(f"Component{tuple(c)}: {factor!r}" for c, factor in sorted(settings.strengths.items()))
        parts.append(f"strengths={{{factors}}}")
    return f"EditSettings({', '.join(parts)})"


def _python_selection(selection: Selection) -> str:
    parts = []
    for name in ("only", "included", "excluded"):
        chosen = getattr(selection, name)
        if chosen is not None and (chosen or name == "only"):
            components = ", ".join(f"Component{tuple(c)}" for c in sorted(chosen))
            parts.append(f"{name}=frozenset({{{components}}})" if components else f"{name}=frozenset()")
    if selection.layers is not None:
        parts.append(f"layers={selection.layers!r}")
    return f"Selection({', '.join(parts)})"


def _options(store: ModelStore, session: Session) -> Iterator[str]:
    settings, gate = session.settings, session.settings.gate
    model = _model(store, session)
    if model != BUNDLED:
        place, revision = split_revision(model)
        yield f"--model {shlex.quote(str(place))}" + (f" --revision {shlex.quote(revision)}" if revision else "")
    if args := store.template_args_of(session.model):
        yield f"--template-args {shlex.quote(json.dumps(args))}"
    yield f"--contrast {EXAMPLES_FILE}" if session.behavior == OWN else f"--behavior {shlex.quote(session.behavior)}"
    if settings.has_elastic_net or gate is None:
        for option, rho in (("--rho-attn", settings.rho_attn), ("--rho-mlp", settings.rho_mlp)):
            yield f"{option} {'off' if rho is None else repr(rho)}"
        yield f"--alpha {settings.alpha!r}"
    if gate is not None:
        family = "sum" if settings.has_elastic_net else "gated" if gate.mu else "baked"
        yield f"--family {family} --gate {gate.gamma!r} --mu {gate.mu!r} --gate-size {gate.size or 'all'}"
    yield f"--strength {settings.strength!r}"
    if settings.protect:
        yield f"--protect {settings.protect}"


def _model(store: ModelStore, session: Session) -> str:
    """What names the model elsewhere: a folder of the operator stays on this machine."""
    name, _ = split_text(session.model)
    source = store.sources.get(name, name)
    if isinstance(source, Path) or (source not in (BUNDLED, SMOLLM2) and Path(source).exists()):
        return MODEL_PLACE
    return str(source)


def _python_model(store: ModelStore, session: Session) -> str:
    place, revision = split_revision(_model(store, session))
    args = store.template_args_of(session.model)
    further = {"revision": revision, "template_args": dict(args)}
    return ", ".join([repr(str(place)), *(f"{name}={value!r}" for name, value in further.items() if value)])
