"""Write the model card of an export: what changed, from which base, by which recipe, and how to load it.

The licence comes from the base model's own card. Nothing here writes a file.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml
from huggingface_hub import metadata_load

from s2e_core.model import LoadedModel, stored_weight
from s2e_core.settings import EditSettings
from s2e_core.spec import KINDS
from s2e_core.text import counted, layer_ranges
from s2e_core.values import WeightEdit

from .factors import Factors, rank_of, site_factors
from .how_to_load import CardKind, base_to_load, how_to_load
from .recipe import PAPER, model_label, recipe_bytes

_LIBRARIES = {"checkpoint": "transformers", "adapter": "peft", "mlx": "mlx"}
"""The Hub's names of the libraries that load an export; it knows none for a GGUF LoRA."""
_TAGS = ("steer2edit", "model-editing", "arxiv:2602.09870")
CARD_FILE = "README.md"
RECIPE_FILE = "recipe/steer2edit.safetensors"
"""File name of the recipe, in its own folder: some programs load every .safetensors file beside a checkpoint."""
RELATED = "related work: CAST, arXiv 2409.05907; AlphaSteer, arXiv 2506.07022; AlphaEdit, arXiv 2410.02355"
_ROWS = 64
"""Rows of a weight to convert to fp32 at a time: allocating a copy of the whole takes longer than the arithmetic."""
_ROWS_PER_TICK = 64 * _ROWS
_INHERITED_KEYS = ("license", "license_name", "license_link", "language")
_LICENCE_FILES = ("LICENSE*", "LICENCE*", "NOTICE*", "USE_POLICY*")

_CARD = """---
{front}---

# {title}

{change}

## Base model and recipe

| | |
|---|---|
{rows}

The formula is closed-form and needs no training: {formula}.
`{recipe}` contains the complete edit; Steer2Edit loads it for the same base model.

## How to load it

{loading}

The licence of the base model applies.
"""


def card_and_recipe(loaded: LoadedModel, edit: WeightEdit, kind: CardKind, size: float) -> dict[str, bytes]:
    """Model card and recipe, by file name: what an export adds; `size` is `change_of_edited_matrices`."""
    return {CARD_FILE: model_card(loaded, edit, kind, size).encode(), RECIPE_FILE: recipe_bytes(edit)}


def model_card(loaded: LoadedModel, edit: WeightEdit, kind: CardKind, size: float) -> str:
    """The text of README.md; `size` is the edit's `change_of_edited_matrices`."""
    return _CARD.format(
        front=yaml.safe_dump(_front_matter(loaded, kind), sort_keys=False, allow_unicode=True),
        title=f"{_line(loaded.model_id)}, edited with Steer2Edit",
        change=_change(loaded, edit, size),
        rows="\n".join(f"| {name} | {value} |" for name, value in _rows(loaded, edit)),
        formula="; ".join(dict.fromkeys(_formula(part.settings) for part in edit.parts)),
        recipe=RECIPE_FILE,
        loading=how_to_load(loaded, edit, kind),
    )


def change_of_edited_matrices(
    loaded: LoadedModel, edit: WeightEdit, *, tick: Callable[[], None] = lambda: None
) -> float:
    """|dW| / |W| in Frobenius norms over the edited matrices only, which are all read.

    `EditSummary.relative_size` divides by the norm over all sites of the model instead. `tick` is called for every
    matrix, several times for a tall one; an error that it raises ends the reading.
    """
    sites = edit.edited_sites()
    change = sum(_squared_norm(site_factors(edit, i)) for i in sites)
    weight = 0.0
    for matrix in (stored_weight(loaded.source_model, edit.spec.sites[i]).flatten(0, -2) for i in sites):
        for part in matrix.split(_ROWS_PER_TICK):
            weight += sum(float(rows.float().norm()) ** 2 for rows in part.split(_ROWS))
            tick()
    return (change / weight) ** 0.5 if weight else 0.0


def _squared_norm(factors: Factors) -> float:
    """|left @ right|^2, from the small products left^T left and right right^T."""
    left, right = factors.left.double(), factors.right.double()
    return float(((left.T @ left) * (right @ right.T)).sum())


def licence_files(folder: Path) -> list[Path]:
    """The files of the base model that state its licence."""
    return sorted(path for pattern in _LICENCE_FILES for path in folder.glob(pattern) if path.is_file())


