"""The rule of an edit in words: its formula, what a gate was fitted on, and why one component is or is not edited.

Knows sessions and the core's values; no page. Everything is plain text.
"""

from __future__ import annotations

from collections.abc import Iterator

from components.shared.session import Session
from s2e_core import Component, EditSettings, WeightEdit
from s2e_core.settings import Gate
from s2e_core.spec import KINDS, Kind

from .dials import is_on, threshold


def rule(edit: WeightEdit) -> str:
    """What the settings of an edit do, in a few sentences."""
    settings = edit.settings
    return " ".join(_rule_sentences(settings, edit.provenance.harmless))


def _rule_sentences(settings: EditSettings, harmless: str) -> Iterator[str]:
    if settings.has_elastic_net or settings.gate is None:
        kinds = "; ".join(f"{kind} {_kind_rule(settings, kind)}" for kind in KINDS)
        end = "." if settings.needs_texts else ""
        yield f"λ = strength · sign(g) · (|g| − ρα) / ρ(1−α), where |g| is above ρα: {kinds}{end}"
    if settings.gate is not None:
        yield _gate_rule(settings.gate, settings.strength, harmless)
    if settings.protect:
        yield f"Silent on the {settings.protect} strongest input directions of harmless texts ({harmless})."


def _kind_rule(settings: EditSettings, kind: Kind) -> str:
    rho, tau = settings.rho(kind), threshold(settings, kind)
    if rho is None or tau is None:
        return "off"
    return f"|g| > {tau:.3f}, gain {1 / (rho * (1 - settings.alpha)):.2f}"


def _gate_rule(gate: Gate, strength: float, harmless: str) -> str:
    amount = f"{gate.gamma * strength:.2f} times the steering vector"
    if not gate.mu:
        return f"Baked steering: the weights add {amount} at every token."
    return (
        f"Gate: the weights add {amount} where a text is about the behaviour, and little on harmless texts, here "
        f"{harmless} (μ = {gate.mu:g})."
    )


def reason(session: Session, component: Component) -> str:
    """Why a component is or is not edited."""
    selection, gate = session.settings.selection, session.settings.gate
    tau = threshold(session.settings, session.scored.scores.spec.sites[component.site].kind)
    if session.recipe:
        return "The uploaded edit decides about it."
    if component in selection.excluded:
        return "Excluded by hand."
    if gate is not None:
        return _gate_reason(session, component, gate)
    if tau is None:
        return "Components of its kind are switched off."
    if component in selection.included:
        return f"Included by hand, below the threshold {tau:.3f}."
    if is_on(session, component):
        return f"Edited: |g| is above the threshold {tau:.3f}."
    if abs(float(session.scored.scores.g[component.site][component.index])) > tau:
        return f"Above the threshold {tau:.3f}, but outside the selection."
    return f"Not edited: |g| is not above the threshold {tau:.3f}."


def _gate_reason(session: Session, component: Component, gate: Gate) -> str:
    if component in session.settings.selection.included:
        return "Included in the gate by hand."
    if is_on(session, component):
        return "Edited: part of the gate." if not session.settings.has_elastic_net else "Edited."
    if gate.size is None:
        return "Outside the selection."
    return f"Not edited: not among the {gate.size:,} components that carry most of the gate, or outside the selection."
