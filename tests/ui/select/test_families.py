"""The families of edits as functions of a session, and what the hand does to a gate; one visitor who uses them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from components.select.readouts import inspector, summary
from components.select.table import COLUMNS, ranked_table
from playwright.sync_api import Page, expect

from components.page.view import page_view, whole_view
from components.select import dials, families, presets
from components.shared import texts
from components.shared.session import OWN, Session
from s2e_core import Component, ContrastSet, EditSettings, Example, SettingsError, load_edit, save_edit, swapped
from s2e_core.data import contrast_set
from s2e_core.method import edited_mask, mean_firing
from s2e_core.settings import Gate
from tests.ui.browser import PATIENCE, settled
from tests.ui.page.test_journey import arrive, figures, rest, set_slider
from tests.ui.running import first_session, running_app, shared_store

GATES = ("baked", "gated", "sum")


def of_family(family: families.Family) -> Session:
    return families.set_family(first_session(), family)


def sized(family: families.Family) -> Session:
    """A gate of 100 components, so that there are others to add by hand."""
    return families.set_size(of_family(family), 100)


def gate_of(session: Session) -> Gate:
    assert session.settings.gate is not None
    return session.settings.gate


def without_texts() -> Session:
    """As after directions from a file."""
    session = first_session()
    return replace(
        session, scored=replace(session.scored, extraction=replace(session.scored.extraction, token_inputs=None))
    )


def on(session: Session) -> set[Component]:
    masks = edited_mask(session.scored.extraction, session.settings)
    return {Component(site, i) for site, mask in enumerate(masks) for i in mask.nonzero().flatten().tolist()}


# ---- the choice of a family -----------------------------------------------------------------------------------------


def suggested(family: str) -> EditSettings:
    suggestion = first_session().scored.suggestion(family)
    assert suggestion is not None
    return suggestion.settings


def without_suggestions(session: Session) -> Session:
    return replace(session, scored=replace(session.scored, suggestions=()))


def test_every_family_starts_from_its_suggestion_and_is_one_step_of_undo() -> None:
    gates = {"baked": "baked steering", "gated": "gated steering", "sum": "gated steering"}
    for family, name in gates.items():
        session = of_family(family)  # type: ignore[arg-type]
        assert session.settings.gate is suggested(name).gate
        assert families.family_of(session.settings) == family
        assert session.settings.has_elastic_net == (family == "sum")
        assert session.undo().settings is first_session().settings
        assert len(on(session)) == session.edit.count("heads") + session.edit.count("neurons") > 0
    baked = families.set_family(of_family("gated"), "baked")
    assert baked.settings is suggested("baked steering"), "the dials of a gate say nothing of baked steering"


def test_a_family_without_a_suggestion_starts_from_usual_dials() -> None:
    for family, mu in (("baked", 0.0), ("gated", 10.0), ("sum", 10.0)):
        made = families.set_family(without_suggestions(first_session()), family).settings  # type: ignore[arg-type]
        assert made.gate is not None and (made.gate.gamma, made.gate.mu, made.gate.size) == (1.5, mu, 100)
    gate = replace(first_session().settings, rho_attn=None, rho_mlp=None, gate=Gate(1.0))
    fresh = Session.start("Bundled demo model", "safety", first_session().scored, gate)
    assert families.set_family(fresh, "elastic").settings is suggested("elastic net")
    net = families.set_family(without_suggestions(fresh), "elastic")
    assert net.settings.has_elastic_net and not net.edit.is_empty


def test_the_presets_offer_the_suggestion_of_every_family_once() -> None:
    session = first_session()
    names = page_view(session)["preset"]["choices"]
    for family in ("elastic net", "baked steering", "gated steering"):
        (name,) = (each for each in names if each.startswith(f"Suggested: {family} (KL "))
        chosen = presets.set_preset(dials.select_none(session), name)
        assert chosen.settings is suggested(family) and page_view(chosen)["preset"]["value"] == name
        assert "at most 0.05 nats a token and no more than that of steering with γ = 0.5; here" in summary(chosen)
    assert names[0] == page_view(session)["preset"]["value"] == texts.SUGGESTED and names[-1] == texts.BY_HAND
    start = Session.start(session.model, session.behavior, session.scored, suggested("gated steering"))
    view = page_view(start)["preset"]
    assert texts.SUGGESTED not in view["choices"] and view["value"].startswith("Suggested: gated steering")
    assert "harmless texts is at most" not in summary(session)


def test_a_gate_is_not_called_large_for_its_weights() -> None:
    strong = families.set_gamma(of_family("gated"), 4.0)
    assert "large edit" not in summary(strong) and "verdict calm" in summary(strong)
    net = dials.set_strength(first_session(), 30.0)
    assert "A large edit" in summary(net)


def test_a_family_that_is_chosen_again_has_its_dials_as_they_were() -> None:
    net = dials.set_alpha(dials.set_strength(first_session(), 0.7), 0.3)
    gated = families.set_gamma(families.set_mu(families.set_family(net, "gated"), 3.0), 0.6)
    assert gated.settings.strength == 1.0  # a hidden dial must not weaken the gate
    back = families.set_family(families.set_family(gated, "baked"), "elastic")
    assert (back.settings.rho_mlp, back.settings.alpha, back.settings.strength) == (
        net.settings.rho_mlp, 0.3, 0.7,
    )  # fmt: skip
    assert back.settings.gate is None
    again = families.set_family(back, "sum").settings.gate
    assert again is not None and (again.gamma, again.mu) == (0.6, 3.0)


def test_every_dial_of_a_gate_changes_the_edit() -> None:
    session = of_family("gated")
    for change in (
        lambda s: families.set_gamma(s, 2.0),
        lambda s: families.set_mu(s, 0.1),
        lambda s: families.set_size(s, 40),
        lambda s: families.set_protect(s, 8),
    ):
        changed = change(session)
        pairs = zip(changed.edit.right, session.edit.right, strict=True)
        assert not all(torch.equal(a, b) for a, b in pairs) and changed.undo().settings is session.settings


def test_the_end_of_the_size_means_all_components_and_a_size_ends_a_choice_by_hand() -> None:
    session = of_family("gated")
    everything = families.set_size(session, families.most_size(session))
    assert everything.settings.gate is not None and everything.settings.gate.size is None
    assert len(on(everything)) == sum(site.n_components for site in session.edit.spec.sites)
    assert len(on(families.set_size(dials.select_none(session), 25))) == 25


def test_directions_without_texts_say_in_a_sentence_that_they_have_no_gate() -> None:
    session = without_texts()
    with pytest.raises(SettingsError, match="fitted on texts"):
        families.set_family(session, "gated")
    view = whole_view(shared_store(), session, "all", "stored")
    assert "when" not in [value for _, value in view["color"]["choices"]]
    assert list(view["table"].columns) == list(COLUMNS) and "harmless" not in inspector(session)


# ---- by hand --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("family", GATES)
def test_a_click_changes_the_clicked_components_and_no_other(family: families.Family) -> None:
    session = sized(family)
    before = on(session)
    scores = session.scored.scores
    heads = {Component(i, n) for i in scores.spec.of_kind("heads") for n in range(scores.spec.sites[i].n_components)}
    some_on, some_off = sorted(before & heads)[:3], sorted(heads - before)[:3]
    assert len(some_on) == len(some_off) == 3
    assert on(dials.switch(session, some_off, True)) == before | set(some_off)
    assert on(dials.switch(session, some_on, False)) == before - set(some_on)
    both = [*some_on, *some_off]
    assert on(dials.toggle(session, both)) == before | set(both)
    back = dials.toggle(dials.toggle(session, [some_off[0]]), [some_off[0]])
    assert on(back) == before


@pytest.mark.parametrize("family", ["baked", "gated"])
def test_no_click_adds_an_elastic_net_to_a_gate(family: families.Family) -> None:
    session = sized(family)
    outside = next(Component(0, n) for n in range(8) if Component(0, n) not in on(session))
    kept = dials.keep_focus(session.with_focus(outside))
    assert on(kept) == {outside} and not kept.settings.has_elastic_net and not kept.edit.is_empty
    for changed in (
        dials.switch(session, [outside], True), dials.only_kind(session, "heads"), dials.select_none(session),
        dials.set_layers(session, 2, 3),
    ):  # fmt: skip
        assert families.family_of(changed.settings) == family


@pytest.mark.parametrize("family", GATES)
def test_one_kind_and_a_range_of_layers_hold_for_a_gate(family: families.Family) -> None:
    session = of_family(family)
    heads, neurons = dials.only_kind(session, "heads"), dials.only_kind(session, "neurons")
    assert heads.edit.count("heads") and not heads.edit.count("neurons")
    assert neurons.edit.count("neurons") and not neurons.edit.count("heads")
    assert dials.only_kind(neurons, "heads").edit.count("heads") == heads.edit.count("heads")
    layers = {session.edit.spec.sites[i].layer for i in dials.set_layers(session, 2, 3).edit.edited_sites()}
    assert layers <= {2, 3} and layers


# ---- what is said ---------------------------------------------------------------------------------------------------


def test_the_summary_says_what_a_gate_does_and_what_it_was_fitted_on() -> None:
    gated = summary(of_family("gated"))
    assert f"{gate_of(of_family('gated')).gamma:.2f} times the steering vector" in gated and "μ = 10" in gated
    assert "utility prompts of safety" in gated and "ρα" not in gated
    baked = summary(families.set_gamma(of_family("baked"), 0.5))
    assert "at every token" in baked and "harmless" not in baked
    assert "where |g| is above" in summary(of_family("sum")) and "Gate:" in summary(of_family("sum"))
    assert "8 strongest input directions" in summary(families.set_protect(of_family("baked"), 8))


def test_the_inspector_says_why_a_component_belongs_to_a_gate_and_when_it_acts() -> None:
    session = sized("gated")
    inside = max(on(session))
    outside = next(c for c in (Component(0, n) for n in range(8)) if c not in on(session))
    assert "part of the gate" in inspector(session.with_focus(inside))
    assert "not among the 100" in inspector(session.with_focus(outside))
    added = dials.switch(session, [outside], True)
    assert "by hand" in inspector(added) and "by hand" in inspector(dials.switch(session, [inside], False))
    inputs = session.scored.extraction.token_inputs
    assert inputs is not None
    acts = mean_firing(inputs, session.edit.right)[inside.site]
    first, second = (float(side[inside.index]) for side in acts)
    assert f"{first:+.4f} / {second:+.4f}" in inspector(session.with_focus(inside))
    table = ranked_table(session.with_focus(inside), "all", 3000)
    assert table["adds on harmless"].abs().sum() > 0


def test_the_page_shows_the_dials_of_the_family_alone() -> None:
    net = {"heads_count", "neurons_count", "rho_attn", "rho_mlp", "alpha", "heads_on", "neurons_on"}
    gate = {"gate_gamma", "gate_mu", "gate_size", "protect"}
    shown = {"elastic": net, "baked": gate - {"gate_mu"}, "gated": gate, "sum": net | gate}
    for family, names in shown.items():
        view = page_view(of_family(family))  # type: ignore[arg-type]
        assert {name for name in net | gate if view[name]["visible"] is True} == names
        assert isinstance(view["strength"], float)  # it multiplies every family


def test_a_recipe_of_a_gate_sets_its_dials_whatever_they_are(tmp_path: Path) -> None:
    session = first_session()
    made = session.with_settings(EditSettings(None, None, 0.5, gate=Gate(6.0, 5.0, 1500), protect=40))
    loaded = session.with_recipe(load_edit(save_edit(made.edit, tmp_path / "gate.safetensors")), "gate.safetensors")
    view = page_view(loaded)
    assert (view["gate_gamma"]["value"], view["gate_mu"]["value"], view["gate_size"]["value"]) == (6.0, 5.0, 1500)
    assert view["gate_gamma"]["maximum"] >= 6 and view["protect"]["maximum"] >= 40 and view["family"] == "gated"
    assert 5.0 in [value for _, value in view["gate_mu"]["choices"]]


# ---- the store ------------------------------------------------------------------------------------------------------


def test_the_other_order_of_a_behaviour_has_the_same_texts_and_suggestions_of_its_own() -> None:
    store, session = shared_store(), first_session()
    behavior = store.behavior_list[0]
    turned = store.scored(store.first_model, swapped(behavior.contrast), behavior)
    assert turned.extraction.token_inputs is session.scored.extraction.token_inputs
    assert turned.suggestions and turned.suggestions is not session.scored.suggestions


def own_examples(*prompts: str) -> ContrastSet:
    return contrast_set([Example(p, "Glad.") for p in prompts], [Example("b", "Sad.")], name=OWN)


def test_own_examples_are_fitted_on_their_own_prompts_and_neutral_ones() -> None:
    store = shared_store()
    inputs = store.scored(store.first_model, own_examples("Veldor?", "", "Zelka?")).extraction.token_inputs
    assert inputs is not None and "neutral" in inputs.harmless and len(inputs.off[0]) > 0
    turned = store.scored(store.first_model, swapped(own_examples("Veldor?", "", "Zelka?"))).extraction.token_inputs
    assert turned is not None and turned is not inputs  # the other side has other prompts


def test_a_behaviour_without_utility_prompts_is_treated_as_own_examples() -> None:
    store = shared_store()
    behavior = replace(store.behavior_list[0], utility=())
    few = own_examples("How are you?", "Who are you?")
    inputs = store.scored(store.first_model, few, behavior).extraction.token_inputs
    assert inputs is not None and "neutral" in inputs.harmless
    named = store.scored(store.first_model, few, store.behavior_list[0]).extraction.token_inputs
    assert named is not None and "utility prompts" in named.harmless  # texts belong to what is kept


def test_extractions_are_forgotten_when_their_gates_take_too_much_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    store = shared_store()
    kept = replace(store, limits=replace(store.limits, scored_megabytes=1))
    monkeypatch.setattr(kept, "_scored", kept._scored.copy())
    kept.scored(store.first_model, own_examples("Who is Zelka?"))
    assert len(kept._scored) == 1


# ---- a visitor ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    with running_app(shared_store()) as url:
        yield url


def choose_family(page: Page, name: str) -> None:
    page.click("#family input")
    page.get_by_role("option", name=name, exact=True).click()
    rest(page)


def number(page: Page, name: str) -> float:
    return float(page.input_value(f"#{name} input[type=number]"))


def test_a_gate_is_chosen_moved_compared_taken_home_and_brought_back(page: Page, address: str, tmp_path: Path) -> None:
    arrive(page, address)
    choose_family(page, "Gated steering")
    gated = of_family("gated")
    edited, size = len(on(gated)), page_view(gated)["gate_size"]["value"]
    assert sum(figures(page)) == edited and not page.is_visible("#heads-count") and page.is_visible("#gate-mu")
    set_slider(page, "gate-gamma", 2.5)
    rest(page)
    assert "2.50 times the steering vector" in page.inner_text("#summary")
    page.get_by_label("when it acts").check()
    settled(page)
    expect(page.locator("#heads .s2e-map-legend")).to_contain_text("harmless texts")
    page.click("#run")
    rest(page)
    assert page.locator("#texts .text").count() == 2
    with page.expect_download(timeout=PATIENCE) as download:
        page.click("#recipe")
    path = tmp_path / "gate.safetensors"
    download.value.save_as(path)
    choose_family(page, "Baked steering")
    assert not page.is_visible("#gate-mu") and page.is_visible("#gate-size")
    choose_family(page, "Elastic net (paper)")
    assert page.is_visible("#heads-count") and not page.is_visible("#gate-gamma")
    page.click("#bring button")
    page.set_input_files("#bring-file input[type=file]", path)
    expect(page.locator("#bring-read")).to_contain_text("A recipe of this program", timeout=PATIENCE)
    page.click("#bring-use")
    expect(page.locator("#family input")).to_have_value("Gated steering")
    rest(page)
    assert (number(page, "gate-gamma"), number(page, "gate-size"), number(page, "protect")) == (2.5, size, 0)
    assert page.input_value("#gate-mu input") == "10" and sum(figures(page)) == edited
