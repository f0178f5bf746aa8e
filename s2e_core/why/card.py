"""The card of one component: everything that answers "why", as one frozen value and as plain JSON.

Knows which parts there are and puts them together; every figure comes from the file of its concern. What a model does
not allow is a sentence on the card, not an error.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from s2e_core.errors import Cancelled, S2EError
from s2e_core.method import relative_changes
from s2e_core.model import component_label
from s2e_core.spec import Component
from s2e_core.values import Example, WeightEdit

from .activations import ExampleActivations, TokenActivations, example_activations, token_activations
from .attention import HeadAttention, head_attention
from .effects import Effect, measure_effects
from .head_kinds import Metric
from .interventions import HOWS, component_weight
from .isotropic import isotropic_band
from .plain import plain
from .relatives import Relative, relatives
from .study import Study
from .vocabulary import VectorReading, read_component


@dataclass(frozen=True, eq=False)
class Arithmetic:
    """The numbers from weights to strength, in the order in which they are computed."""

    direction_length: float
    """Length |v| of the site's steering direction."""
    output_length: float
    """Length |W_i xbar_i| of the component's mean output."""
    contribution: float
    """Mean output along the unit direction, u . W_i xbar_i."""
    g: float
    """Alignment: contribution / output length."""
    rho: float | None
    """Budget of the component's kind; None if the kind is off."""
    threshold: float | None
    """Threshold rho * alpha of |g|; None if the kind is off."""
    gain: float | None
    """Gain 1 / (rho * (1 - alpha)); None if the kind is off."""
    strength: float
    """Strength lambda of the component's edit; 0 if it is not edited."""
    relative_change: float
    """Relative change |dW_i| / |W_i| of the component's weights."""


@dataclass(frozen=True, eq=False)
class Luck:
    """Whether the score could be luck."""

    low: float
    """Lower end of the 95 % bootstrap interval of g over examples."""
    high: float
    """Upper end of that interval."""
    rank: int
    """Rank of |g| among the components of the kind, 1 is the largest."""
    count: int
    """Number of components of the kind."""
    p: float
    """Permutation test: share of permuted labels that give at least this difference along the component's output."""
    band: float
    """Largest |g| along 95 of 100 directions in which the examples differ anyway."""
    isotropic_band: float
    """Largest |g| along 95 of 100 random directions."""
    expected_false: float
    """Mean number of components of the kind with at least this |g| along directions of chance."""
    n_examples: int


@dataclass(frozen=True, eq=False)
class Card:
    """Why one component got its score, what it does, when, and what it says."""

    component: Component
    name: str
    kind: str
    """Kind of component: "head" or "neuron"."""
    layer: int
    luck: Luck
    arithmetic: Arithmetic
    effects: tuple[Effect, ...]
    """Measured effects of the four interventions, on few responses."""
    head_kind: Mapping[Metric, tuple[float, int, int]]
    """Value, rank and number of heads of every attention figure; empty for a neuron."""
    attention: HeadAttention | None
    """Attention on the chosen text; None for a neuron."""
    activations: TokenActivations
    """Activation at every token of the chosen text."""
    examples: ExampleActivations
    """Mean activation on every example."""
    unrelated: tuple[TokenActivations, ...]
    """Activations on texts that have nothing to do with the behaviour."""
    readings: tuple[VectorReading, ...]
    """What the component's vectors say; empty if the model has no lens."""
    relatives: tuple[Relative, ...]
    touched_by: Mapping[str, float]
    """Strength of the component in the edits of other behaviours, by name, if they change it."""
    missing: tuple[str, ...]
    """Sentences that say which parts this model does not allow."""

    def to_json(self) -> dict[str, Any]:
        """Plain values, with the histogram and the deciles of the examples in place of all their texts."""
        edges, positive, negative = self.examples.histogram()
        deciles = [
            {
                "decile": k + 1,
                "value": self.examples.values[n],
                "side": "positive" if n < self.examples.n_positive else "negative",
                "prompt": self.examples.examples[n].prompt,
                "response": self.examples.examples[n].response,
            }
            for k, n in enumerate(self.examples.deciles())
        ]
        whole: dict[str, Any] = plain(self)
        whole["component"] = {"site": self.component.site, "index": self.component.index}
        whole["examples"] = plain({"edges": edges, "positive": positive, "negative": negative, "deciles": deciles})
        whole["head_kind"] = {
            metric: plain({"value": value, "rank": rank, "count": count})
            for metric, (value, rank, count) in self.head_kind.items()
        }
        whole["readings"] = [{**plain(one), "disagrees": one.disagrees} for one in self.readings]
        return whole


