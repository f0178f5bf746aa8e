"""The tab computes the edit that the core builds: the same components, strengths, counts and sizes.

What a person sees is method.js, what is generated, measured and taken home is the core: this file holds them together.
"""

from __future__ import annotations

import random
from base64 import b64decode
from collections.abc import Iterator
from dataclasses import replace
from types import MappingProxyType
from typing import Any

import numpy as np
import pytest
import torch
from playwright.sync_api import Browser

from components.studio.facts import facts
from components.take_home.table import Shown, ranking
from s2e_core import Component, EditSettings, Extraction, Selection, build_edit
from s2e_core.method import edited_mask, relative_changes, rho_for_count, summarize
from s2e_core.model import component_name
from s2e_core.settings_json import settings_to_json
from s2e_core.spec import KINDS, Kind, grid_component
from tests.ui.running import first_session
from tests.ui.studio.in_chromium import Modules, modules
from tests.ui.studio.made_up import experts_spec, heads_alone_spec, made_up, plain_spec, session_on

CASES = {"plain": 400, "experts": 400, "heads alone": 200, "wide": 100}
"""Random settings for every made-up model; more than a thousand of them together."""
MODELS = {
    "plain": made_up(plain_spec(without_heads=(2,)), 1),
    "experts": made_up(experts_spec(), 2),
    "heads alone": made_up(heads_alone_spec(), 3),
    "wide": made_up(plain_spec(3, 12, 400), 4),
}
RELATIVE = 1e-6
"""Of a strength. Every step is rounded as torch rounds it; only the multipliers may differ in the last bit."""

COMPUTED = """
const packed = values => btoa(Array.from(new Uint8Array(values.buffer), byte => String.fromCharCode(byte)).join(''));
return value.map(settings => {
    const edit = m.method.elasticNet(facts, settings);
    return {
        ...Object.fromEntries(['lam', 'edited', 'change'].map(name => [name, packed(edit[name])])),
        summary: m.method.summarize(facts, edit),
        above: m.facts.KINDS.map(kind => m.method.countAbove(facts, settings, kind)),
    };
});"""


@pytest.fixture(scope="module")
def js(browser: Browser) -> Iterator[Modules]:
    with modules(browser) as opened:
        yield opened


# ---- settings --------------------------------------------------------------------------------------------------------


def random_settings(extraction: Extraction, draw: random.Random) -> EditSettings:
    """Any settings without a gate, of which a tab asks the server."""
    alpha = draw.choice([0.0, 0.01, 0.05, 0.5, 0.8, 0.99, draw.random()])
    strengths = {one: draw.choice([0.0, 1.0, 3 * draw.random()]) for one in _some(extraction, draw)}
    return EditSettings(
        rho_attn=_rho(extraction, "heads", alpha, draw), rho_mlp=_rho(extraction, "neurons", alpha, draw), alpha=alpha,
        strength=draw.choice([1.0, 1.0, 0.0, 0.05, 3.0, 3 * draw.random()]), selection=_selection(extraction, draw),
        strengths=MappingProxyType(strengths),
    )  # fmt: skip


def _rho(extraction: Extraction, kind: Kind, alpha: float, draw: random.Random) -> float | None:
    """Off, anywhere, or with the threshold exactly on a score or half way between two."""
    n = extraction.spec.n_components(kind)
    if not n or draw.random() < 0.2:
        return None
    if alpha and draw.random() < 0.5:
        if draw.random() < 0.5:
            return rho_for_count(extraction.scores, kind, draw.randint(0, n + 2), alpha)
        g = torch.cat([extraction.scores.g[i] for i in extraction.spec.of_kind(kind)])
        return max(abs(float(g[draw.randrange(n)])) / alpha, 1e-6)
    return 10 ** draw.uniform(-3, 0.5)


def _selection(extraction: Extraction, draw: random.Random) -> Selection:
    last = extraction.spec.n_layers - 1
    layers = draw.choice([None, (0, last), (1, 1), (draw.randint(0, last), draw.randint(0, last))])
    return Selection(
        only=draw.choice([None, None, frozenset(), _some(extraction, draw)]), included=_some(extraction, draw),
        excluded=_some(extraction, draw), layers=layers,
    )  # fmt: skip


def _some(extraction: Extraction, draw: random.Random) -> frozenset[Component]:
    sites = extraction.spec.sites
    found = set()
    for _ in range(draw.choice([0, 0, 1, 3, 20])):
        site = draw.randrange(len(sites))
        found.add(Component(site, draw.randrange(sites[site].n_components)))
    return frozenset(found)


# ---- the edit --------------------------------------------------------------------------------------------------------


def check_same(js: Modules, extraction: Extraction, settings: list[EditSettings]) -> None:
    """The edits of a model in the tab, which has its facts, and of the core."""
    computed = js.call(COMPUTED, [settings_to_json(one) for one in settings])
    for one, found in zip(settings, computed, strict=True):
        _check(extraction, one, found)


