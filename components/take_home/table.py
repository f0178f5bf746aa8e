"""Values as tables: the components of a model ranked by |g|, with what the current edit and chance do to each.

Knows pandas and the core's values, no page. The ranking depends on the scores alone, so that a row keeps its component
while dials move.
"""

from __future__ import annotations

from math import sqrt
from typing import Literal

import pandas as pd
import torch
from torch import Tensor

from components.shared.session import Session
from s2e_core import Component, ComponentScores
from s2e_core.method import edited_mask, mean_firing, relative_changes
from s2e_core.model import component_name
from s2e_core.spec import KINDS
from s2e_core.why import Chance

Shown = Literal["all", "heads", "neurons"]
COLUMNS = ("edited", "kind", "layer", "index", "g", "λ", "|ΔW| / |W|", "mean contribution")
WHEN_COLUMNS = ("adds on the behaviour", "adds on harmless")
"""More columns, if there are texts to say it of."""
CHANCE_COLUMNS = ("chance band", "beyond chance", "g low", "g high", "p")
"""Band of chance, whether |g| exceeds it, bootstrap interval of g and permutation p; see `Chance` in s2e_core/why."""
RANDOM_COLUMNS = ("random band", "beyond random")
"""The same where chance has not been read from the examples: 3 / sqrt(d_model), three standard deviations of g along
random directions."""


def ranking(scores: ComponentScores, shown: Shown, rows: int) -> list[Component]:
    """The `rows` components of the shown kinds with the largest |g|, strongest first."""
    sites = [i for kind in KINDS if shown in ("all", kind) for i in scores.spec.of_kind(kind)]
    if not sites:
        return []
    g = torch.cat([scores.g[i] for i in sites]).abs()
    least = g.topk(min(rows, len(g))).values[-1]
    candidates = (g >= least).nonzero().squeeze(1)  # sorting all of them takes seconds where there are millions
    order = candidates[g[candidates].argsort(descending=True, stable=True)[:rows]]
    ends = torch.tensor([len(scores.g[i]) for i in sites]).cumsum(0)
    places = torch.bucketize(order, ends, right=True)  # which of the sites
    starts = ends - ends.diff(prepend=torch.zeros(1, dtype=ends.dtype))
    indices = order - starts[places]
    return [Component(sites[place], index) for place, index in zip(places.tolist(), indices.tolist(), strict=True)]


def ranked_table(session: Session, shown: Shown, rows: int, chance: Chance | None = None) -> pd.DataFrame:
    """One row per component of the ranking, figures with all the digits that float32 has.

    The last columns compare g with `chance`, or with random directions where it is None.
    """
    scores, edit = session.scored.scores, session.edit
    inputs = session.scored.extraction.token_inputs
    changes, acts = relative_changes(scores, edit), None if inputs is None else mean_firing(inputs, edit.right)
    # An edit from a file need not follow from the dials.
    selected = edit.strength if session.recipe else edited_mask(session.scored.extraction, session.settings)
    records = []
    for component in ranking(scores, shown, rows):
        site, i = component
        where = scores.spec.sites[site]
        records.append((
            bool(selected[site][i]),
            _what(scores, component),
            where.layer,
            column_of(scores, component),
            _figure(scores.g[site][i]),
            _figure(edit.strength[site][i]),
            _figure(changes[site][i]),
            _figure(scores.contributions[site][i]),
            *(_figure(side[i]) for side in (acts[site] if acts else ())),
            *_by_chance(scores, component, chance),
        ))  # fmt: skip
    by_chance = CHANCE_COLUMNS if chance else RANDOM_COLUMNS
    return pd.DataFrame.from_records(records, columns=[*COLUMNS, *(WHEN_COLUMNS if acts else ()), *by_chance])


def _by_chance(scores: ComponentScores, component: Component, chance: Chance | None) -> tuple[float | bool, ...]:
    """A component's band, whether its |g| exceeds that, and where chance was read the interval of g and p."""
    site, i = component
    band = chance.band[site][i] if chance else torch.tensor(3 / sqrt(scores.spec.d_model))
    more = (_figure(side[site][i]) for side in (chance.low, chance.high, chance.p)) if chance else ()
    return _figure(band), bool(scores.g[site][i].abs() > band), *more


def _figure(value: Tensor) -> float:
    """Seven digits, and never -0.0."""
    return float(f"{float(value):.7g}") + 0.0


def _what(scores: ComponentScores, component: Component) -> str:
    """The kind; where a layer has several projections of it, which of them, and the number there."""
    name, kind = component_name(scores.spec, component), scores.spec.sites[component.site].kind.removesuffix("s")
    return kind if name == f"{kind} {component.index}" else name


def column_of(scores: ComponentScores, component: Component) -> int:
    """Position of a component in its layer: sites of one kind and layer are counted through, as in the heatmap."""
    spec = scores.spec
    here = spec.sites[component.site]
    before = (s for s in spec.sites[: component.site] if s.kind == here.kind and s.layer == here.layer)
    return component.index + sum(site.n_components for site in before)
