"""What the handlers do, as plain functions on the bundled model and its real behaviours; no server, no browser."""

from __future__ import annotations

import io
import json
import logging
import os
import subprocess
import sys
import threading
import time
import zipfile
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import gradio as gr
import pytest
import torch

from components.compare.handlers import Request, compared
from components.page.view import ASKED, CHOICE, kept_choice, opening_view, resting_view, restored_view
from components.shared import model_names, texts
from components.shared import store as store_module
from components.shared.brought import OwnExamples
from components.shared.choices import Choice, chosen_contrast, extract, is_ready, opened
from components.shared.errors import BUG, guarded
from components.shared.limits import Limits
from components.shared.model_names import BUNDLED_LABEL, model_sources
from components.shared.opening import opening
from components.shared.session import OWN, Session, Under
from components.shared.store import ModelStore
from components.shared.work import Work
from components.studio.place import place_of
from components.take_home.handlers import Parcel, compared_steering, exported
from s2e_core import (
    Cancelled,
    ContrastDataError,
    Edited,
    ExportError,
    ModelLoadError,
    Original,
    SettingsError,
    capture_means,
    component_scores,
    steering_directions,
    swapped,
)
from s2e_core.export.evaluating import STEERING_FILE
from s2e_core.measure import KL_BOUND
from tests.ui.edits import with_nothing_edited, with_strength
from tests.ui.running import first_session, shared_store

STRONG = {"rho_attn": None, "rho_mlp": 0.5, "alpha": 0.2, "strength": 1.0}


def strong_session() -> Session:
    """An edit large enough to be heard in every text."""
    session = first_session()
    return session.with_settings(replace(session.settings, **STRONG))


def texts_of(value: dict) -> list[str]:
    return ["".join(text for text, mark in column["segments"] if mark != "gone") for column in value["columns"]]


# ---- what is shown ---------------------------------------------------------------------------------------------------


def test_the_view_of_a_session_is_complete_for_every_behaviour() -> None:
    store = shared_store()
    for behavior in store.behavior_list:
        choice = Choice(store.first_model, behavior.name)
        session = opened(store, choice, store.scored(store.first_model, behavior.contrast, behavior))
        view = opening_view(store, session)
        assert (view["model"], view["behavior"]["value"], view["swap"]["value"]) == (
            session.model,
            behavior.name,
            False,
        )
        assert view["own"]["visible"] is False and view["place"] == place_of(session)
        assert behavior.positive in view["status"] and view["prompt"] == behavior.examples[0]
        assert (view["length"], view["gamma"]) == (behavior.max_new_tokens, behavior.gamma)
        assert not session.edit.is_empty, behavior.name


def test_a_place_from_an_address_is_shown_with_what_was_asked_there() -> None:
    store, session = shared_store(), first_session()
    asked = {"prompt": "Who is Zelka?", "length": 17, "temperature": 0.7, "seed": 5}
    place = {**place_of(session), "focus": 3, "mode": "lambda", "ask": asked}
    view = restored_view(store, session, place)
    assert {name: view[name] for name in ASKED} == asked
    assert (view["place"]["focus"], view["place"]["mode"]) == (3, "lambda")
    assert {**view["place"], "focus": 0, "mode": ""} == {**place_of(session), "focus": 0, "mode": ""}


@pytest.mark.parametrize("asked", [None, 7, [], {}, {"prompt": 3, "length": "long", "temperature": None, "seed": []}])
def test_what_no_page_can_have_asked_is_left_out_of_a_place_from_an_address(asked: object) -> None:
    store, session = shared_store(), first_session()
    view, usual = restored_view(store, session, {**place_of(session), "ask": asked}), opening_view(store, session)
    assert (view["prompt"], view["length"]) == (usual["prompt"], usual["length"])
    assert view["temperature"] == view["seed"] == gr.skip() and "focus" not in view["place"]


def test_the_opening_says_how_many_positions_were_left_out() -> None:
    session, store = first_session(), shared_store()
    loaded, behavior = store.model(session.model), store.behavior(session.behavior)
    assert "median" not in opening(session, behavior, loaded)
    extraction = session.scored.extraction
    means = replace(extraction.means, outliers="leave out", n_outliers=12)
    scored = replace(session.scored, extraction=replace(extraction, means=means))
    text = opening(replace(session, scored=scored), behavior, loaded)
    assert "12 of " in text and "times the median of the example and were left out" in text


