"""What the dials and the selection do: (session, input) to session, as pure functions.

Knows sessions and the core's edit settings; no page, no model. The plain dials (how many, how strong) and the paper's
(rho, alpha) are two views of the same settings: a count is turned into the rho that lets exactly so many pass.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from types import MappingProxyType

from components.shared.session import Session
from s2e_core import Component, EditSettings, Selection, SettingsError
from s2e_core.method import edited_mask, rho_for_count
from s2e_core.spec import Kind

DEFAULT_COUNT = 10
"""Components of a kind that is switched on and has no rho to go back to."""


def threshold(settings: EditSettings, kind: Kind) -> float | None:
    """tau = rho * alpha, which |g| must exceed; None where the kind is off."""
    rho = settings.rho(kind)
    return None if rho is None else rho * settings.alpha


def count_above(session: Session, kind: Kind) -> int:
    """Components of a kind whose |g| is above the threshold, whatever was chosen by hand."""
    tau = threshold(session.settings, kind)
    if tau is None:
        return 0
    scores = session.scored.scores
    return sum(int((scores.g[i].abs() > tau).sum()) for i in scores.spec.of_kind(kind))


def set_count(session: Session, kind: Kind, count: float) -> Session:
    """Let exactly the `count` strongest of a kind pass; 0 switches the kind off."""
    alpha = session.settings.alpha
    rho = rho_for_count(session.scored.scores, kind, int(count), alpha) if count >= 1 else None
    return set_rho(session, kind, rho, dial=f"count {kind}")


def set_rho(session: Session, kind: Kind, rho: float | None, *, dial: str = "") -> Session:
    """Also ends a restriction to hand-picked components: a slider that moves must show an effect."""
    settings = _with_rho(session.settings, kind, rho)
    unrestricted = replace(settings, selection=replace(settings.selection, only=None))
    return session.with_settings(unrestricted, dial=dial or f"rho {kind}")


def set_kind(session: Session, kind: Kind, on: bool) -> Session:
    """Switch all heads or all neurons on or off; on returns to the suggested rho."""
    if on == (session.settings.rho(kind) is not None):
        return session
    return set_rho(session, kind, _usual_rho(session, kind) if on else None, dial=f"switch {kind}")


def only_kind(session: Session, kind: Kind) -> Session:
    """Edit heads alone or neurons alone."""
    other: Kind = "neurons" if kind == "heads" else "heads"
    settings = session.settings
    if settings.has_elastic_net or settings.gate is None:
        rho = settings.rho(kind)
        settings = _with_rho(settings, kind, _usual_rho(session, kind) if rho is None else rho)
        settings = _with_rho(settings, other, None)
    selection = replace(settings.selection, only=None)
    if settings.gate is not None:
        selection = _of_kind(session, kind, selection)
    return session.with_settings(replace(settings, selection=selection))


def _of_kind(session: Session, kind: Kind, selection: Selection) -> Selection:
    """The selection for a gate, which has no rho that switches a kind off: named are the heads, which are few."""
    spec = session.scored.scores.spec
    heads = frozenset(Component(i, n) for i in spec.of_kind("heads") for n in range(spec.sites[i].n_components))
    if kind == "heads":
        return replace(selection, only=heads, included=selection.included & heads, excluded=frozenset())
    return replace(selection, included=selection.included - heads, excluded=selection.excluded | heads)


def _usual_rho(session: Session, kind: Kind) -> float:
    """The suggested rho, or the one that lets a few components pass where none is suggested."""
    suggested = session.suggested.rho(kind)
    if suggested is not None:
        return suggested
    return rho_for_count(session.scored.scores, kind, DEFAULT_COUNT, max(session.settings.alpha, 0.05))


def set_alpha(session: Session, alpha: float) -> Session:
    return session.with_settings(replace(session.settings, alpha=alpha), dial="alpha")


def set_strength(session: Session, strength: float) -> Session:
    return session.with_settings(replace(session.settings, strength=strength), dial="strength")


def set_component_strength(session: Session, factor: float) -> Session:
    """A further multiplier of the component in the inspector."""
    strengths = {**session.settings.strengths, _focus(session): factor}
    settings = replace(session.settings, strengths=MappingProxyType(strengths))
    return session.with_settings(settings, dial=f"strength {session.focus}")


def is_on(session: Session, component: Component) -> bool:
    """Whether the settings select the component, whatever its strength."""
    return all_on(session, [component])


def all_on(session: Session, components: Iterable[Component]) -> bool:
    """Whether the settings select every one of the components."""
    mask = edited_mask(session.scored.extraction, session.settings)
    return all(bool(mask[site][index]) for site, index in components)


def switch(session: Session, components: Iterable[Component], on: bool) -> Session:
    """Include or exclude components by hand; what the threshold says of them anyway needs no entry."""
    components = frozenset(components)
    settings = _with_kinds_on(session, components) if on else session.settings
    selection = settings.selection
    bare = replace(selection, included=selection.included - components, excluded=selection.excluded - components)
    mask = edited_mask(session.scored.extraction, replace(settings, selection=bare))
    exceptions = frozenset(c for c in components if bool(mask[c.site][c.index]) != on)
    if on:
        chosen = replace(bare, included=bare.included | exceptions)
    else:
        chosen = replace(bare, excluded=bare.excluded | exceptions)
    return session.with_settings(replace(settings, selection=chosen)).with_focus(_last(session, components))


def toggle(session: Session, components: Iterable[Component]) -> Session:
    """Switch a group on, or off where every one of them is on already."""
    components = tuple(components)
    if not components:
        return session
    return switch(session, components, not all_on(session, components))


def toggle_focus(session: Session) -> Session:
    """Include or exclude the component in the inspector."""
    return toggle(session, [_focus(session)])


def keep_focus(session: Session) -> Session:
    """Edit the component in the inspector and nothing else."""
    focus = _focus(session)
    settings = _with_kinds_on(session, [focus])
    selection = Selection(only=frozenset(), included=frozenset({focus}))
    return session.with_settings(replace(settings, selection=selection)).with_focus(focus)


def select_all(session: Session) -> Session:
    """Everything above the threshold, nothing by hand, all layers."""
    return _select(session, Selection())


def select_none(session: Session) -> Session:
    return _select(session, Selection(only=frozenset()))


def set_layers(session: Session, first: float, last: float) -> Session:
    """Restrict the components above the threshold to a range of layers, given in either order."""
    low, high = sorted((int(first), int(last)))
    everything = low <= 0 and high >= session.scored.scores.spec.n_layers - 1
    selection = replace(session.settings.selection, layers=None if everything else (low, high))
    return session.with_settings(replace(session.settings, selection=selection), dial="layers")


def _select(session: Session, selection: Selection) -> Session:
    return session.with_settings(replace(session.settings, selection=selection))


def _with_kinds_on(session: Session, components: Iterable[Component]) -> EditSettings:
    """Kinds that were off come on at a threshold that none passes, so that a click edits what was clicked alone.

    A gate takes what is included whatever the kind, and needs no elastic net.
    """
    sites, settings = session.scored.scores.spec.sites, session.settings
    if settings.gate is not None:
        return settings
    for kind in {sites[component.site].kind for component in components}:
        if settings.rho(kind) is None:
            rho = rho_for_count(session.scored.scores, kind, 0, settings.alpha)
            settings = _with_rho(settings, kind, rho)
    return settings


def _with_rho(settings: EditSettings, kind: Kind, rho: float | None) -> EditSettings:
    return replace(settings, rho_attn=rho) if kind == "heads" else replace(settings, rho_mlp=rho)


def _focus(session: Session) -> Component:
    if session.focus is None:
        raise SettingsError("No component is chosen. Click a head or a neuron in the heatmaps first.")
    return session.focus


def _last(session: Session, components: frozenset[Component]) -> Component | None:
    """The component to show in the inspector after a click; a group leaves the inspector as it is."""
    return next(iter(components)) if len(components) == 1 else session.focus
