"""Shapes of edits: everything about an edit but how strong it is, drawn at random within what the model has.

Knows extractions and settings; no model, no text and no figure. One number says how strong an edit of any family is:
the reach, the root mean square of what it adds on the behaviour's texts, relative to steering of gamma 1.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import exp, log
from random import Random

from s2e_core.method import MUS, build_edit, rho_for_count
from s2e_core.settings import EditSettings, Gate
from s2e_core.spec import KINDS, Kind
from s2e_core.token_inputs import TokenInputs
from s2e_core.values import Extraction, WeightEdit

HALF = 0.5
"""The alpha at which the gain of the elastic net is its strength, and rho is twice the threshold."""
LEAST_ALPHA, MOST_ALPHA, MOST_RHO = 0.05, 0.95, 1.5
"""Range of the paper's dials."""
SHARES = {"elastic net": 0.25, "baked steering": 0.1, "gated steering": 0.4, "elastic net + gated steering": 0.25}
"""Share of each family among the drawn shapes: a gate has the most dials, baked steering one."""
LEAST_GATE = 8
"""Smallest number of components of a gate."""


@dataclass(frozen=True, eq=False)
class Shape:
    """An edit but for its strength."""

    heads: int = 0
    """Number of the strongest heads that the elastic net changes."""
    neurons: int = 0
    """Number of the strongest neurons that it changes."""
    mu: float | None = None
    """Strictness of the gate; None without one."""
    size: int | None = None
    """Number of components of the gate; None for all."""
    weight: float = 0.5
    """Share of the elastic net in the reach of a sum, above 0 and below 1."""

    @property
    def family(self) -> str:
        gate = [] if self.mu is None else ["gated steering" if self.mu else "baked steering"]
        return " + ".join([*(["elastic net"] if self.heads or self.neurons else []), *gate])


@dataclass(frozen=True, eq=False)
class Reach:
    """What an edit adds, relative to steering of gamma 1: root mean squares over tokens and sites."""

    on: float
    """On texts of the behaviour."""
    off: float
    """On harmless texts."""


def reach(extraction: Extraction, edit: WeightEdit) -> Reach:
    """sqrt(sum over sites of E[(a . x)^2] / sum of |v|^2) on both kinds of texts. Needs an extraction with texts."""
    inputs: TokenInputs | None = extraction.token_inputs
    if inputs is None:
        raise ValueError("the extraction has no token inputs")
    steering = float(extraction.directions.norm.square().sum())
    sums = [0.0, 0.0]
    for i in edit.edited_sites():
        for side, rows in enumerate((inputs.on[i], inputs.off[i])):
            if len(rows):
                columns = edit.right[i].nonzero().squeeze(1)
                sums[side] += float((rows[:, columns].float() @ edit.right[i][columns]).square().mean())
    on, off = ((total / steering) ** 0.5 if steering else 0.0 for total in sums)
    return Reach(on, off)


def draw_shapes(extraction: Extraction, count: int, seed: int, *, gates: bool = True) -> tuple[Shape, ...]:
    """`count` shapes of all families, numbers of components log-uniform from few to all, each shape once.

    They are fewer if the model has fewer different ones. Without `gates` they are elastic nets alone, without harmless
    texts elastic nets and baked steering.
    """
    random = Random(seed)
    shapes: dict[tuple[object, ...], Shape] = {}
    possible = [f for f in SHARES if f == "elastic net" or (gates and ("gated" not in f or _has_harmless(extraction)))]
    for family, part in _divide(count, possible).items():
        wanted = len(shapes) + part
        for _ in range(20 * count):  # a small model has few shapes of a family
            if len(shapes) >= wanted:
                break
            shape = _draw(extraction, family, random)
            shapes.setdefault((shape.heads, shape.neurons, shape.mu, shape.size, shape.weight), shape)
    return tuple(shapes.values())


def _divide(count: int, families: Sequence[str]) -> dict[str, int]:
    """`count` divided among families by their SHARES, what rounding leaves to those with the largest remainders."""
    whole = sum(SHARES[family] for family in families)
    parts = {family: count * SHARES[family] / whole for family in families}
    numbers = {family: int(part) for family, part in parts.items()}
    by_remainder = sorted(families, key=lambda family: numbers[family] - parts[family])
    for family in by_remainder[: count - sum(numbers.values())]:
        numbers[family] += 1
    return numbers


