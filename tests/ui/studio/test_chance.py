"""The band of chance as the tab has it: every number is the core's, read once for all, and what is said without one."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from playwright.sync_api import Browser

from components.shared import chances, texts
from components.shared.chances import Chances, Found
from components.shared.session import Session
from components.studio.by_chance import by_chance, chance_values
from components.studio.facts import facts
from components.studio.questions import questions
from s2e_core import Selection
from s2e_core.data import contrast_set
from s2e_core.errors import ContrastDataError
from s2e_core.method import edited_mask
from s2e_core.settings import Gate
from s2e_core.settings_json import settings_to_json
from s2e_core.spec import KINDS
from s2e_core.why import chance, example_means
from tests.ui.edits import with_count
from tests.ui.running import first_session, shared_store, store_beside
from tests.ui.studio.in_chromium import Modules, modules
from tests.ui.studio.test_place import brought, place_of, sent

SAID = """
facts.chance = value.sent && m.chance.unpackChance(facts, value.sent);
facts.wait = value.wait;
const edit = m.method.elasticNet(facts, value.settings), w = m.words, n = [...facts.g.keys()];
return {words: w.chanceWords(facts, value.settings, edit, value.file), figures: w.figures(facts, edit, null),
    rows: n.slice(0, 40).map(i => w.cardRows(facts, edit, null, i)[0][2]), beyond: facts.chance?.beyond,
    band: n.map(i => m.chance.bandOf(facts, i)), is: n.map(i => m.chance.isBeyond(facts, i))};
