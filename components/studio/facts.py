"""What a tab needs of an extraction to compute the paper's edit by itself: scores, norms, names, presets; sent once.

Knows sessions and the core's values; no page. The other end is components/studio/facts.js.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from components.shared import texts
from components.shared.choices import strongest_few
from components.shared.session import Session
from s2e_core.measure import KL_BOUND, USUAL_GAMMA, Suggestion
from s2e_core.method import MUS, edited_mask, mean_firing, relative_changes
from s2e_core.model import grid_parts
from s2e_core.settings_json import settings_to_json
from s2e_core.spec import ModelSpec

from .presets import PUBLISHED, kl_words, suggestion_name


def facts(session: Session, table_rows: int) -> dict[str, Any]:
    """Everything about an extraction that no dial changes."""
    scores, spec = session.scored.scores, session.scored.extraction.spec
    return {
        "key": session.scored.key,
        "n_layers": spec.n_layers,
        "d_model": spec.d_model,
        "sites": _sites(spec),
        "g": packed_floats(scores.g),
        "norms": packed_floats(scores.weight_norms),
        "contributions": packed_floats(scores.contributions),
        "has_texts": session.scored.extraction.token_inputs is not None,
        "mus": list(MUS),
        "suggested": settings_to_json(session.suggested),
        "strongest_few": settings_to_json(strongest_few(session.scored)),
        "suggestions": [
            {"family": each.family, "settings": settings_to_json(each.settings)} for each in session.scored.suggestions
        ],
        "presets": _presets(session),
        "table_rows": table_rows,
    }


def solved(session: Session) -> dict[str, Any]:
    """The edit of a session, of the components that it changes: for what a tab cannot compute."""
    extraction, edit = session.scored.extraction, session.edit
    strength = torch.cat(edit.strength)
    at = strength.nonzero().squeeze(1)
    mask = edit.strength if session.brought else edited_mask(extraction, session.settings)
    sides: dict[str, Sequence[Tensor]] = {"lam": edit.strength, "change": relative_changes(extraction.scores, edit)}
    if extraction.token_inputs is not None:
        on, off = zip(*mean_firing(extraction.token_inputs, edit.right), strict=True)
        sides |= {"on": on, "off": off}
    brought = {} if session.brought is None else {"settings": settings_to_json(edit.settings)}
    return {
        **brought,
        "at": _whole(at),
        "edited": _chosen(mask),
        "ruled": _chosen(mask if session.brought else _ruled(session, mask)),
        "harmless": edit.provenance.harmless,
        **{name: _text(torch.cat(list(side))[at].numpy().astype("<f4")) for name, side in sides.items()},
    }


def _ruled(session: Session, mask: Sequence[Tensor]) -> Sequence[Tensor]:
    """What the settings select before anything is added or left out by hand: from there the tab goes on by itself."""
    settings = session.settings
    if not settings.selection.included and not settings.selection.excluded:
        return mask
    bare = replace(settings.selection, included=frozenset(), excluded=frozenset())
    return edited_mask(session.scored.extraction, replace(settings, selection=bare))


def _chosen(mask: Sequence[Tensor]) -> str:
    return _whole(torch.cat([one != 0 for one in mask]).nonzero().squeeze(1))


def _sites(spec: ModelSpec) -> list[dict[str, Any]]:
    rows: dict[tuple[str, int], Iterable[tuple[int, int, int, str]]] = {}
    sites = []
    for site in spec.sites:
        place = (site.kind, site.layer)
        if place not in rows:
            rows[place] = iter(grid_parts(spec, site.kind, site.layer))
        _, n, experts, where = next(iter(rows[place]))
        sites.append({"kind": site.kind, "layer": site.layer, "n": n, "experts": experts, "where": where})
    return sites


def _presets(session: Session) -> list[dict[str, Any]]:
    """Settings to choose from; where the dials start has a name of its own unless it is the suggestion of a family."""
    start = settings_to_json(session.suggested)
    families = [
        {
            "name": suggestion_name(each),
            "kind": "family",
            "settings": settings_to_json(each.settings),
            "told": _how(each),
        }
        for each in session.scored.suggestions
    ]
    first = [{"name": texts.SUGGESTED, "kind": "start", "settings": start, "told": ""}]
    if any(each["settings"] == start for each in families):
        first = []
    published = [
        {"name": f"As published for {name}", "kind": "published", "settings": settings_to_json(settings), "told": ""}
        for name, settings in PUBLISHED.items()
    ]
    return [*first, *families, *published]


def _how(suggestion: Suggestion) -> str:
    how = texts.SUGGESTED_HOW.format(bound=KL_BOUND, gamma=USUAL_GAMMA)
    return f"Suggested: {how}; here it is {kl_words(suggestion)}."


def packed_floats(sites: Sequence[Tensor]) -> str:
    """A figure of every component through all sites, as float32."""
    return _text(torch.cat(list(sites)).numpy().astype("<f4"))


def packed_doubles(values: Tensor) -> str:
    """Figures as float64."""
    return _text(values.numpy().astype("<f8"))


def _whole(numbers: Tensor) -> str:
    return _text(numbers.numpy().astype("<i4"))


def _text(values: np.ndarray[Any, Any]) -> str:
    return base64.b64encode(np.ascontiguousarray(values).tobytes()).decode()