def _check(extraction: Extraction, settings: EditSettings, found: dict[str, Any]) -> None:
    edit, told = build_edit(extraction, settings), f"with {settings_to_json(settings)}"
    strength, mask = torch.cat(edit.strength).numpy(), torch.cat(edited_mask(extraction, settings)).numpy()
    lam, change = (np.frombuffer(b64decode(found[name]), np.float32) for name in ("lam", "change"))
    np.testing.assert_array_equal(np.frombuffer(b64decode(found["edited"]), bool), mask, told)
    np.testing.assert_array_equal(lam != 0, strength != 0, told)
    np.testing.assert_allclose(lam, strength, rtol=RELATIVE, atol=0, err_msg=told)
    changes = torch.cat(relative_changes(extraction.scores, edit)).numpy()
    np.testing.assert_allclose(change, changes, rtol=1e-5, atol=0, err_msg=told)
    summary, here = summarize(extraction.scores, edit), found["summary"]
    assert (here["heads"], here["neurons"], here["layers"]) == (
        summary.n_heads, summary.n_neurons, summary.n_layers,
    ), told  # fmt: skip
    assert here["edited"] == summary.n_heads + summary.n_neurons, told
    assert here["relativeSize"] == pytest.approx(summary.relative_size, rel=1e-5), told
    assert here["largestChange"] == pytest.approx(summary.largest_change, rel=1e-5), told
    g = torch.cat(extraction.scores.g)
    beyond = (g.abs() > 3 / extraction.spec.d_model**0.5).numpy() & (strength != 0)
    assert here["beyond"] == beyond.sum(), told
    assert found["above"] == [_above(extraction, settings, kind) for kind in KINDS], told


def _above(extraction: Extraction, settings: EditSettings, kind: Kind) -> int:
    """Components of a kind above the threshold, whatever was chosen by hand."""
    masks = edited_mask(extraction, replace(settings, selection=Selection()))
    return sum(int(masks[i].sum()) for i in extraction.spec.of_kind(kind))


@pytest.mark.parametrize("name", MODELS)
def test_the_tab_and_the_core_make_the_same_edit_of_any_settings(js: Modules, name: str) -> None:
    extraction, draw = MODELS[name], random.Random(name)
    js.load(facts(session_on(extraction), 100))
    settings = [random_settings(extraction, draw) for _ in range(CASES[name])]
    check_same(js, extraction, settings)
    edits = [build_edit(extraction, one) for one in settings]
    assert sum(not edit.is_empty for edit in edits) > len(edits) / 3, "most cases must have something to compare"


def test_the_tab_and_the_core_make_the_same_edits_of_the_demo_model(js: Modules) -> None:
    session, draw = first_session(), random.Random(5)
    extraction = session.scored.extraction
    js.load(facts(session, 100))
    own = [session.suggested, *(one.settings for one in session.scored.suggestions if one.settings.gate is None)]
    check_same(js, extraction, [*own, *(random_settings(extraction, draw) for _ in range(60))])


def test_a_component_that_reads_nothing_is_never_edited(js: Modules) -> None:
    """The core looks at the key, which a tab does not have: g is 0 wherever the key is."""
    extraction = MODELS["plain"]
    js.load(facts(session_on(extraction), 100))
    dead = Component(0, 1)
    assert not extraction.scores.keys[0][1].any()
    settings = EditSettings(0.2, 0.2, 0.0, selection=Selection(included=frozenset({dead})))
    check_same(js, extraction, [settings])
    assert js.call("return m.method.elasticNet(facts, value).lam[1];", settings_to_json(settings)) == 0


# ---- counts ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", MODELS)
def test_a_count_gives_the_same_rho_in_the_tab_and_in_the_core(js: Modules, name: str) -> None:
    extraction = MODELS[name]
    js.load(facts(session_on(extraction), 100))
    asked = [
        (kind, count, alpha)
        for kind in KINDS
        if (n := extraction.spec.n_components(kind))
        for count in (*range(min(n, 25) + 1), n - 1, n, n + 5)
        for alpha in (0.01, 0.3, 0.99)
    ]
    rho = js.call("return value.map(([kind, n, alpha]) => m.method.rhoForCount(facts, kind, n, alpha));", asked)
    assert rho == [rho_for_count(extraction.scores, kind, count, alpha) for kind, count, alpha in asked]


# ---- where a component stands ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", MODELS)
def test_the_tab_knows_every_component_by_its_site_layer_column_and_name(js: Modules, name: str) -> None:
    spec = MODELS[name].spec
    js.load(facts(session_on(MODELS[name]), 100))
    known = js.call(
        "return Array.from({length: facts.n}, (_, i) => [m.facts.pairOf(facts, i), m.facts.kindOf(facts, i), "
        "m.facts.layerOf(facts, i), m.facts.columnOf(facts, i), m.facts.nameOf(facts, i)]);"
    )
    components = [Component(i, n) for i, site in enumerate(spec.sites) for n in range(site.n_components)]
    assert [Component(*pair) for pair, *_ in known] == components
    for component, (_, kind, layer, column, called) in zip(components, known, strict=True):
        assert grid_component(spec, kind, layer, column) == component
        assert called == component_name(spec, component)


@pytest.mark.parametrize("name", MODELS)
def test_the_pictures_show_g_where_the_grid_of_the_core_has_it(js: Modules, name: str) -> None:
    scores = MODELS[name].scores
    js.load(facts(session_on(MODELS[name]), 100))
    for kind in KINDS:
        grid = js.call(
            "const {cells, ...size} = m.facts.gridOf(facts, value); return {...size, cells: [...cells]};", kind
        )
        cells = np.array(grid["cells"], int).reshape(grid["layers"], grid["widest"])
        g = torch.cat(scores.g).numpy()
        np.testing.assert_array_equal(np.where(cells < 0, np.nan, g[cells]), scores.grid(kind).numpy())


@pytest.mark.parametrize("name", MODELS)
def test_the_table_of_the_page_and_the_one_to_take_home_have_one_order(js: Modules, name: str) -> None:
    scores = MODELS[name].scores
    js.load(facts(session_on(MODELS[name]), 100))
    every: tuple[Shown, ...] = ("all", *KINDS)
    for shown in every:
        for most in (7, 10_000):
            rows = js.call(
                "return m.table.ranking(facts, ...value).map(i => m.facts.pairOf(facts, i));", [shown, most]
            )  # fmt: skip
            assert [Component(*pair) for pair in rows] == ranking(scores, shown, most)
