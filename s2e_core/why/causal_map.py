"""Attribution against cause: the measured effect of many components, beside the g that the method gives them.

Knows scores and effects; no forward pass. g is read from what a component writes. Whether the model needs it is another
question: a component can write little along the direction and still be necessary.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from typing import Any

import torch

from s2e_core.measure import Estimate, spearman_interval
from s2e_core.model import LoadedModel, component_label
from s2e_core.progress import Progress
from s2e_core.spec import KINDS, Component, Kind, ModelSpec
from s2e_core.values import ComponentScores, ContrastSet, Extraction, WeightEdit

from .effects import Effect, measure_effects, paired_texts
from .interventions import HOWS, How

N_NEURONS = 200
"""Number of neurons with the largest |g| that are tried."""
N_HEADS = 1000
"""Most heads that are tried: all of a model of usual size."""
N_FRIENDS = 5
"""Number of false friends of each sort that are named."""
FEWEST = 3
"""Fewest components whose rank agreement is reported."""


@dataclass(frozen=True, eq=False)
class CausalMap:
    """The effects of interventions on many components."""

    spec: ModelSpec
    g: Mapping[Component, float]
    """Alignment of every component that was tried."""
    effects: tuple[Effect, ...]
    n_texts: int
    """Number of texts, wanted and unwanted together."""

    def of(self, how: How) -> tuple[Effect, ...]:
        """The effects of one intervention."""
        return tuple(effect for effect in self.effects if effect.how == how)

    def agreement(self, how: How, kind: Kind | None = None) -> Estimate | None:
        """Spearman's rank correlation of g with what a component's presence does to the margin; None for too few.

        Zeroing takes a component away, so that agreement is with the margin that is lost. An edit pushes every
        component towards +v, whatever the sign of its g: |g| is compared with what it gains, over edited components.
        """
        pairs = [(self._attribution(e), _presence(e)) for e in self.of(how) if self._is_compared(e, kind)]
        a, b = [p[0] for p in pairs], [p[1] for p in pairs]
        if len(pairs) < FEWEST or len(set(a)) < 2 or len(set(b)) < 2:
            return None
        return spearman_interval(a, b)

    def unneeded(self, how: How = "zeroed", count: int = N_FRIENDS) -> tuple[Effect, ...]:
        """False friends: the largest |g| in the upper half of their kind whose effect could be none."""
        found = [e for e in self._half(how, upper=True) if not e.is_clear]
        return tuple(sorted(found, key=lambda e: -abs(self.g[e.component]))[:count])

    def overlooked(self, how: How = "zeroed", count: int = N_FRIENDS) -> tuple[Effect, ...]:
        """Hidden causes: the largest effects, clear of 0, among the lower half of |g| of their kind."""
        found = [e for e in self._half(how, upper=False) if e.is_clear]
        return tuple(sorted(found, key=lambda e: -abs(e.margin.value))[:count])

    def _half(self, how: How, *, upper: bool) -> list[Effect]:
        middles = {kind: self._median(kind) for kind in KINDS}
        measured = [e for e in self.of(how) if isfinite(e.margin.value)]
        return [e for e in measured if (abs(self.g[e.component]) >= middles[self._kind(e)]) == upper]

    def _median(self, kind: Kind) -> float:
        values = [abs(g) for component, g in self.g.items() if self.spec.sites[component.site].kind == kind]
        return float(torch.tensor(values).median()) if values else 0.0

    def _kind(self, effect: Effect) -> Kind:
        return self.spec.sites[effect.component.site].kind

    def _is_compared(self, effect: Effect, kind: Kind | None) -> bool:
        is_measured = isfinite(effect.margin.value) and (effect.how in ("zeroed", "mean") or effect.kl.value > 0)
        return is_measured and kind in (None, self._kind(effect))

    def _attribution(self, effect: Effect) -> float:
        g = self.g[effect.component]
        return g if effect.how in ("zeroed", "mean") else abs(g)

    def to_json(self) -> dict[str, Any]:
        """Plain values: every effect as a row, the rank agreements, and the false friends by name."""
        return {
            "n_texts": self.n_texts,
            "effects": self.rows(),
            "agreement": [
                {"how": how, "kind": kind or "all", **_figures(self.agreement(how, kind))}
                for how in HOWS if self.of(how) for kind in (None, *KINDS)
            ],
            "unneeded": [component_label(self.spec, e.component) for e in self.unneeded()],
            "overlooked": [component_label(self.spec, e.component) for e in self.overlooked()],
        }  # fmt: skip

    def rows(self) -> list[dict[str, Any]]:
        """One row per effect, in the order in which they were asked for."""
        return [self._row(effect) for effect in self.effects]

    def _row(self, effect: Effect) -> dict[str, Any]:
        site = self.spec.sites[effect.component.site]
        return {
            "kind": site.kind.removesuffix("s"),
            "layer": site.layer,
            "index": effect.component.index,
            "g": self.g[effect.component],
            "how": effect.how,
            **{
                f"{name}{end}": value
                for name, estimate in (("margin", effect.margin), ("wanted", effect.wanted), ("kl", effect.kl))
                for end, value in (("", estimate.value), ("_low", estimate.low), ("_high", estimate.high))
            },
            "name": component_label(self.spec, effect.component),
        }


def causal_map(
    loaded: LoadedModel,
    extraction: Extraction,
    edit: WeightEdit,
    pairs: ContrastSet,
    *,
    n_heads: int = N_HEADS,
    n_neurons: int = N_NEURONS,
    hows: Sequence[How] = HOWS,
    progress: Progress | None = None,
) -> CausalMap:
    """Try the heads and neurons with the largest |g| under every intervention, on the responses of `pairs`.

    By default all heads and 200 neurons. `edit` is what "edited alone" and "left out" mean. `progress` counts
    interventions. Raises S2EError for responses that the model cannot read, Cancelled if `progress` raises it.
    """
    texts = paired_texts(loaded, pairs)
    components = [*strongest(extraction.scores, "heads", n_heads), *strongest(extraction.scores, "neurons", n_neurons)]
    wishes = [(component, how) for component in components for how in hows]
    effects = measure_effects(loaded, extraction, edit, wishes, texts, progress=progress)
    g = {component: float(extraction.scores.g[component.site][component.index]) for component in components}
    return CausalMap(loaded.spec, g, effects, len(texts.spans))


def strongest(scores: ComponentScores, kind: Kind, count: int) -> list[Component]:
    """The components of a kind with the largest |g|, the largest first."""
    sites = scores.spec.of_kind(kind)
    if not sites:
        return []
    flat = torch.cat([scores.g[i] for i in sites]).abs()
    components = [Component(i, n) for i in sites for n in range(scores.spec.sites[i].n_components)]
    return [components[n] for n in flat.topk(min(count, len(flat))).indices.tolist()]


def _presence(effect: Effect) -> float:
    """What the component, or its edit, does to the margin: the sign turns where the intervention takes it away."""
    return effect.margin.value if effect.how == "edited alone" else -effect.margin.value


def _figures(estimate: Estimate | None) -> dict[str, float | int | None]:
    if estimate is None:
        return {"value": None, "low": None, "high": None, "count": None}
    return {"value": estimate.value, "low": estimate.low, "high": estimate.high, "count": estimate.count}
