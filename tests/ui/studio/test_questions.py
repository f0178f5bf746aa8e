"""What a tab asks of the server: the facts of an extraction, an edit that it cannot compute, and to stop its runs."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from playwright.sync_api import Browser

from components.shared.errors import BUG
from components.shared.jobs import Jobs
from components.shared.session import OWN, Session
from components.studio.facts import facts
from components.studio.place import GONE, UNREADABLE, place_of
from components.studio.questions import MOST_JOBS, questions
from components.studio.studio_widget import studio_widget
from s2e_core import Component, Selection
from s2e_core.method import MUS, edited_mask, mean_firing, relative_changes, summarize
from s2e_core.settings import Gate
from s2e_core.settings_json import settings_to_json
from tests.ui.running import first_session, shared_store, store_beside
from tests.ui.studio.in_chromium import Modules, modules
from tests.ui.studio.test_place import brought, sent

GATES = {"rho_attn": None, "rho_mlp": None, "strength": 1.0}


@pytest.fixture(scope="module")
def js(browser: Browser) -> Iterator[Modules]:
    with modules(browser) as opened:
        yield opened


def asked(name: str, data: Any, store: Any = None) -> Any:
    """An answer as the browser gets it: through JSON, and with a sentence for what went wrong."""
    widget = studio_widget({}, {}, questions(store or shared_store()))
    return json.loads(json.dumps(getattr(widget, name)(data), allow_nan=False))


def place(session: Session) -> dict[str, Any]:
    return sent(place_of(session))


# ---- facts -----------------------------------------------------------------------------------------------------------


def test_the_facts_are_the_scores_to_the_last_bit(js: Modules) -> None:
    session = first_session()
    scores, spec = session.scored.scores, session.scored.extraction.spec
    answer = asked("facts", place(session))
    js.load(answer)
    known = js.call("return {n: facts.n, g: [...facts.g], norms: [...facts.norms], is: [...facts.contributions]};")
    for name, values in (("g", scores.g), ("norms", scores.weight_norms), ("is", scores.contributions)):
        np.testing.assert_array_equal(np.array(known[name], np.float32), torch.cat(values).numpy())
    assert known["n"] == sum(site.n_components for site in spec.sites)
    assert answer["key"] == session.scored.key and (answer["n_layers"], answer["d_model"]) == (
        spec.n_layers,
        spec.d_model,
    )
    assert answer["has_texts"] is True and answer["mus"] == list(MUS)
    assert answer["suggested"] == json.loads(json.dumps(settings_to_json(session.suggested)))
    assert answer["table_rows"] == shared_store().limits.table_rows


def test_the_facts_of_directions_out_of_a_file_are_theirs(tmp_path: Path) -> None:
    session = brought("vector.npy", tmp_path)
    answer = asked("facts", place(session))
    assert answer["key"] == session.scored.key and not answer["has_texts"] and answer["suggestions"] == []
    assert answer["g"] == facts(session, 1)["g"] != facts(first_session(), 1)["g"]


def test_the_presets_are_the_start_the_suggestions_and_the_papers(js: Modules) -> None:
    session = first_session()
    presets = asked("facts", place(session))["presets"]
    kinds = [each["kind"] for each in presets]
    assert kinds == ["start", *["family"] * len(session.scored.suggestions), *["published"] * 6]
    for family in ("elastic net", "baked steering", "gated steering"):
        (preset,) = (each for each in presets if each["name"].startswith(f"Suggested: {family} (KL "))
        suggestion = session.scored.suggestion(family)
        assert suggestion is not None
        assert preset["settings"] == json.loads(json.dumps(settings_to_json(suggestion.settings)))
        assert "at most 0.05 nats a token and no more than that of steering with γ = 0.5; here" in preset["told"]
    (gemma,) = (each for each in presets if "Gemma-2-2B IT, truthfulness" in each["name"])
    assert [gemma["settings"][name] for name in ("rho_attn", "rho_mlp", "alpha", "strength")] == [0.3, None, 0.9, 1.0]
    suggestion = session.scored.suggestion("gated steering")
    assert suggestion is not None
    gated = Session.start(session.model, session.behavior, session.scored, suggestion.settings)
    assert [each["kind"] for each in facts(gated, 1)["presets"]][0] == "family", "no preset is offered twice"


# ---- edits that a tab cannot compute ---------------------------------------------------------------------------------


def with_gate(**changes: Any) -> Session:
    start = first_session()
    return start.with_settings(replace(start.settings, **{"gate": Gate(0.7, 10.0, 80), **changes}))


BY_HAND = Selection(
    included=frozenset({Component(0, 0), Component(4, 2)}), excluded=frozenset({Component(10, 1)}), layers=(0, 4)
)
SOLVED: Mapping[str, Callable[[], Session]] = {
    "gated": lambda: with_gate(**GATES),
    "baked": lambda: with_gate(**GATES, gate=Gate(0.5)),
    "all components": lambda: with_gate(**GATES, gate=Gate(1.2, 1.0)),
    "a strictness of its own": lambda: with_gate(**GATES, gate=Gate(1.2, 3.5, 200)),
    "a sum": lambda: with_gate(strength=1.3),
    "a sum by hand": lambda: with_gate(selection=BY_HAND, strengths={Component(4, 2): 0.5}),
    "protected": lambda: with_gate(gate=None, protect=8),
    "a protected gate": lambda: with_gate(**GATES, protect=3),
    "the elastic net": first_session,
    "nothing": lambda: with_gate(selection=Selection(only=frozenset())),
}


def check_solved(js: Modules, session: Session) -> None:
    """The answer, unpacked in the tab, is the edit of the core."""
    js.load(asked("facts", place(session)))
    found = js.call(
        "const edit = m.solved.unpack(facts, value), list = values => values && [...values];"
        "return {...Object.fromEntries(['lam', 'change', 'on', 'off', 'edited'].map(name => [name, list(edit[name])])),"
        " harmless: edit.harmless, summary: m.method.summarize(facts, edit)};",
        asked("solve", place(session)),
    )
    extraction, edit = session.scored.extraction, session.edit
    strength = torch.cat(edit.strength).numpy()
    np.testing.assert_array_equal(np.array(found["lam"], np.float32), strength)
    changes = torch.cat(relative_changes(extraction.scores, edit)).numpy()
    np.testing.assert_array_equal(np.array(found["change"], np.float32), changes)
    selected = torch.cat(edit.strength if session.brought else edited_mask(extraction, session.settings)) != 0
    np.testing.assert_array_equal(np.array(found["edited"], bool), selected.numpy())
    assert found["harmless"] == edit.provenance.harmless
    summary = summarize(extraction.scores, edit)
    here = found["summary"]
    assert (here["heads"], here["neurons"], here["layers"]) == (summary.n_heads, summary.n_neurons, summary.n_layers)
    assert here["relativeSize"] == pytest.approx(summary.relative_size, rel=1e-5)
    if extraction.token_inputs is None:
        assert found["on"] is None and found["off"] is None
        return
    on, off = zip(*mean_firing(extraction.token_inputs, edit.right), strict=True)
    for name, values in (("on", on), ("off", off)):
        np.testing.assert_array_equal(np.array(found[name], np.float32), torch.cat(values).numpy())


@pytest.mark.parametrize("name", SOLVED)
def test_the_solved_edit_is_that_of_the_core(js: Modules, name: str) -> None:
    check_solved(js, SOLVED[name]())


@pytest.mark.parametrize("file", ["pack.pt", "tone.safetensors", "vector.npy"])
def test_the_edit_of_a_file_is_shown_as_it_is(js: Modules, file: str, tmp_path: Path) -> None:
    check_solved(js, brought(file, tmp_path))


@pytest.mark.parametrize("name", ["gated", "a sum by hand", "protected"])
def test_an_edit_that_was_solved_at_one_strength_is_scaled_to_another(js: Modules, name: str) -> None:
    session = SOLVED[name]()
    stronger = session.with_settings(replace(session.settings, strength=2 * session.settings.strength))
    js.load(asked("facts", place(session)))
    for factor, there in ((2, stronger), (0, session.with_settings(replace(session.settings, strength=0.0)))):
        scaled, solved = js.call(
            "const [one, other, factor] = value, names = ['lam', 'change', 'on', 'off'];"
            "return [m.solved.scaled(m.solved.unpack(facts, one), factor), m.solved.unpack(facts, other)]"
            ".map(edit => names.map(name => [...edit[name]]));",
            [asked("solve", place(session)), asked("solve", place(there)), factor],
        )
        np.testing.assert_allclose(scaled, solved, rtol=1e-4, atol=1e-7)


def test_the_strength_alone_needs_no_other_solution(js: Modules) -> None:
    shapes = js.call(
        "return value.map(settings => m.solved.shape({key: 'a'}, {settings, file: null}));",
        [
            settings_to_json(with_gate(**changes).settings)
            for changes in ({}, {"strength": 2.0}, {"protect": 1}, {"gate": Gate(0.8, 10.0, 80)})
        ],
    )
    assert shapes[0] == shapes[1] and len(set(shapes)) == 3


ASKER = """
const log = [], answers = [], wait = () => new Promise(next => setTimeout(next));
const ask = place => new Promise((done, failed) => answers.push({place, done, failed}));
const want = m.solved.asker(ask, (question, answer) => log.push([question.place, answer]));
window.asked = (async () => {
    for (const place of ['a', 'b', 'c']) want({place});
    const first = answers.map(one => one.place);
    answers[0].done('A');
    await wait();
    answers[1].failed(new Error('no server'));
    await wait();
    want({place: 'd'});
    answers[2].done('D');
    await wait();
    return [first, answers.map(one => one.place), log];
})();
"""


def test_one_question_is_asked_at_a_time_and_then_the_latest(js: Modules) -> None:
    js.call(ASKER)
    first, all_asked, log = js.awaited("window.asked")
    assert first == ["a"] and all_asked == ["a", "c", "d"], "b was overtaken while a was under way"
    assert log == [["a", "A"], ["c", {"error": "no server"}], ["d", "D"]]


# ---- what goes wrong -------------------------------------------------------------------------------------------------


def test_a_question_that_is_refused_is_answered_in_a_sentence() -> None:
    for name in ("facts", "solve"):
        assert asked(name, None) == asked(name, {"model": 3}) == {"error": UNREADABLE}
        own = {**place(first_session()), "behavior": OWN, "key": "gone"}
        assert asked(name, own) == {"error": GONE}


def test_a_gate_without_texts_is_a_sentence(tmp_path: Path) -> None:
    session = brought("vector.npy", tmp_path)
    gated = session.with_settings(replace(session.settings, gate=Gate(1.0)))
    assert "is fitted on texts, and this extraction has none" in asked("solve", place(gated))["error"]


def test_a_bug_is_logged_and_its_words_stay_off_the_page(caplog: pytest.LogCaptureFixture) -> None:
    def fails(data: Any) -> Any:
        raise RuntimeError("secret path /srv/x")

    widget = studio_widget({}, {}, {"facts": fails})
    with caplog.at_level(logging.ERROR):
        assert widget.facts(None) == {"error": BUG}
    assert "secret path" in caplog.text


# ---- runs ------------------------------------------------------------------------------------------------------------


def test_a_tab_stops_its_runs_by_their_names() -> None:
    store = store_beside(jobs=Jobs())
    for names in (["one run"], ["a", "b"]):  # the browser sends the list itself, also one of a single name
        assert asked("stop", names, store) is True
        assert all(store.jobs.is_stopped(name) for name in names)
    assert not store.jobs.is_stopped("c") and not store.jobs.is_stopped("o")


def test_more_names_than_a_tab_has_runs_and_other_values_stop_nothing(caplog: pytest.LogCaptureFixture) -> None:
    store = store_beside(jobs=Jobs())
    asked("stop", [str(number) for number in range(MOST_JOBS + 5)], store)
    assert store.jobs.is_stopped("99") and not store.jobs.is_stopped("100")
    assert asked("stop", [], store) is True
    assert asked("stop", ["x" * 10_000, None, {}], store) is True


def test_a_tab_asks_how_many_runs_are_before_its_own() -> None:
    store = store_beside(jobs=Jobs())
    assert [asked("ahead", name, store) for name in ("first", "second", "first")] == [0, 1, 0]