def make_card(
    study: Study,
    component: Component,
    edit: WeightEdit,
    text: str | Example,
    *,
    others: Mapping[str, WeightEdit] | None = None,
    effects: Sequence[Effect] | None = None,
) -> Card:
    """The card of one component under an edit, with `text` as the chosen text.

    `others` are edits of other behaviours by name; `effects` those of a causal map, which are measured here on few
    responses if none are given. Raises S2EError for a text that the model cannot read.
    """
    loaded, extraction, spec = study.loaded, study.extraction, study.loaded.spec
    site = spec.sites[component.site]
    missing = list(study.missing)
    if effects is None:
        wishes = [(component, how) for how in HOWS]
        effects = measure_effects(loaded, extraction, edit, wishes, study.pairs)
    attention = None
    is_head = site.kind == "heads" and study.kinds is not None and component.site in study.kinds.values["self"]
    if is_head:
        attention = head_attention(loaded, component, text, edit)
    directions = extraction.directions
    (activations,) = token_activations(loaded, directions, component, [text], edit)
    return Card(
        component=component,
        name=component_label(spec, component),
        kind=site.kind.removesuffix("s"),
        layer=site.layer,
        luck=_luck(study, component),
        arithmetic=_arithmetic(study, component, edit),
        effects=tuple(effects),
        head_kind=study.kinds.of(component) if is_head and study.kinds is not None else {},
        attention=attention,
        activations=activations,
        examples=example_activations(loaded, directions, component, study.means),
        unrelated=token_activations(loaded, directions, component, study.unrelated, edit),
        readings=_readings(study, component, missing),
        relatives=relatives(loaded, extraction.means, component),
        touched_by=_touched(component, others or {}),
        missing=tuple(dict.fromkeys(missing)),
    )


def _readings(study: Study, component: Component, missing: list[str]) -> tuple[VectorReading, ...]:
    """What the component says by both lenses, or by the first alone if the second cannot be computed."""
    if study.lens is None:
        return ()
    try:
        return read_component(study.loaded, study.extraction, component, study.lens, study.jacobian_texts)
    except Cancelled:
        raise
    except S2EError as reason:
        missing.append(str(reason))
        return read_component(study.loaded, study.extraction, component, study.lens)


def _luck(study: Study, component: Component) -> Luck:
    index, n = component
    found, kind = study.chance, study.loaded.spec.sites[index].kind
    g = float(study.extraction.scores.g[index][n])
    everyone = torch.cat([study.extraction.scores.g[i] for i in study.loaded.spec.of_kind(kind)]).abs()
    return Luck(
        low=min(g, float(found.low[index][n])),
        high=max(g, float(found.high[index][n])),
        rank=1 + int((everyone > abs(g)).sum()),
        count=len(everyone),
        p=float(found.p[index][n]),
        band=float(found.band[index][n]),
        isotropic_band=isotropic_band(study.loaded.spec.d_model),
        expected_false=found.expected_false(kind, abs(g)),
        n_examples=found.n_examples,
    )


def _arithmetic(study: Study, component: Component, edit: WeightEdit) -> Arithmetic:
    index, n = component
    extraction = study.extraction
    site, settings = extraction.spec.sites[index], edit.settings
    mean = extraction.means.mean[index][n * site.width : (n + 1) * site.width]
    rho = settings.rho(site.kind)
    return Arithmetic(
        direction_length=float(extraction.directions.norm[index]),
        output_length=float(torch.linalg.vector_norm(component_weight(study.loaded, component) @ mean)),
        contribution=float(extraction.scores.contributions[index][n]),
        g=float(extraction.scores.g[index][n]),
        rho=rho,
        threshold=None if rho is None else rho * settings.alpha,
        gain=None if rho is None else 1 / (rho * (1 - settings.alpha)),
        strength=float(edit.strength[index][n]),
        relative_change=float(relative_changes(extraction.scores, edit)[index][n]),
    )


def _touched(component: Component, others: Mapping[str, WeightEdit]) -> dict[str, float]:
    strengths = {name: float(edit.strength[component.site][component.index]) for name, edit in others.items()}
    return {name: strength for name, strength in strengths.items() if strength}