def _front_matter(loaded: LoadedModel, kind: CardKind) -> dict[str, Any]:
    base = _base_metadata(loaded.source / CARD_FILE)
    is_on_hub = bool(loaded.revision) or bool(loaded.base_name and not Path(loaded.base_name).is_absolute())
    # Only for a model from the Hub: the Hub would mistake a local folder's name for somebody else's model.
    relation = "finetune" if kind == "checkpoint" else "adapter"
    lineage = {"base_model": base_to_load(loaded), "base_model_relation": relation} if is_on_hub else {}
    return {
        **lineage,
        **{key: base[key] for key in _INHERITED_KEYS if key in base},
        **({"library_name": _LIBRARIES[kind]} if kind in _LIBRARIES else {}),
        "pipeline_tag": "text-generation",
        "tags": [*_TAGS, *(() if kind == "checkpoint" else ("lora",))],
    }


def _base_metadata(card: Path) -> Mapping[str, Any]:
    """Front matter of the base model's card; empty if there is no readable card."""
    if not card.is_file():
        return {}
    try:
        return metadata_load(card) or {}
    except (ValueError, yaml.YAMLError):  # errors in a handwritten card do not concern the weights
        return {}


def _change(loaded: LoadedModel, edit: WeightEdit, size: float) -> str:
    layers = {edit.spec.sites[i].layer for i in edit.edited_sites()}
    counts = " and ".join(
        f"{edit.count(kind)} of {edit.spec.n_components(kind)} {'attention ' if kind == 'heads' else 'MLP '}{kind}"
        for kind in KINDS
    )
    towards = "a steering direction" if len(edit.parts) == 1 else counted(len(edit.parts), "steering direction")
    return (
        f"{counts} of `{_line(loaded.model_id)}` were changed, each by a rank-{rank_of(edit)} weight edit towards "
        f"{towards}, in {len(layers)} of {edit.spec.n_layers} layers ({layer_ranges(layers)}, counted from 0). The "
        f"change is {size:.2%} of the edited matrices' size (Frobenius norm). All other weights are unchanged."
        + ("" if loaded.gguf is None else f" {loaded.gguf.sentence()}")
    )


def _rows(loaded: LoadedModel, edit: WeightEdit) -> Iterable[tuple[str, str]]:
    yield "base model", f"`{_line(model_label(loaded.model_id, loaded.revision))}`"
    yield "fingerprint of the base weights", f"`{loaded.fingerprint}`"
    for number, part in enumerate(edit.parts, start=1):
        if len(edit.parts) > 1:
            yield f"**edit {number}**", "laid on the others: the changes are added up"
        yield from _edit_rows(part)


def _edit_rows(edit: WeightEdit) -> Iterable[tuple[str, str]]:
    settings, selection = edit.settings, edit.settings.selection
    yield "made from", f"{_line(edit.provenance.contrast_name)}, SHA-256 `{edit.provenance.contrast_hash}`"
    if settings.needs_texts:
        yield from _gate_rows(edit)
    if settings.has_elastic_net or settings.gate is None:
        yield "rho of the heads", "off" if settings.rho_attn is None else f"{settings.rho_attn:.6g}"
        yield "rho of the neurons", "off" if settings.rho_mlp is None else f"{settings.rho_mlp:.6g}"
        yield "alpha, strength", f"{settings.alpha:.6g}, {settings.strength:.6g}"
    else:
        yield "strength", f"{settings.strength:.6g}"
    counts = len(selection.included), len(selection.excluded), len(settings.strengths)
    yield "by hand", "{} included, {} excluded, {} with their own strength".format(*counts)


def _gate_rows(edit: WeightEdit) -> Iterable[tuple[str, str]]:
    settings, gate = edit.settings, edit.settings.gate
    yield "family", settings.family
    if gate is not None:
        yield "gamma of the gate", f"{gate.gamma:.6g}"
        yield "mu of the gate", f"{gate.mu:.6g}"
        yield "size of the gate", "all components" if gate.size is None else counted(gate.size, "component")
    if settings.protect:
        directions = counted(settings.protect, "strongest input direction")
        yield "protect", f"silent on the {directions} of harmless texts"
    if edit.provenance.harmless:
        yield "harmless texts", _line(edit.provenance.harmless)


def _formula(settings: EditSettings) -> str:
    """The source of each part of the edit; a gate has no paper of its own."""
    parts = [f"the elastic net of {PAPER}" if settings.needs_texts else PAPER] if settings.has_elastic_net else []
    if settings.gate is not None:
        parts.append(f"{'gated' if settings.gate.mu else 'baked'} steering, a least-squares fit ({RELATED})")
    if settings.protect:
        parts.append("made silent on the strongest input directions of harmless texts, as in AlphaEdit")
    return "; ".join(parts or [PAPER])


def _line(text: str) -> str:
    """The text without characters that would break a table cell."""
    return " ".join(text.replace("|", "/").replace("`", "'").split())