def test_own_examples_that_came_to_nothing_still_wait_for_the_button() -> None:
    store, session = shared_store(), first_session()
    status, *others = kept_choice(store, session, OWN)
    assert status.index(texts.GIVE_EXAMPLES) < status.index("the page shows Safety") < status.index("**Wanted:**")
    assert others == [gr.skip()] * (len(CHOICE) - 1)  # the examples stay to be corrected
    status, model, *_ = kept_choice(store, session, "tone")
    assert "the page shows" not in status and "**Wanted:**" in status and model == session.model
    own = replace(session, behavior=OWN)
    assert kept_choice(store, own, OWN)[0].startswith("**Wanted:** your examples")


# ---- choosing -------------------------------------------------------------------------------------------------------

POSITIVE = "\n".join(f"How was day {n}? | It was wonderful, I am so glad." for n in range(8))
NEGATIVE = "\n".join(f"How was day {n}?\tIt was awful, I could cry." for n in range(8))


def own(**changes: object) -> Choice:
    swap = bool(changes.pop("swap", False))
    return Choice(BUNDLED_LABEL, OWN, swap, replace(OwnExamples(POSITIVE, NEGATIVE), **changes))


def test_own_examples_become_a_session_with_progress() -> None:
    steps = list(extract(shared_store(), own()))
    assert all(isinstance(step, str) for step in steps[:-1]) and steps[0].startswith("Reading 16 examples")
    session = steps[-1]
    assert isinstance(session, Session) and session.scored.means.n_positive == 8 and not session.edit.is_empty
    assert session.settings is session.scored.suggestions[0].settings
    assert all(one.kl <= KL_BOUND for one in session.scored.suggestions)


def test_a_file_of_examples_is_read(tmp_path: Path) -> None:
    path = tmp_path / "<b>mine.jsonl"
    rows = [{"prompt": "Hi", "positive": f"Glad {n}.", "negative": f"Sad {n}."} for n in range(4)]
    path.write_text("\n".join(map(json.dumps, rows)))
    contrast = chosen_contrast(shared_store(), own(file=str(path)))
    assert len(contrast.positive) == 4 and "<b>" not in contrast.name


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"positive": ""}, "behaviour you want is empty"),
        ({"negative": "no separator here"}, "Line 1 has no prompt and response"),
        ({"positive": "a | " + "x" * 5000}, "at most 4,000"),
        ({"positive": "a | b\n" * 2001}, "at most 2,000"),
    ],
)
def test_examples_that_cannot_be_used_are_refused_with_a_sentence(change: dict, sentence: str) -> None:
    with pytest.raises(ContrastDataError, match=sentence):
        chosen_contrast(shared_store(), own(**change))


def test_swapped_sides_read_no_example_again_and_equal_an_extraction(monkeypatch) -> None:
    store = shared_store()
    behavior = store.behavior_list[0]
    loaded = store.model(store.first_model)
    first_session()
    opposite = swapped(behavior.contrast)
    monkeypatch.setattr(store_module, "extract_cached", None)  # to read the examples again would fail
    quick = store.scored(store.first_model, opposite, behavior)
    means = capture_means(loaded, opposite)
    slow = component_scores(loaded, means, steering_directions(loaded, means))
    for a, b in zip(quick.scores.g, slow.g, strict=True):
        assert torch.allclose(a, b, atol=1e-5)
    assert quick.scores.provenance.contrast_hash == opposite.content_hash


def test_an_extraction_that_is_stopped_ends_and_leaves_the_store_as_it_was() -> None:
    store = shared_store()
    contrast_text = "\n".join(f"Question number {n}? | Answer {n}, and then some." for n in range(600))
    choice = own(positive=contrast_text)
    steps = extract(store, choice)
    loaded = store.model(store.first_model)
    with closing(steps):
        assert "608" in next(steps)
        next(steps)
    with loaded.lock:
        pass  # comes free: the stage gave up
    assert store.cached(loaded, chosen_contrast(store, choice)) is None
    assert threading.active_count() < 100


