"""The families of edits and the dials of the gate: (session, input) to session, as pure functions.

Knows sessions and the core's edit settings; no page, no model. The dials of another family are not lost: they are in
the steps of undo, and a family that is chosen again starts from there.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Literal

from components.shared import texts
from components.shared.choices import strongest_few
from components.shared.session import Session
from s2e_core import EditSettings, SettingsError
from s2e_core.method import MUS
from s2e_core.settings import Gate

Family = Literal["elastic", "baked", "gated", "sum"]
DEFAULT_GATE = Gate(gamma=1.5, mu=10.0, size=100)
"""Dials of a gate that is switched on for the first time and that nothing is suggested for."""
NAMES = {"elastic": "elastic net", "baked": "baked steering", "gated": "gated steering"}
"""Names of the families that have suggested settings."""
LEAST_SIZE = 10
MOST_GAMMA, LEAST_GAMMA = 4.0, 0.1
MOST_PROTECT = 32
"""Ends of the sliders; they grow with a recipe that goes beyond."""
SIZE_STEPS = 1000
"""The slider of the size ends here if a model has more components, and its end stands for all of them."""


def family_of(settings: EditSettings) -> Family:
    """The choice on the page that the settings belong to."""
    if settings.gate is None:
        return "elastic"
    if settings.has_elastic_net:
        return "sum"
    return "gated" if settings.gate.mu else "baked"


def set_family(session: Session, family: Family) -> Session:
    """Another family: its suggested settings, or its dials as they were last.

    Raises SettingsError for a gate if there are no texts to fit it on.
    """
    if family == family_of(session.settings):
        return session
    if family != "elastic" and session.scored.extraction.token_inputs is None:
        raise SettingsError(texts.NO_TEXTS)
    suggestion = session.scored.suggestion(NAMES.get(family, ""))
    if suggestion is not None and all(family_of(it) != family for it in _settings(session)):
        return session.with_settings(suggestion.settings)
    net = _latest_net(session)
    if family in ("baked", "gated"):
        net = replace(net, rho_attn=None, rho_mlp=None, strength=1.0)
    return session.with_settings(
        replace(
            session.settings, rho_attn=net.rho_attn, rho_mlp=net.rho_mlp, alpha=net.alpha, strength=net.strength,
            gate=_latest_gate(session, family), protect=0 if family == "elastic" else session.settings.protect,
        )
    )  # fmt: skip


def set_gamma(session: Session, gamma: float) -> Session:
    return _with_gate(session, replace(_gate(session), gamma=gamma), dial="gamma")


def set_mu(session: Session, mu: float) -> Session:
    return _with_gate(session, replace(_gate(session), mu=mu), dial="mu")


def set_size(session: Session, size: float) -> Session:
    """Also ends a restriction to hand-picked components, as a count does; the end of the slider means all."""
    everything = size >= most_size(session)
    gate = replace(_gate(session), size=None if everything else int(size))
    selection = replace(session.settings.selection, only=None)
    return session.with_settings(replace(session.settings, gate=gate, selection=selection), dial="size")


def set_protect(session: Session, protect: float) -> Session:
    return session.with_settings(replace(session.settings, protect=int(protect)), dial="protect")


def most_size(session: Session) -> int:
    """End of the slider of the size, which stands for all components."""
    gate, spec = session.settings.gate, session.scored.extraction.spec
    size = (gate.size if gate is not None else None) or 0
    total = sum(site.n_components for site in spec.sites)
    return min(total, max(SIZE_STEPS, 2 * size)) if total > LEAST_SIZE else LEAST_SIZE + 1


def mu_choices(settings: EditSettings) -> list[tuple[str, float]]:
    """The strictness that is solved in advance, and the one of the settings; 0 is a family of its own without a net."""
    gate = settings.gate or DEFAULT_GATE
    known = MUS if settings.has_elastic_net else MUS[1:]
    return [(f"{mu:g}", mu) for mu in sorted({*known, gate.mu})]


def _with_gate(session: Session, gate: Gate, *, dial: str) -> Session:
    return session.with_settings(replace(session.settings, gate=gate), dial=dial)


def _gate(session: Session) -> Gate:
    if session.settings.gate is None:
        raise SettingsError(texts.NO_GATE)
    return session.settings.gate


def _latest_net(session: Session) -> EditSettings:
    """The settings that had an elastic net last, else suggested ones, else a few of the strongest components."""
    suggestion = session.scored.suggestion(NAMES["elastic"])
    suggested = [session.suggested, *([suggestion.settings] if suggestion else [])]
    known = (it for it in (*_settings(session), *suggested) if it.has_elastic_net)
    return next(known, None) or strongest_few(session.scored)


def _latest_gate(session: Session, family: Family) -> Gate | None:
    """The gate of a family as it was last, else the suggested one, else a gate with the dials of another family."""
    if family == "elastic":
        return None
    baked = family == "baked"
    gates = [it.gate for it in _settings(session) if it.gate is not None]
    suggestion = session.scored.suggestion(NAMES["baked" if baked else "gated"])
    known = [gate for gate in gates if (gate.mu == 0) == baked]
    if known:
        return known[0]
    if suggestion is not None:
        return suggestion.settings.gate
    return replace(gates[0] if gates else DEFAULT_GATE, mu=0.0 if baked else DEFAULT_GATE.mu)


def _settings(session: Session) -> Iterator[EditSettings]:
    """The settings now and before, latest first."""
    yield session.settings
    yield from (step.settings for step in reversed(session.past))
