"""The edit that is nearest to a difference of weights: the dials of every family, fitted in closed form.

Knows an extraction and what of the difference lies along its directions; no model. With u known, the squared distance
of an edit u a^T from dW is that of a from u^T dW, and what is across u is out of reach of every edit of this behaviour.
With keys of length 1 the elastic net is a line in |g| above its threshold: a regression for each number of components.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import Tensor

from s2e_core.method import MUS, build_edit
from s2e_core.progress import Progress
from s2e_core.settings import EditSettings, Gate
from s2e_core.spec import KINDS
from s2e_core.values import Extraction, WeightEdit

from .net_fit import NetFit, along_keys, fit_net, is_kind

ROUNDS = 12
"""Largest number of rounds in which a gate and an elastic net are fitted one after the other."""
N_SUMS = 3
"""Number of gates that are tried together with an elastic net."""
CLEARLY = 1e-3
"""Share of what lies along the directions that less plain settings have to explain in addition."""


@dataclass(frozen=True, eq=False)
class Nearest:
    """The edit of a behaviour that is nearest to a difference of weights."""

    settings: EditSettings
    edit: WeightEdit
    explained: float
    """Share of the squared difference that the edit explains, 1 - |dW - edit|^2 / |dW|^2."""
    possible: float
    """Share that lies along the behaviour's directions: no edit along them explains more."""


@dataclass(frozen=True, eq=False)
class _Target:
    """What is to be explained, component by component."""

    extraction: Extraction
    along: tuple[Tensor, ...]
    """The part u^T dW along the directions. Per site: (n_inputs,), fp64."""
    total: float
    """Squared norm of the whole difference."""
    touched: Tensor
    """Components that the difference changes at all: (components,), bool."""

    def explained(self, right: Sequence[Tensor]) -> float:
        left = sum(float((t - a.double()).square().sum()) for t, a in zip(self.along, right, strict=True))
        return min(1.0, (self.reachable - left) / self.total)

    @property
    def reachable(self) -> float:
        return sum(float(t.square().sum()) for t in self.along)


def nearest_recipe(
    extraction: Extraction,
    along: Sequence[Tensor],
    changes: Sequence[Tensor],
    known: Sequence[EditSettings] = (),
    *,
    progress: Progress | None = None,
) -> Nearest | None:
    """The settings whose edit is nearest to a difference dW; None if every edit of this behaviour is farther than none.

    `along` is u^T dW with the extraction's directions, per site (n_inputs,); `changes` the norm of every component's
    change, per site (n_components,). `known` are settings that the difference may have been made with: they are tried
    as they are, and so are their gates (mu, size) with another gamma. Of settings that explain the same, the first of
    them is taken, then the plainest. `progress` counts what is tried. Raises Cancelled if `progress` raises it.
    """
    total = sum(float(change.double().square().sum()) for change in changes)
    touched = torch.cat([change > 0 for change in changes])
    target = _Target(extraction, tuple(t.double() for t in along), total, touched)
    if not total or not target.reachable:
        return None
    best: Nearest | None = None
    ways = _ways(target, known)
    for number, way in enumerate(ways, start=1):
        settings = way()
        if settings is not None:
            edit = build_edit(extraction, settings)
            found = Nearest(settings, edit, target.explained(edit.right), target.reachable / total)
            if found.explained > (best.explained + CLEARLY * best.possible if best else 0.0):
                best = found
        if progress is not None:
            progress(number, len(ways))
        if best is not None and best.explained > (1 - CLEARLY) * best.possible:
            break  # nothing else can explain clearly more
    return best


def _ways(target: _Target, known: Sequence[EditSettings]) -> list[Callable[[], EditSettings | None]]:
    """How settings are found, the plainest first after the known ones."""
    strength = next((one.strength for one in known if one.has_elastic_net and one.strength > 0), 1.0)
    everything = torch.ones_like(target.touched)
    gates = list(_gates(target, known))
    ways: list[Callable[[], EditSettings | None]] = [partial(_as_it_is, target, one) for one in known]
    ways.append(partial(_net_of, target, everything, strength))
    if not bool(target.touched.all()):
        ways.append(partial(_net_of, target, target.touched, strength))
    tried: dict[Gate, float] = {}
    ways += [partial(_gate_of, target, gate, tried) for gate in gates]
    ways += [partial(_sum_of_nth, target, tried, n, everything, strength) for n in range(min(N_SUMS, len(gates)))]
    return ways


def _as_it_is(target: _Target, settings: EditSettings) -> EditSettings | None:
    has_texts = target.extraction.token_inputs is not None
    return settings if has_texts or not settings.needs_texts else None


