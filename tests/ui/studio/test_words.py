"""The figures and sentences about an edit and about one component, as words.js forms them from facts and settings."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import pytest
import torch
from playwright.sync_api import Browser

from components.shared.choices import Choice, opened
from components.shared.session import Brought, Session
from components.studio.facts import facts, solved
from s2e_core import Component, EditSettings, Selection
from s2e_core.method import edited_mask, mean_firing
from s2e_core.model import component_name
from s2e_core.settings import Gate
from s2e_core.settings_json import settings_to_json
from tests.ui.edits import with_count, with_nothing_edited, with_strength
from tests.ui.running import first_session, shared_store
from tests.ui.studio.in_chromium import Modules, modules

FIRST = Component(0, 0)
GATED = EditSettings(None, None, 0.5, gate=Gate(1.5, 10.0, 100))
SAID = """
const {sent, settings, file, solved, number} = value, w = m.words;
const edit = solved ? m.solved.unpack(facts, solved) : m.method.elasticNet(facts, settings);
return {figures: w.figures(facts, edit, file), ...w.verdict(facts, settings, edit, file),
    rule: w.rule(settings, edit.harmless || 'the harmless texts'), title: w.title(facts, number),
    reason: w.reason(facts, settings, edit, file, number), rows: w.cardRows(facts, edit, file, number)};