def test_two_visitors_who_ask_for_the_same_extraction_get_equal_scores() -> None:
    store, results = shared_store(), []

    def ask() -> None:
        *_, session = extract(store, own(positive=POSITIVE.replace("glad", "merry")))
        results.append(session)

    threads = [threading.Thread(target=ask) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(torch.equal(a, b) for a, b in zip(results[0].edit.right, results[1].edit.right, strict=True))


def test_a_choice_that_came_to_nothing_leaves_the_page_naming_the_session_it_has() -> None:
    session = first_session()
    kept = dict(zip(CHOICE, kept_choice(shared_store(), session, "tone"), strict=True))
    assert (kept["model"], kept["behavior"]["value"], kept["swap"]["value"]) == (session.model, session.behavior, False)
    assert kept["own"]["visible"] is False and "Wanted" in kept["status"]
    open_ = dict(zip(CHOICE, kept_choice(shared_store(), session, OWN), strict=True))
    assert "Wanted" in open_["status"] and open_["own"] == open_["behavior"] == gr.skip()


def test_a_session_is_adopted_only_for_the_choice_it_was_made_for() -> None:
    session, names = first_session(), [behavior.name for behavior in shared_store().behavior_list]
    assert Choice(session.model, names[0]).is_of(session)
    assert not Choice(session.model, names[1]).is_of(session)
    assert not Choice(session.model, names[0], swap=True).is_of(session)


def test_own_examples_are_swapped_at_once_when_they_have_been_read() -> None:
    store = shared_store()
    assert not is_ready(store, own(), first_session())
    *_, session = extract(store, own())
    assert isinstance(session, Session)
    assert is_ready(store, own(swap=True), session) and is_ready(store, own(), session)
    assert not is_ready(store, own(positive=""), session)
    assert not is_ready(store, own(positive=POSITIVE.replace("glad", "calm")), session)


# ---- the operator's limits ------------------------------------------------------------------------------------------


def test_a_visitor_reaches_only_the_models_that_the_operator_offers(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(model_names, "find_smollm2", lambda: None)
    (tmp_path / "model-a").mkdir()
    (tmp_path / "model-a" / "config.json").write_text("{}")
    (tmp_path / "notes").mkdir()
    sources = model_sources("bundled", [tmp_path])
    assert list(sources) == [BUNDLED_LABEL, "model-a"]
    store = ModelStore(sources=sources, work=tmp_path)
    for name in (str(tmp_path / "model-a"), "../model-a", "notes", "assets/demo_model", "/etc", ""):
        with pytest.raises(ModelLoadError):
            store.model(name)
    with pytest.raises(ModelLoadError, match="allow-hub"):
        store.model("someone/something")


def test_no_path_of_the_server_is_the_name_of_a_model(monkeypatch) -> None:
    monkeypatch.setattr(model_names, "find_smollm2", lambda: None)
    assert list(model_sources("/srv/models/private-7b", [])) == ["private-7b", BUNDLED_LABEL]


# ---- comparing ------------------------------------------------------------------------------------------------------


def test_the_edited_text_differs_from_the_original_and_is_marked() -> None:
    session, behavior = strong_session(), shared_store().behavior_list[0]
    differing = 0
    for prompt in behavior.examples[:4]:
        *_, last = compared(shared_store(), session, Request(prompt, 40))
        original, edited = texts_of(last)
        marks = [text for text, mark in last["columns"][1]["segments"] if mark]
        assert bool(marks) == (edited.split() != original.split()) and not last["busy"]
        assert not any(mark for _, mark in last["columns"][0]["segments"])
        differing += edited != original
    assert differing


def test_an_empty_edit_says_the_same_as_the_original() -> None:
    prompt = shared_store().behavior_list[0].examples[0]
    *_, last = compared(shared_store(), with_nothing_edited(first_session()), Request(prompt, 40))
    original, edited = texts_of(last)
    assert original == edited != "" and last["columns"][1]["note"] == "same text"


def test_the_page_shows_what_the_core_would_generate() -> None:
    from s2e_core import compare

    store, session = shared_store(), strong_session()
    prompt = store.behavior_list[0].examples[0]
    *_, last = compared(store, session, Request(prompt, 30, temperature=0.8, seed=3))
    *_, expected = compare(
        store.model(session.model),
        prompt,
        [Original(), Edited(session.edit)],
        max_new_tokens=30,
        temperature=0.8,
        seed=3,
    )
    assert texts_of(last) == list(expected)


def test_steering_joins_as_a_third_column() -> None:
    prompt = shared_store().behavior_list[0].examples[0]
    *_, last = compared(shared_store(), strong_session(), Request(prompt, 20, steered=True, gamma=1.5))
    assert [column["title"].split(",")[0] for column in last["columns"]] == ["Original", "Edited", "Steered"]


def test_a_comparison_that_is_stopped_frees_the_model_within_moments() -> None:
    store = shared_store()
    stream = compared(store, strong_session(), Request("How was your day?", 256))
    next(stream)
    stream.close()
    started = time.monotonic()
    assert store.model(store.first_model).lock.acquire(timeout=10)
    store.model(store.first_model).lock.release()
    assert time.monotonic() - started < 5


@pytest.mark.parametrize(
    ("request_", "sentence"),
    [
        (Request("  ", 10), "prompt is empty"),
        (Request("x" * 2001, 10), "at most 2,000"),
        (Request("Hi", 0), "from 1 to 256"),
        (Request("Hi", 257), "from 1 to 256"),
        (Request("Hi", 10, temperature=-1.0), "temperature"),
    ],
)
def test_a_request_beyond_the_limits_is_refused_with_a_sentence(request_: Request, sentence: str) -> None:
    with pytest.raises(SettingsError, match=sentence):
        list(compared(shared_store(), first_session(), request_))


@pytest.mark.parametrize("field", ["length", "temperature", "seed", "gamma"])
def test_an_empty_number_field_gets_a_sentence(field: str) -> None:
    values = {"length": 8, "temperature": 0.0, "seed": 0, "gamma": 0.5} | {field: None}
    with pytest.raises(SettingsError, match=field):
        next(compared(shared_store(), first_session(), Request("Hello", **values)))


def test_half_a_character_pair_in_a_prompt_gets_a_sentence() -> None:
    with pytest.raises(SettingsError, match="unpaired surrogate"):
        next(compared(shared_store(), first_session(), Request("\ud800", 8)))


def test_every_limit_is_told_to_the_visitor() -> None:
    sentence = Limits(prompt_chars=1234, new_tokens=77, examples=555, file_megabytes=9).sentence()
    assert all(figure in sentence for figure in ("1,234", "77", "555", "9 MB"))


# ---- taking home ----------------------------------------------------------------------------------------------------


def parcel(session: Session, kind: str, dtype: str = "stored") -> Parcel:
    *status, last = exported(shared_store(), session, kind, dtype, 0.5)  # type: ignore[arg-type]
    assert all(isinstance(step, str) for step in status) and isinstance(last, Parcel)
    return last


@pytest.mark.parametrize(
    "kind, verdict",
    [
        ("checkpoint", "The checkpoint does what the preview showed"),
        ("adapter", "The adapter does what the preview showed"),
        ("mlx", "The MLX adapter contains the edit"),
    ],
)
def test_an_export_is_one_uncompressed_archive_of_one_folder_and_says_that_it_was_checked(
    kind: str, verdict: str
) -> None:
    made = parcel(strong_session(), kind)
    assert verdict in made.report
    with zipfile.ZipFile(made.path) as archive:
        assert archive.testzip() is None
        assert {info.compress_type for info in archive.infolist()} == {zipfile.ZIP_STORED}
        assert {Path(name).parts[0] for name in archive.namelist()} == {made.path.stem}
    assert [path.name for path in made.path.parent.iterdir()] == [made.path.name]


def test_what_lm_eval_runs_beside_an_export_is_steered_as_the_page_says() -> None:
    session = strong_session()
    for kind, gamma in (("adapter", 0.7), ("checkpoint", 0.7), ("adapter", None), ("adapter", float("nan"))):
        *_, made = exported(shared_store(), session, kind, "stored", gamma)
        with zipfile.ZipFile(made.path) as archive:
            inside = {Path(*Path(name).parts[1:]).as_posix(): name for name in archive.namelist()}
            script = archive.read(inside["evaluate.sh"]).decode()
            assert ("--model steered" in script) == (STEERING_FILE in inside) == (gamma == 0.7)
            if gamma == 0.7:
                vectors = torch.load(io.BytesIO(archive.read(inside[STEERING_FILE])), weights_only=True)
    directions = session.scored.directions
    norms = sorted(float(one["steering_vector"].norm()) for one in vectors.values())
    assert norms == pytest.approx(sorted(0.7 * float(norm) for norm in directions.norm), rel=1e-5)
    assert compared_steering(replace(session, under=Under("Tone", session.edit)), 0.7) is None


def test_the_sizes_on_the_buttons_are_those_of_the_files() -> None:
    session = strong_session()
    labels = resting_view(shared_store(), session, "stored")
    for kind in ("checkpoint", "adapter", "gguf-lora", "mlx", "recipe"):
        size = parcel(session, kind).path.stat().st_size
        shown = labels[kind.replace("-", "_")]["value"].split(" · ")[1]
        figure = float(shown.split()[0]) * (1e6 if "MB" in shown else 1e3)
        assert figure == pytest.approx(size, rel=0.05), kind


def test_a_report_goes_when_the_edit_it_is_about_has_changed() -> None:
    session = replace(first_session(), made="3")
    moved = replace(with_strength(session, 0.9), made="4")
    reports = [resting_view(shared_store(), now, "stored", reported="3")["report"] for now in (session, moved)]
    assert reports == [gr.skip(), ""]


def test_an_empty_edit_cannot_be_taken_home() -> None:
    none = with_nothing_edited(first_session())
    with pytest.raises(ExportError, match="Nothing is edited"):
        list(exported(shared_store(), none, "checkpoint"))
    assert resting_view(shared_store(), none, "stored")["checkpoint"]["interactive"] is False


# ---- what goes wrong ------------------------------------------------------------------------------------------------


def test_an_expected_error_becomes_one_escaped_sentence() -> None:
    def fails() -> None:
        raise SettingsError("Not <img src=x onerror=alert(1)> this.")

    with pytest.raises(gr.Error) as caught:
        guarded(fails)()
    assert caught.value.message == "Not &lt;img src=x onerror=alert(1)&gt; this."


def test_a_bug_is_logged_and_its_words_stay_off_the_page(caplog: pytest.LogCaptureFixture) -> None:
    def streams():
        yield 1
        raise RuntimeError("secret path /srv/x")

    stream = guarded(streams)()
    assert next(stream) == 1
    with caplog.at_level(logging.ERROR), pytest.raises(gr.Error) as caught:
        next(stream)
    assert caught.value.message == BUG and "secret" in caplog.text


LEFT = """
import sys, time, torch
from components.shared.work import Work
from components.studio.place import place_of

def stage(progress):
    try:
        while True:
            torch.randn(200, 200) @ torch.randn(200, 200)
            progress(1, 2)
    finally:
        print("cleaned up", flush=True)

ticks = Work(stage).ticks()
next(ticks)
time.sleep(0.2)
if "interrupted" in sys.argv:
    raise KeyboardInterrupt
"""


@pytest.mark.parametrize("how", ["left", "interrupted"])
def test_a_server_that_ends_while_a_stage_runs_stops_it_and_waits_for_its_cleaning_up(how: str) -> None:
    command = [sys.executable, "-c", LEFT, how]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    ended = subprocess.run(
        command, cwd=Path(__file__).parents[3], env=environment, capture_output=True, text=True, timeout=120
    )
    assert ended.stdout == "cleaned up\n" and "terminate called" not in ended.stderr
    assert ended.returncode == (-2 if how == "interrupted" else 0), ended.stderr


def test_work_reports_progress_and_stops_at_the_next_report() -> None:
    started, seen = threading.Event(), []

    def stage(progress) -> str:
        try:
            for step in range(10_000):
                progress(step, 10_000)
                started.set()
                time.sleep(0.001)
        except Cancelled as error:
            seen.append(error)
            raise
        return "done"

    ticks = Work(stage).ticks()
    next(ticks)
    started.wait(5)
    ticks.close()
    deadline = time.monotonic() + 5
    while not seen and time.monotonic() < deadline:
        time.sleep(0.01)
    assert seen

    short = Work(lambda progress: progress(1, 1) or "result")
    assert (1, 1) in list(short.ticks()) and short.result == "result"
