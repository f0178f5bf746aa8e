"""What the dials and the hand do to the settings: properties over random settings, and cases made by hand.

What settings edit is asked of the core, so that a rule of the page and a rule of the method meet here.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from playwright.sync_api import Browser

from components.studio.facts import facts
from s2e_core import Extraction, build_edit
from s2e_core.method import edited_mask
from s2e_core.settings_json import settings_from_json, settings_to_json
from s2e_core.spec import KINDS
from tests.ui.running import first_session
from tests.ui.studio.in_chromium import Modules, modules
from tests.ui.studio.made_up import made_up, plain_spec, session_on

Settings = dict[str, Any]
HEADS, NEURONS = KINDS
SPEC = plain_spec(n_heads=8, n_neurons=40)
MODEL = made_up(SPEC, 7, ties=False)
PLAIN: Settings = {
    "rho_attn": 0.3, "rho_mlp": 0.4, "alpha": 0.5, "strength": 1, "strengths": [], "only": None, "included": [],
    "excluded": [], "layers": None,
}  # fmt: skip
GATE = {"gamma": 0.7, "mu": 3, "size": 60}
GATED: Settings = {**PLAIN, "rho_attn": None, "rho_mlp": None, "gate": GATE}
FAMILIES = ("elastic", "baked", "gated", "sum")
WITHOUT_FACTS = ("setRho", "ofComponent", "setOfComponent", "selectRule", "selectNone", "familyOf", "same")


class Studio:
    """The transitions of settings.js on one model."""

    def __init__(self, js: Modules, extraction: Extraction, sent: dict[str, Any]) -> None:
        self.js, self.extraction = js, extraction
        js.load(sent)

    def do(self, name: str, *values: Any) -> Any:
        """A function of settings.js by its name, or of method.js."""
        first = "" if name in WITHOUT_FACTS else "facts, "
        return self.js.call(f"return (m.settings.{name} || m.method.{name})({first}...value) ?? null;", list(values))

    def switched(self, settings: Settings, numbers: list[int], on: bool) -> Settings:
        """Components switched by hand, as the studio does: under a gate it knows what was edited before alone."""
        before = self.edited(settings) if settings.get("gate") else None
        result: Settings = self.js.call(
            "const {settings, numbers, on, before} = value;"
            "const edited = new Set(before), gated = i => Number(edited.has(i));"
            "const mask = now => before ? Array.from({length: facts.n}, (_, i) => gated(i))"
            " : m.method.elasticNet(facts, now).edited;"
            "return m.settings.switchOn(facts, settings, numbers, on, mask);",
            {"settings": settings, "numbers": numbers, "on": on, "before": before and sorted(before)},
        )
        return result

    def toggled(self, settings: Settings, numbers: list[int]) -> Settings:
        """On, or off where every one of them is on already."""
        return self.switched(settings, numbers, not set(numbers) <= self.edited(settings))

    def edited(self, settings: Settings) -> set[int]:
        """Global numbers of the components that the core selects."""
        mask = torch.cat(edited_mask(self.extraction, settings_from_json(settings, self.extraction.spec)))
        return set(mask.nonzero().flatten().tolist())

    def strengths(self, settings: Settings) -> torch.Tensor:
        return torch.cat(build_edit(self.extraction, settings_from_json(settings, self.extraction.spec)).strength)

    def of_kind(self, kind: str) -> set[int]:
        """Global numbers of the components of a kind."""
        kinds = [site.kind for site in self.extraction.spec.sites for _ in range(site.n_components)]
        return {i for i, it in enumerate(kinds) if it == kind}


@pytest.fixture(scope="module")
def js(browser: Browser) -> Iterator[Modules]:
    with modules(browser) as opened:
        yield opened


@pytest.fixture
def studio(js: Modules) -> Studio:
    """On a model without texts: the elastic net alone."""
    return Studio(js, MODEL, facts(session_on(MODEL), 100))


@pytest.fixture
def demo(js: Modules) -> Studio:
    """On the bundled model, which has gates and suggestions."""
    return Studio(js, first_session().scored.extraction, facts(first_session(), 100))


def without_suggestions(js: Modules) -> Studio:
    sent = {**facts(first_session(), 100), "suggestions": []}
    return Studio(js, first_session().scored.extraction, sent)


def random_plain(draw: random.Random) -> Settings:
    """Settings with both kinds on and nothing chosen by hand."""
    last = SPEC.n_layers - 1
    return PLAIN | {
        "rho_attn": 10 ** draw.uniform(-2, 0), "rho_mlp": 10 ** draw.uniform(-2, 0), "alpha": draw.uniform(0.05, 0.95),
        "layers": draw.choice([None, [1, last]]), "only": draw.choice([None, None, [[0, 2], [1, 5], [3, 0]]]),
    }  # fmt: skip


# ---- the dials of the elastic net ------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("alpha", [0, 0.01, 0.5, 0.99])
def test_a_count_lets_exactly_the_strongest_pass(studio: Studio, kind: str, alpha: float) -> None:
    g = torch.cat(MODEL.scores.g).abs()
    ranked = sorted(studio.of_kind(kind), key=lambda i: -float(g[i]))
    for count in (1, 2, 7, 20):
        settings = studio.do("setCount", PLAIN | {"alpha": alpha, "only": []}, kind, count)
        assert studio.edited(settings) & studio.of_kind(kind) == set(ranked[:count])
        assert studio.do("countAbove", settings, kind) == count


def test_a_count_of_zero_switches_a_kind_off_and_the_switch_brings_it_back(studio: Studio) -> None:
    off = studio.do("setCount", PLAIN, NEURONS, 0)
    assert off["rho_mlp"] is None and not studio.edited(off) & studio.of_kind(NEURONS)
    assert studio.do("countAbove", off, NEURONS) == 0
    on = studio.do("setKind", off, NEURONS, True)
    assert on["rho_mlp"] == pytest.approx(session_on(MODEL).suggested.rho_mlp)
    assert studio.do("setKind", on, NEURONS, True) == on
    assert studio.do("setKind", on, NEURONS, False) == off


def test_a_kind_without_a_suggested_rho_comes_on_with_a_few_components(js: Modules) -> None:
    sent = facts(session_on(MODEL), 100)
    studio = Studio(js, MODEL, {**sent, "suggested": {**sent["suggested"], "rho_mlp": None}})
    on = studio.do("setKind", PLAIN | {"rho_mlp": None}, NEURONS, True)
    assert len(studio.edited(on) & studio.of_kind(NEURONS)) == 10


def test_a_dial_ends_a_restriction_to_components_chosen_by_hand(studio: Studio) -> None:
    nothing = studio.do("selectNone", PLAIN)
    assert not studio.edited(nothing)
    assert studio.edited(studio.do("setRho", nothing, HEADS, 0.01)) & studio.of_kind(HEADS)
    assert len(studio.edited(studio.do("setCount", nothing, HEADS, 5)) & studio.of_kind(HEADS)) == 5


def test_one_kind_alone(studio: Studio) -> None:
    for kind, other in ((HEADS, NEURONS), (NEURONS, HEADS)):
        for start in (PLAIN, PLAIN | {"rho_attn": None}, PLAIN | {"rho_mlp": None}, studio.do("selectNone", PLAIN)):
            alone = studio.edited(studio.do("onlyKind", start, kind))
            assert alone and alone <= studio.of_kind(kind) and not alone & studio.of_kind(other)


def test_the_strength_of_one_component_touches_no_other_and_1_needs_no_entry(studio: Studio) -> None:
    before = studio.strengths(PLAIN)
    number = int(before.abs().argmax())
    pair = studio.js.call("return m.facts.pairOf(facts, value);", number)
    halved = studio.do("setOfComponent", PLAIN, pair, 0.5)
    expected = before.clone()
    expected[number] *= 0.5
    assert torch.allclose(studio.strengths(halved), expected)
    assert studio.do("ofComponent", halved, pair) == 0.5 and studio.do("ofComponent", PLAIN, pair) == 1
    assert studio.do("setOfComponent", halved, pair, 2)["strengths"] == [[*pair, 2]]
    assert studio.do("setOfComponent", halved, pair, 1) == PLAIN


# ---- the hand --------------------------------------------------------------------------------------------------------


def test_toggling_twice_is_the_identity_in_any_order(studio: Studio) -> None:
    draw = random.Random(1)
    for _ in range(25):
        settings = start = random_plain(draw)
        chosen = draw.sample(range(5 * 48), 16)
        groups = [chosen[:1], chosen[1:4], chosen[4:]]
        # A group that is partly on comes on as a whole, which a second click does not undo.
        groups = [group for group in groups if len(set(group) & studio.edited(start)) in (0, len(group))]
        for group in groups:
            before = studio.edited(settings)
            settings = studio.toggled(settings, group)
            assert studio.edited(settings) == before ^ set(group), "the clicked components change and no other"
        for group in groups:
            settings = studio.toggled(settings, group)
        assert studio.do("same", settings, start)


def test_a_group_that_is_partly_on_comes_on_before_it_goes_off(studio: Studio) -> None:
    on, off = min(studio.edited(PLAIN)), min(studio.of_kind(HEADS) - studio.edited(PLAIN))
    both = studio.toggled(PLAIN, [on, off])
    assert studio.edited(both) == studio.edited(PLAIN) | {off}
    assert studio.edited(studio.toggled(both, [on, off])) == studio.edited(PLAIN) - {on}


def test_what_the_rule_says_anyway_needs_no_entry(studio: Studio) -> None:
    on, off = min(studio.edited(PLAIN)), min(studio.of_kind(HEADS) - studio.edited(PLAIN))
    assert studio.switched(PLAIN, [on], True) == studio.switched(PLAIN, [off], False) == PLAIN
    by_hand = studio.switched(studio.switched(PLAIN, [off], True), [on], False)
    assert len(by_hand["included"]) == len(by_hand["excluded"]) == 1
    assert studio.switched(studio.switched(by_hand, [off], False), [on], True) == PLAIN


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("alpha", [0, 0.5])
def test_a_click_on_a_component_of_a_kind_that_is_off_edits_it_alone(studio: Studio, kind: str, alpha: float) -> None:
    off = PLAIN | {"alpha": alpha, ("rho_attn" if kind == HEADS else "rho_mlp"): None}
    clicked = sorted(studio.of_kind(kind))[5]
    once = studio.toggled(off, [clicked])
    assert studio.edited(once) & studio.of_kind(kind) == {clicked}
    if alpha:
        assert studio.edited(once) == studio.edited(off) | {clicked}
        assert studio.edited(studio.toggled(once, [clicked])) == studio.edited(off)


def test_one_component_and_nothing_else(studio: Studio) -> None:
    draw = random.Random(2)
    for _ in range(10):
        settings, kept = random_plain(draw), draw.randrange(5 * 48)
        settings["rho_mlp"] = draw.choice([settings["rho_mlp"], None])
        assert studio.edited(studio.do("keepOnly", settings, kept)) == {kept}


def test_the_rule_forgets_the_hand_and_none_forgets_the_rule(studio: Studio) -> None:
    by_hand = studio.do("setLayers", studio.toggled(studio.toggled(PLAIN, [0]), [50]), 1, 2)
    assert not studio.do("same", by_hand, PLAIN)
    assert studio.do("selectRule", by_hand) == PLAIN
    none = studio.do("selectNone", by_hand)
    assert not studio.edited(none) and studio.do("selectRule", none) == PLAIN
    assert studio.edited(studio.toggled(none, [7])) == {7}


def test_a_range_of_layers_restricts_the_rule_in_either_order(studio: Studio) -> None:
    last = SPEC.n_layers - 1
    for one, other in ((3, 1), (1, 3)):
        restricted = studio.do("setLayers", PLAIN, one, other)
        assert restricted["layers"] == [1, 3]
        edit = build_edit(MODEL, settings_from_json(restricted, SPEC))
        assert {SPEC.sites[i].layer for i in edit.edited_sites()} == {1, 2, 3}
    assert studio.do("setLayers", restricted, 0, last) == studio.do("setLayers", PLAIN, last, 0) == PLAIN


# ---- families --------------------------------------------------------------------------------------------------------


def suggested(family: str) -> Settings:
    suggestion = first_session().scored.suggestion(family)
    assert suggestion is not None
    return settings_to_json(suggestion.settings)


def start() -> Settings:
    return settings_to_json(first_session().settings)


def test_every_family_starts_from_its_suggestion(demo: Studio) -> None:
    for family, name in (("baked", "baked steering"), ("gated", "gated steering"), ("sum", "gated steering")):
        made = demo.do("setFamily", start(), family, [])
        assert made["gate"] == suggested(name)["gate"] and demo.do("familyOf", made) == family
        assert (made["rho_mlp"] is not None) == (family == "sum") and demo.edited(made)
        baked = demo.do("setFamily", made, "baked", [start()])
        assert baked["gate"] == suggested("baked steering")["gate"], "a gate's dials say nothing of baked steering"
    assert demo.do("setFamily", suggested("gated steering"), "elastic", []) == suggested("elastic net")


def test_a_family_without_a_suggestion_starts_from_usual_dials(js: Modules) -> None:
    studio = without_suggestions(js)
    for family, mu in (("baked", 0), ("gated", 10), ("sum", 10)):
        made = studio.do("setFamily", start(), family, [])
        assert made["gate"] == {"gamma": 1.5, "mu": mu, "size": 100}
    net = studio.do("setFamily", GATED, "elastic", [])
    assert net["gate"] is None and studio.edited(net)


def test_the_family_that_is_shown_stays_as_it_is(demo: Studio) -> None:
    for settings in (start(), suggested("gated steering"), GATED):
        assert demo.do("setFamily", settings, demo.do("familyOf", settings), []) == settings


def test_a_family_that_is_chosen_again_has_its_dials_as_they_were(demo: Studio) -> None:
    net = start() | {"alpha": 0.3, "strength": 0.7}
    gated = demo.do("setFamily", net, "gated", [])
    assert gated["strength"] == 1, "a hidden dial must not weaken the gate"
    gated = gated | {"gate": {**gated["gate"], "gamma": 0.6, "mu": 3}}
    baked = demo.do("setFamily", gated, "baked", [net])
    back = demo.do("setFamily", baked, "elastic", [gated, net])
    assert demo.do("same", back, net)
    both = demo.do("setFamily", back, "sum", [baked, gated, net])
    assert both["gate"] == gated["gate"] and (both["rho_mlp"], both["strength"]) == (net["rho_mlp"], 0.7)


def test_what_is_protected_stays_with_a_gate_and_ends_with_the_elastic_net(demo: Studio) -> None:
    protected = suggested("gated steering") | {"protect": 8}
    assert demo.do("setFamily", protected, "baked", [suggested("baked steering")])["protect"] == 8
    net = demo.do("setFamily", protected, "elastic", [start()])
    assert net.get("protect", 0) == 0 and demo.do("same", net, start())


@pytest.mark.parametrize("family", ["baked", "gated", "sum"])
def test_a_click_under_a_gate_changes_the_clicked_components_and_no_other(demo: Studio, family: str) -> None:
    settings = demo.do("setSize", demo.do("setFamily", start(), family, []), 100)
    before, heads = demo.edited(settings), demo.of_kind(HEADS)
    some_on, some_off = sorted(before & heads)[:3], sorted(heads - before)[:3]
    assert len(some_on) == len(some_off) == 3
    assert demo.edited(demo.switched(settings, some_off, True)) == before | set(some_off)
    assert demo.edited(demo.switched(settings, some_on, False)) == before - set(some_on)
    assert demo.edited(demo.toggled(settings, [*some_on, *some_off])) == before | set(some_off)
    for number in (some_on[0], some_off[0]):
        assert demo.edited(demo.toggled(demo.toggled(settings, [number]), [number])) == before


@pytest.mark.parametrize("family", ["baked", "gated"])
def test_nothing_done_by_hand_adds_an_elastic_net_to_a_gate(demo: Studio, family: str) -> None:
    settings = demo.do("setSize", demo.do("setFamily", start(), family, []), 100)
    outside = min(demo.of_kind(HEADS) - demo.edited(settings))
    kept = demo.do("keepOnly", settings, outside)
    assert demo.edited(kept) == {outside}
    for changed in (
        kept, demo.switched(settings, [outside], True), demo.do("onlyKind", settings, HEADS),
        demo.do("selectNone", settings), demo.do("setLayers", settings, 2, 3),
    ):  # fmt: skip
        assert demo.do("familyOf", changed) == family


@pytest.mark.parametrize("family", ["baked", "gated", "sum"])
def test_one_kind_and_a_range_of_layers_hold_for_a_gate(demo: Studio, family: str) -> None:
    settings = demo.do("setFamily", start(), family, [])
    heads, neurons = (demo.do("onlyKind", settings, kind) for kind in KINDS)
    assert demo.edited(heads) and demo.edited(heads) <= demo.of_kind(HEADS)
    assert demo.edited(neurons) and demo.edited(neurons) <= demo.of_kind(NEURONS)
    assert demo.edited(demo.do("onlyKind", neurons, HEADS)) == demo.edited(heads)
    in_layers = settings_from_json(demo.do("setLayers", settings, 2, 3), demo.extraction.spec)
    edit = build_edit(demo.extraction, in_layers)
    assert {edit.spec.sites[i].layer for i in edit.edited_sites()} <= {2, 3} and not edit.is_empty


def test_the_end_of_the_size_means_all_and_a_size_ends_a_choice_by_hand(demo: Studio) -> None:
    settings = demo.do("setFamily", start(), "gated", [])
    most = demo.do("mostSize", settings)
    everything = demo.do("setSize", settings, most)
    assert everything["gate"]["size"] is None
    assert len(demo.edited(everything)) == sum(site.n_components for site in demo.extraction.spec.sites)
    assert len(demo.edited(demo.do("setSize", demo.do("selectNone", settings), 25))) == 25
    assert demo.do("setSize", settings, 24.6)["gate"]["size"] == 25
    large = {**settings, "gate": {**settings["gate"], "size": 900}}
    assert demo.do("mostSize", large) == min(1800, len(torch.cat(demo.extraction.scores.g)))


def test_the_strictness_that_is_solved_in_advance_and_the_one_in_use_are_offered(demo: Studio) -> None:
    assert demo.do("muChoices", GATED) == [1, 3, 10, 100]
    assert demo.do("muChoices", {**GATED, "rho_mlp": 0.4}) == [0, 1, 3, 10, 100]
    assert demo.do("muChoices", {**GATED, "gate": {**GATE, "mu": 10}}) == [1, 10, 100]


# ---- presets ---------------------------------------------------------------------------------------------------------


def test_the_preset_of_settings_is_known_until_anything_changes(demo: Studio) -> None:
    presets = facts(first_session(), 100)["presets"]
    assert len({each["name"] for each in presets}) == len(presets)
    for preset in presets:
        found = demo.do("presetOf", preset["settings"])
        assert demo.do("same", found["settings"], preset["settings"])
        assert demo.do("presetOf", {**preset["settings"], "strength": 0.123}) is None


@pytest.mark.parametrize(
    "change",
    [
        {"rho_attn": 0.31}, {"rho_mlp": None}, {"alpha": 0.51}, {"strength": 0.5}, {"strengths": [[0, 1, 2]]},
        {"only": []}, {"included": [[0, 1]]}, {"excluded": [[0, 1]]}, {"layers": [1, 2]}, {"gate": GATE},
        {"protect": 1},
    ],
)  # fmt: skip
def test_any_setting_that_differs_makes_another_edit(studio: Studio, change: Settings) -> None:
    assert studio.do("same", PLAIN, PLAIN) and not studio.do("same", PLAIN, PLAIN | change)


def test_what_a_recipe_leaves_out_and_what_is_off_are_the_same(studio: Studio) -> None:
    assert studio.do("same", PLAIN, {**PLAIN, "gate": None, "protect": 0})
    again = settings_to_json(settings_from_json(PLAIN, SPEC))
    assert studio.do("same", PLAIN, {**again, "layers": again["layers"]})