def _net_of(target: _Target, allowed: Tensor, strength: float) -> EditSettings | None:
    net = fit_net(target.extraction, target.along, allowed)
    return None if net is None else net.settings(target.extraction, strength)


def _gates(target: _Target, known: Sequence[EditSettings]) -> Iterator[Gate]:
    """Gates of gamma 1 to fit: those that are solved in advance, and the known ones."""
    inputs = target.extraction.token_inputs
    if inputs is None:
        return
    n, count = len(target.touched), int(target.touched.sum())
    sizes: list[int | None] = [None] if count > n / 2 else []  # rounding leaves some of all components as they were
    sizes += [count] if count < 0.9 * n else []
    wanted = [(mu, size) for size in sizes for mu in MUS]
    wanted += [(one.gate.mu, one.gate.size) for one in known if one.gate is not None]
    has_harmless = all(len(off) for off in inputs.off)
    for mu, size in dict.fromkeys(wanted):
        if has_harmless or not mu:
            yield Gate(1.0, mu, size)


def _gate_of(target: _Target, gate: Gate, tried: dict[Gate, float]) -> EditSettings | None:
    """The gamma of least squares; what the gate then explains is noted in `tried`."""
    a = _gate_vector(target, gate)
    own = sum(float(part.square().sum()) for part in a)
    gamma = sum(float((t * part).sum()) for t, part in zip(target.along, a, strict=True)) / own if own else 0.0
    tried[gate] = gamma * gamma * own
    return EditSettings(None, None, 0.5, gate=replace(gate, gamma=gamma)) if gamma > 1e-9 else None


def _gate_vector(target: _Target, gate: Gate) -> tuple[Tensor, ...]:
    return tuple(a.double() for a in build_edit(target.extraction, EditSettings(None, None, 0.5, gate=gate)).right)


def _sum_of_nth(
    target: _Target, tried: Mapping[Gate, float], n: int, allowed: Tensor, strength: float
) -> EditSettings | None:
    """The sum with the n-th of the gates that were tried, the one that explains most first."""
    return _sum_of(target, sorted(tried, key=lambda gate: -tried[gate])[n], allowed, strength)


def _sum_of(target: _Target, gate: Gate, allowed: Tensor, strength: float) -> EditSettings | None:
    """An elastic net and a gate together, each fitted to what the other leaves until neither moves."""
    a = _gate_vector(target, gate)
    own, gamma = sum(float(part.square().sum()) for part in a), 0.0
    net: NetFit | None = None
    for _ in range(ROUNDS):
        net = fit_net(target.extraction, [t - gamma * part for t, part in zip(target.along, a, strict=True)], allowed)
        if net is None:
            return None
        net, joint = _polished(target, net, a, own)
        moved, gamma = abs(joint - gamma), joint
        if gamma <= 1e-9:
            return None
        if moved <= 1e-9 * gamma:
            break
    assert net is not None
    settings = net.settings(target.extraction, strength)
    return replace(settings, gate=replace(gate, gamma=gamma / settings.strength))


def _polished(target: _Target, net: NetFit, a: Sequence[Tensor], own: float) -> tuple[NetFit, float]:
    """Slopes, intercept and gamma by one regression over the components that the net selects; (net, gamma).

    If that regression is no elastic net, the net stays and gamma alone is fitted.
    """
    extraction = target.extraction
    g, chosen = torch.cat(extraction.scores.g).double(), net.strengths(extraction) != 0
    wanted, given = along_keys(extraction, target.along), along_keys(extraction, a)
    columns = [torch.where(chosen & mine, g, 0.0) for kind, mine in is_kind(extraction).items() if kind in net.slopes]
    columns.append(torch.where(chosen, -g.sign(), 0.0))
    basis = torch.stack(columns)  # (kinds + 1, components)
    matrix = torch.zeros(len(basis) + 1, len(basis) + 1, dtype=torch.float64)
    matrix[:-1, :-1], matrix[-1, -1] = basis @ basis.T, own
    matrix[:-1, -1] = matrix[-1, :-1] = basis @ given
    along = sum(float((t * part).sum()) for t, part in zip(target.along, a, strict=True))
    right = torch.cat([basis @ wanted, wanted.new_tensor([along])])
    *slopes, intercept, gamma = torch.linalg.lstsq(matrix, right.unsqueeze(1)).solution.squeeze(1).tolist()
    kinds = [kind for kind in KINDS if kind in net.slopes]
    if gamma > 0 and intercept >= 0 and all(slope > 0 for slope in slopes):
        joint = NetFit(dict(zip(kinds, slopes, strict=True)), intercept, net.allowed)
        if bool(((joint.strengths(extraction) != 0) == chosen).all()):
            return joint, gamma
    lam = net.strengths(extraction)
    return net, (along - float((lam * given).sum())) / own if own else 0.0