"""


@pytest.fixture(scope="module")
def js(browser: Browser) -> Iterator[Modules]:
    with modules(browser) as opened_:
        yield opened_


def number_of(session: Session, component: Component) -> int:
    """Its global number in the tab."""
    before = session.edit.spec.sites[: component.site]
    return sum(site.n_components for site in before) + component.index


def said(js: Modules, session: Session, component: Component = FIRST) -> Mapping[str, Any]:
    """What the page says of a session and of one of its components."""
    js.load(facts(session, 100))
    brought = session.brought
    file = brought and {"name": brought.name, "key": brought.key, "here": session.made_here(brought.edit)}
    asks = session.settings.needs_texts or brought is not None
    told: dict[str, Any] = js.call(
        SAID,
        {
            "settings": settings_to_json(session.settings), "file": file, "solved": solved(session) if asks else None,
            "number": number_of(session, component),
        },
    )  # fmt: skip
    return told


def plain(text: str) -> str:
    return text.replace("\N{MINUS SIGN}", "-")


def with_settings(**changes: Any) -> Session:
    start = first_session()
    return start.with_settings(replace(start.settings, **changes))


def gated(**changes: Any) -> Session:
    return first_session().with_settings(replace(GATED, **changes))


def on(session: Session) -> set[Component]:
    masks = edited_mask(session.scored.extraction, session.settings)
    return {Component(site, i) for site, mask in enumerate(masks) for i in mask.nonzero().flatten().tolist()}


# ---- the edit --------------------------------------------------------------------------------------------------------


def test_the_figures_are_counts_the_size_and_what_chance_would_hardly_reach(js: Modules) -> None:
    session = with_count(first_session(), "neurons", 12)
    level = 3 / math.sqrt(session.edit.spec.d_model)
    pairs = list(zip(session.edit.strength, session.scored.scores.g, strict=True))
    beyond = sum(int(((strength != 0) & (g.abs() > level)).sum()) for strength, g in pairs)
    heads = session.edit.count("heads")
    figures = said(js, session)["figures"]
    assert [each["number"] for each in figures[:2]] == [f"{heads:,}", "12"]
    assert figures[2]["number"].endswith("%") and figures[3]["number"] == f"{beyond:,} / {heads + 12:,}"
    assert f"|g| > {level:.2f}" in figures[3]["label"]


def test_a_large_edit_is_called_large_and_a_small_one_is_not(js: Modules) -> None:
    small, large = (with_settings(rho_mlp=0.2, strength=strength) for strength in (0.01, 3.0))
    assert "A large edit" in said(js, large)["sentence"] and said(js, large)["level"] == "warning"
    assert "A large edit" not in said(js, small)["sentence"] and said(js, small)["level"] == "calm"


def test_a_large_edit_that_is_suggested_is_no_alarm(js: Modules) -> None:
    store = shared_store()
    behavior = store.behavior("truthfulness")
    scored = store.scored(store.first_model, behavior.contrast, behavior)
    suggested = opened(store, Choice(store.first_model, behavior.name), scored)
    told = said(js, suggested)
    assert "A large edit, and chosen so" in told["sentence"] and told["level"] == "note"
    assert said(js, with_strength(suggested, suggested.settings.strength + 0.05))["level"] == "warning"


def test_a_gate_is_not_called_large_for_its_weights(js: Modules) -> None:
    told = said(js, gated(gate=Gate(4.0, 10.0, 100)))
    assert "large edit" not in told["sentence"] and told["level"] == "calm"
    assert "A large edit" in said(js, with_strength(first_session(), 30.0))["sentence"]


def test_an_empty_edit_says_what_to_do_about_it(js: Modules) -> None:
    for session, remedy in (
        (with_strength(first_session(), 0), "Raise the strength"),
        (with_nothing_edited(first_session()), "Click a head"),
        (with_settings(rho_attn=None, rho_mlp=None), "Raise a count"),
        (gated(selection=Selection(excluded=frozenset(on(gated())))), "Press All above threshold"),
        (gated(selection=Selection(only=frozenset())), "Click a head"),
    ):
        told = said(js, session)
        assert told["sentence"].startswith("Nothing is edited") and remedy in told["sentence"]
        assert [each["number"] for each in told["figures"][:2]] == ["0", "0"]


def test_the_suggestion_of_a_family_says_how_it_was_made_until_it_is_changed(js: Modules) -> None:
    for family in ("elastic net", "baked steering", "gated steering"):
        suggestion = first_session().scored.suggestion(family)
        assert suggestion is not None
        session = first_session().with_settings(suggestion.settings)
        assert "harmless texts is at most 0.05 nats a token" in said(js, session)["sentence"]
        moved = with_strength(session, 0.93)
        assert "harmless texts is at most" not in said(js, moved)["sentence"]


def test_an_uploaded_edit_says_so_and_what_to_do(js: Modules) -> None:
    session = first_session()
    foreign = replace(session.edit, provenance=replace(session.edit.provenance, contrast_hash="another"))
    told = said(js, session.with_brought(Brought("pack.pt", "k", foreign)))
    assert told["sentence"].startswith("The finished edit you uploaded (pack.pt); move a dial")
    assert told["reason"] == "The uploaded edit decides about it." and len(told["figures"]) == 3
    here = said(js, session.with_brought(Brought("mine.safetensors", "k", session.edit)))
    assert len(here["figures"]) == 4, "its scores are those on the page"


# ---- its rule --------------------------------------------------------------------------------------------------------


def test_the_rule_says_threshold_and_gain(js: Modules) -> None:
    told = said(js, with_settings(rho_mlp=0.8, rho_attn=None, alpha=0.5))["rule"]
    assert "heads off; neurons |g| > 0.400, gain 2.50" in told


def test_the_rule_says_what_a_gate_does_and_what_it_was_fitted_on(js: Modules) -> None:
    rule = said(js, gated())["rule"]
    assert "1.50 times the steering vector" in rule and "μ = 10" in rule and "ρα" not in rule
    assert "utility prompts of safety" in rule
    assert "3.00 times the steering vector" in said(js, gated(strength=2.0))["rule"]
    baked = said(js, gated(gate=Gate(0.5)))["rule"]
    assert "0.50 times the steering vector at every token" in baked and "harmless" not in baked
    both = said(js, with_settings(gate=Gate(1.5, 10.0)))["rule"]
    assert "where |g| is above" in both and "Gate:" in both
    assert "Silent on the 8 strongest input directions" in said(js, gated(protect=8))["rule"]


# ---- one component ---------------------------------------------------------------------------------------------------


def strongest(session: Session) -> Component:
    """The component with the largest |lambda|."""
    site = max(range(len(session.edit.strength)), key=lambda i: float(session.edit.strength[i].abs().max()))
    return Component(site, int(session.edit.strength[site].abs().argmax()))


def test_a_component_is_named_and_has_the_figures_of_the_core(js: Modules) -> None:
    session = first_session()
    component = strongest(session)
    site, i = component
    told = said(js, session, component)
    spec = session.edit.spec
    assert told["title"].lower() == f"{component_name(spec, component)} of layer {spec.sites[site].layer}".lower()
    rows = {name: plain(value) for name, value, _ in told["rows"]}
    g, lam = float(session.scored.scores.g[site][i]), float(session.edit.strength[site][i])
    assert rows["g"] == f"{g:+.3f}" and rows["λ"] == f"{lam:+.3f}"
    assert rows["mean contribution"] == f"{float(session.scored.scores.contributions[site][i]):+.4f}"
    notes = {name: note for name, _, note in told["rows"]}
    assert ("for" if g > 0 else "against") in notes["g"] and f"{abs(g) * spec.d_model**0.5:.1f}" in notes["g"]
    assert notes["λ"] == ("amplifies a helper" if lam > 0 else "weakens an opponent")


def test_the_reason_why_a_component_is_edited_or_not(js: Modules) -> None:
    session = with_count(first_session(), "neurons", 10)
    inside = strongest(with_settings(rho_attn=None))
    outside = next(c for c in (Component(inside.site, n) for n in range(500)) if c not in on(session))
    selections = {
        "Edited: |g| is above the threshold": (inside, Selection()),
        "Not edited: |g| is not above": (outside, Selection()),
        "Added by hand, below the threshold": (outside, Selection(included=frozenset({outside}))),
        "Left out by hand": (inside, Selection(excluded=frozenset({inside}))),
        "but outside the selection": (inside, Selection(only=frozenset())),
    }
    for reason, (component, selection) in selections.items():
        changed = session.with_settings(replace(session.settings, selection=selection))
        assert reason in said(js, changed, component)["reason"]
    off = session.with_settings(replace(session.settings, rho_mlp=None))
    assert said(js, off, inside)["reason"] == "Components of its kind are switched off."


def test_the_reason_under_a_gate_and_when_a_component_acts(js: Modules) -> None:
    session = gated()
    inside, outside = max(on(session)), next(c for c in (Component(0, n) for n in range(8)) if c not in on(session))
    told = said(js, session, inside)
    assert "part of the gate" in told["reason"] and "not among the 100" in said(js, session, outside)["reason"]
    added = gated(selection=Selection(included=frozenset({outside})))
    assert "by hand" in said(js, added, outside)["reason"]
    left_out = gated(selection=Selection(excluded=frozenset({inside})))
    assert "by hand" in said(js, left_out, inside)["reason"]
    inputs = session.scored.extraction.token_inputs
    assert inputs is not None
    first, second = (float(side[inside.index]) for side in mean_firing(inputs, session.edit.right)[inside.site])
    rows = {name: plain(value) for name, value, _ in told["rows"]}
    assert rows["when"] == f"{first:+.4f} / {second:+.4f}"
    assert "when" not in {name for name, *_ in said(js, first_session(), inside)["rows"]}


def test_nothing_edited_reads_as_zero_and_never_as_minus_zero(js: Modules) -> None:
    opponents = (torch.cat(first_session().scored.scores.g) < 0).nonzero().flatten().tolist()
    sizes = [site.n_components for site in first_session().edit.spec.sites]
    assert opponents[0] < sizes[0]
    for session in (with_nothing_edited(first_session()), with_strength(first_session(), 0)):
        rows = {name: (value, note) for name, value, note in said(js, session, Component(0, opponents[0]))["rows"]}
        value, note = rows["λ"]
        assert float(plain(value)) == 0 and "-" not in plain(value) and note == "not edited"
