"""Sessions with other settings, as a tab makes them with its dials. Knows the core's settings; no page."""

from __future__ import annotations

from dataclasses import replace

from components.shared.session import Session
from s2e_core import Selection
from s2e_core.method import rho_for_count
from s2e_core.spec import Kind


def with_strength(session: Session, strength: float) -> Session:
    return session.with_settings(replace(session.settings, strength=strength))


def with_count(session: Session, kind: Kind, count: int) -> Session:
    """Exactly the `count` strongest components of a kind are above the threshold."""
    settings = session.settings
    rho = rho_for_count(session.scored.scores, kind, count, settings.alpha)
    return session.with_settings(
        replace(settings, rho_attn=rho) if kind == "heads" else replace(settings, rho_mlp=rho)
    )  # fmt: skip


def with_nothing_edited(session: Session) -> Session:
    return session.with_settings(replace(session.settings, selection=Selection(only=frozenset())))