def shape_settings(extraction: Extraction, shape: Shape, strength: float) -> EditSettings | None:
    """The settings that give a shape the reach `strength` on the behaviour's texts; None if it changes nothing.

    The two parts of a sum have reaches in the ratio of `weight` to the rest. Needs an extraction with texts.
    """
    has_net, has_gate = bool(shape.heads or shape.neurons), shape.mu is not None
    weights = (shape.weight, 1 - shape.weight) if has_net and has_gate else (1.0, 1.0)
    parts = replace(shape, mu=None, size=None), replace(shape, heads=0, neurons=0)
    net = _reach_of(extraction, _combined(extraction, parts[0], 1.0, 0.0)) if has_net else 0.0
    gate = _reach_of(extraction, _combined(extraction, parts[1], 0.0, 1.0)) if has_gate else 0.0
    if (has_net and not net) or (has_gate and not gate):
        return None
    gain, gamma = weights[0] / net if net else 0.0, weights[1] / gate if gate else 0.0
    if has_net and has_gate:  # where the parts agree they add up, where they do not they cancel
        whole = _reach_of(extraction, _combined(extraction, shape, gain, gamma))
        gain, gamma = (gain / whole, gamma / whole) if whole else (0.0, 0.0)
    return _combined(extraction, shape, gain * strength, gamma * strength) if gain or gamma else None


def _combined(extraction: Extraction, shape: Shape, gain: float, gamma: float) -> EditSettings:
    """The settings of a shape by the gain of its elastic net (at alpha 0.5, its strength) and the gamma of its gate."""
    counts: dict[Kind, int] = {"heads": shape.heads, "neurons": shape.neurons}
    rhos = {kind: rho_for_count(extraction.scores, kind, n, HALF) for kind, n in counts.items() if n}
    elastic = dials_of(rhos, gain) if rhos else EditSettings(None, None, HALF)
    if shape.mu is None:
        return elastic
    return replace(elastic, gate=Gate(_round(gamma / elastic.strength), shape.mu, shape.size))  # it multiplies both


def _reach_of(extraction: Extraction, settings: EditSettings) -> float:
    return reach(extraction, build_edit(extraction, settings)).on


def scaled(settings: EditSettings, factor: float) -> EditSettings:
    """The same edit at `factor` times its strength."""
    if not settings.has_elastic_net and settings.gate is not None:
        return replace(settings, gate=replace(settings.gate, gamma=_round(settings.gate.gamma * factor)))
    return replace(settings, strength=_round(settings.strength * factor))


def dials_of(rhos: dict[Kind, float], gain: float) -> EditSettings:
    """lambda = gain (|g| / tau - 1) with the thresholds of `rhos` at alpha 0.5; strength 1 if rho and alpha allow."""
    least = max(LEAST_ALPHA, max(rhos.values()) * HALF / MOST_RHO)
    pure = gain / (1 + gain)  # the alpha that gives the gain with strength 1
    alpha = _round(min(MOST_ALPHA, max(least, pure)))
    rhos = {kind: _round(rho * HALF / alpha) for kind, rho in rhos.items()}
    strength = 1.0 if least <= pure <= MOST_ALPHA else _round(gain * (1 - alpha) / alpha)
    return EditSettings(rhos.get("heads"), rhos.get("neurons"), alpha, strength=strength)


def _draw(extraction: Extraction, family: str, random: Random) -> Shape:
    spec = extraction.spec
    counts = {kind: spec.n_components(kind) for kind in KINDS}
    shape = Shape()
    if "elastic" in family:
        present = [kind for kind in KINDS if counts[kind]]
        kinds = random.choice([present, *([kind] for kind in present)])
        drawn = {kind: _log_uniform(random, 1, counts[kind]) for kind in kinds}
        shape = replace(shape, heads=drawn.get("heads", 0), neurons=drawn.get("neurons", 0))
    if "steering" in family:
        total = sum(counts.values())
        size = _log_uniform(random, min(LEAST_GATE, total), 2 * total)
        mu = 0.0 if "baked" in family else random.choice(MUS[1:])
        shape = replace(shape, mu=mu, size=size if size < total else None)
    return replace(shape, weight=random.choice((0.25, 0.5, 0.75))) if " + " in family else shape


def _log_uniform(random: Random, low: int, high: int) -> int:
    """A whole number with few digits, so that settings can be read."""
    return max(low, min(high, round(float(f"{exp(random.uniform(log(low), log(high))):.2g}"))))


def _has_harmless(extraction: Extraction) -> bool:
    inputs = extraction.token_inputs
    return inputs is not None and all(len(off) for off in inputs.off)


def _round(value: float) -> float:
    """Four digits: near enough, and short enough to type."""
    return float(f"{value:.4g}")