"""


@pytest.fixture(scope="module")
def js(browser: Browser) -> Iterator[Modules]:
    with modules(browser) as opened:
        yield opened


@pytest.fixture(scope="module")
def found() -> Found:
    store, session = shared_store(), first_session()
    return store.chances.read(store.model(session.model), session.scored, lambda done, total: None)


def told(js: Modules, session: Session, found: Found | None, **more: Any) -> dict[str, Any]:
    js.load(facts(session, 100))
    sent_values = found and json.loads(json.dumps(chance_values(found.chance), allow_nan=False))
    said: dict[str, Any] = js.call(
        SAID, {"sent": sent_values, "settings": settings_to_json(session.settings), "wait": None, "file": None, **more}
    )
    return said


def test_the_tab_has_the_cores_band_and_counts(js: Modules, found: Found) -> None:
    session, luck = first_session(), found.chance
    said = told(js, session, found)
    g, band = torch.cat(session.scored.scores.g).abs(), torch.cat(luck.band)
    np.testing.assert_array_equal(np.array(said["band"], np.float32), band.numpy())
    assert said["is"] == (g > band).tolist()
    for kind in KINDS:
        sites = session.edit.spec.of_kind(kind)
        beyond = sum(int((session.scored.scores.g[i].abs() > luck.band[i]).sum()) for i in sites)
        count = session.edit.spec.n_components(kind)
        assert said["beyond"][kind] == {"found": beyond, "count": count, "expected": luck.beyond[kind]}
        for threshold in (0.0, 0.1, 0.2345, 0.29, 0.57, 0.9, 1.0, 1.7):
            passed = "return m.chance.expectedFalse(facts.chance, value[0], value[1]);"
            assert js.call(passed, [kind, threshold]) == luck.expected_false(kind, threshold), (kind, threshold)


@pytest.mark.parametrize("count", [5, 60, 900])
def test_beside_a_selection_stands_what_chance_would_select(js: Modules, found: Found, count: int) -> None:
    session = with_count(with_count(first_session(), "neurons", count), "heads", 7)
    said, settings = told(js, session, found), session.settings
    masks = edited_mask(session.scored.extraction, settings)
    rhos = {"heads": settings.rho_attn, "neurons": settings.rho_mlp}
    assert all(rho is not None for rho in rhos.values())
    expected = sum(found.chance.expected_false(kind, (rhos[kind] or 0) * settings.alpha) for kind in KINDS)
    shown = f"{expected:.1f}" if expected < 9.95 else f"{expected:,.0f}"
    assert said["words"] == f"{count + 7} selected; about {shown} would be by chance."
    pairs = zip(masks, session.scored.scores.g, found.chance.band, strict=True)
    beyond = sum(int((mask & (g.abs() > band)).sum()) for mask, g, band in pairs)
    assert said["figures"][3] | {"told": ""} == {
        "number": f"{beyond:,} / {count + 7:,}", "label": "exceed their band of chance", "told": "",
    }  # fmt: skip


def test_a_selection_by_hand_is_not_compared_as_if_the_threshold_had_made_it(js: Modules, found: Found) -> None:
    start = with_count(first_session(), "neurons", 60)
    by_layer = start.with_settings(replace(start.settings, selection=Selection(layers=(0, 1))))
    selected = sum(int(mask.sum()) for mask in edited_mask(by_layer.scored.extraction, by_layer.settings))
    above = sum(int(mask.sum()) for mask in edited_mask(start.scored.extraction, start.settings))
    words = told(js, by_layer, found)["words"]
    assert words.startswith(f"{selected} selected; {above} lie above the threshold, and by chance about ")
    gated = start.with_settings(replace(start.settings, rho_attn=None, rho_mlp=None, gate=Gate(1.5, 10.0, 100)))
    assert told(js, gated, found)["words"] == "" == told(js, start, found, file={"name": "x"})["words"]


def test_one_component_is_beyond_or_within_and_else_it_is_about_random_directions(js: Modules, found: Found) -> None:
    session = first_session()
    rows = told(js, session, found)["rows"]
    g, band = torch.cat(session.scored.scores.g).abs()[:40], torch.cat(found.chance.band)[:40]
    for row, size, edge in zip(rows, g.tolist(), band.tolist(), strict=True):
        assert row.endswith(f"{'beyond' if size > edge else 'within'} its band of chance, ±{edge:.3f}")
    without = told(js, session, None)
    assert "standard deviations of random directions" in without["rows"][0] and without["words"] == ""
    assert without["band"][0] == pytest.approx(3 / session.edit.spec.d_model**0.5)
    assert told(js, session, None, wait={"done": 3, "total": 4})["words"] == "Reading what chance gives: 75% …"
    assert told(js, session, None, wait={"none": "No examples."})["words"] == "No examples."


# ---- the server ------------------------------------------------------------------------------------------------------


def test_it_is_read_in_the_background_once_for_all_who_ask(monkeypatch: pytest.MonkeyPatch, found: Found) -> None:
    read, may_end = [], threading.Event()

    def when_it_may(*args: Any, **more: Any) -> Any:
        assert may_end.wait(60)
        read.append(1)
        return chance(*args, **more)

    monkeypatch.setattr(chances, "chance", when_it_may)
    store, session = store_beside(chances=Chances()), first_session()
    ask = questions(store)["chance"]
    assert [set(ask(sent(place_of(session)))) for _ in range(3)] == [{"done", "total"}] * 3, "nobody waits for it"
    may_end.set()
    while "band" not in (answer := ask(sent(place_of(session)))):
        assert answer["done"] <= answer["total"]
        time.sleep(0.02)
    assert answer == chance_values(found.chance) and read == [1]
    json.dumps(answer, allow_nan=False)


def test_without_examples_it_says_so(tmp_path: Path) -> None:
    session = brought("vector.npy", tmp_path)
    assert by_chance(shared_store(), session) == {"none": texts.CHANCE_NO_EXAMPLES}


def test_a_slow_model_waits_for_the_wish(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("components.studio.by_chance.is_slow", lambda loaded: True)
    store, session = store_beside(chances=Chances()), first_session()
    assert by_chance(store, session) == {"waits": texts.CHANCE_WAITS} == by_chance(store, session)
    assert "total" in by_chance(store, session, begin=True)
    assert "total" in by_chance(store, session), "now it is under way"
    store.chances.read(store.model(session.model), session.scored, lambda done, total: None)
    assert "band" in by_chance(store, session)


def test_too_few_examples_are_told_and_not_read_again(monkeypatch: pytest.MonkeyPatch) -> None:
    read = []
    monkeypatch.setattr(chances, "example_means", lambda *args, **more: read.append(1) or example_means(*args, **more))
    store, start = store_beside(chances=Chances()), first_session()
    few = contrast_set(start.scored.contrast.positive[:1], start.scored.contrast.negative, name="one")
    session = replace(start, scored=replace(start.scored, contrast=few, key="one"))
    for _ in range(2):
        with pytest.raises(ContrastDataError, match="at least two a side"):
            store.chances.read(store.model(session.model), session.scored, lambda done, total: None)
    assert "at least two a side" in by_chance(store, session)["none"] and read == [1]


def test_a_reading_that_nobody_asks_for_ends_and_can_begin_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chances, "GONE_SECONDS", 0.0)
    store, session = store_beside(chances=Chances()), first_session()
    loaded, kept = store.model(session.model), store.chances
    kept.ask(loaded, session.scored)
    while kept.ask(loaded, session.scored, begin=False) is not None:
        time.sleep(0.2)
    monkeypatch.setattr(chances, "GONE_SECONDS", 90.0)
    assert isinstance(kept.read(loaded, session.scored, lambda done, total: None), Found)
