"""A file from elsewhere on the page, as plain functions: what it is, what becomes of the session, and every refusal."""

from __future__ import annotations

import base64
import json
import threading
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from components.bring.handlers import FromFile, adopted, home_of, inspected, layer_choice, place_below, prepared
from components.bring.words import open_words, read_words, used_words
from components.page.view import opening_view, resting_view
from components.shared.brought import OwnExamples
from components.shared.choices import Choice, chosen_contrast, extract, opened
from components.shared.session import OWN, Scored, Session
from components.studio.facts import facts, solved
from components.studio.place import place_of, session_of
from components.take_home.handlers import exported
from components.trade_off.grid import GridRequest
from components.trade_off.handlers import SweepRequest, swept
from components.trade_off.lab import Bench, Place
from s2e_core import ContrastDataError, InteropError, S2EError, component_scores, load_edit, save_edit
from s2e_core.interop import ImportedFile, OpenLayers
from s2e_core.loading.load import fingerprint
from s2e_core.values import MeanInputs
from tests.ui.edits import with_count, with_nothing_edited, with_strength
from tests.ui.foreign_files import BAD, GOOD, bad, good, tone, tone_edit
from tests.ui.running import first_session, shared_store, store_beside
from tests.ui.small_behaviors import PER_SPLIT, small_behaviors


def used(session: Session, path: Path, texts: Path | None = None, *, turned: bool = False) -> Session:
    *said, given = prepared(shared_store(), session, str(path), str(texts) if texts else None, turned)
    assert all(isinstance(line, str) for line in said) and isinstance(given, FromFile)
    return adopted(shared_store(), session, given)


def same_edit(one, other) -> bool:
    return all(torch.allclose(a, b, atol=1e-5) for a, b in zip(one.right, other.right, strict=True))


def test_a_vector_whose_layer_is_open_is_asked_about_and_used_with_what_was_said(tmp_path: Path) -> None:
    width, layers = 160, 6
    np.save(tmp_path / "one.npy", np.ones(width))
    np.save(tmp_path / "more.npy", np.ones((layers + 1, width)))
    for name, chosen, extent in (
        ("one.npy", layer_choice(2.0, False), "1 of 6 layers (2,"),
        ("more.npy", layer_choice(None, True), "6 of 6 layers"),
    ):
        with pytest.raises(OpenLayers, match="on the page") as raised:
            inspected(shared_store(), first_session(), str(tmp_path / name))
        said = open_words("<b>", str(raised.value))
        assert "&lt;b&gt;" in said and raised.value.needs in ("layer", "skip_first")
        imported = inspected(shared_store(), first_session(), str(tmp_path / name), chosen)
        assert extent in imported.sentence()
    *_, given = prepared(shared_store(), first_session(), str(tmp_path / "one.npy"), None, layer=2)
    assert isinstance(given, FromFile) and given.scored is not None
    lengths = given.scored.extraction.directions.norm
    assert {site.layer for site, n in zip(given.scored.scores.spec.sites, lengths, strict=True) if n > 0} == {2}


# ---- what it is, before anything changes ----------------------------------------------------------------------------


@pytest.mark.parametrize("name", GOOD)
def test_a_file_is_told_from_its_content_and_what_it_is_good_for_is_said(name: str, tmp_path: Path) -> None:
    path = good(name, tmp_path).rename(tmp_path / "file <b>.bin")
    imported = inspected(shared_store(), first_session(), str(path))
    said = read_words(imported, first_session(), "Safety")
    kind = {"tone": "Recipe", "directions": "Directions", "pack": "Edit pack", "vector": "Steering vector"}
    assert f"<b>{kind[name.split('.')[0]]}</b>" in said and "file &lt;b&gt;.bin" in said and "<b>.bin" not in said
    if imported.edit is not None:
        assert "brings no scores and no direction" in said and "no dial can tune it" in said
    else:
        assert "prompts to compare and to measure with stay those of “Safety”" in said
        assert ("mean inputs" in said and "on the page, unless you give texts" in said) == name.startswith("vector")


def test_what_a_finished_edit_leaves_on_the_page_is_named_even_where_that_came_from_a_file(tmp_path: Path) -> None:
    session = used(first_session(), good("vector.npy", tmp_path))
    pack = inspected(shared_store(), session, str(good("pack.pt", tmp_path)))
    said = read_words(pack, session, "Safety")
    assert "stay those of “vector.npy”" in said and "stay those of “Safety”" not in said


def test_a_recipe_of_the_examples_on_the_page_sets_the_dials_and_says_so(tmp_path: Path) -> None:
    session = with_count(first_session(), "neurons", 17)
    *_, parcel = exported(shared_store(), session, "recipe")
    assert "sets the dials" in read_words(inspected(shared_store(), session, str(parcel.path)), session, "Safety")
    back = used(first_session(), parcel.path)
    assert same_edit(back.edit, session.edit) and place_of(back)["settings"] == place_of(session)["settings"]
    file = place_of(back)["file"]
    assert file == {"name": parcel.path.name, "key": file["key"], "here": True}


@pytest.mark.parametrize("turned", [False, True])
def test_a_recipe_of_another_behaviour_turns_the_page_to_it_and_sets_the_dials(tmp_path: Path, turned: bool) -> None:
    store, before = shared_store(), first_session()
    there = opened(store, Choice(before.model, "tone", turned), scored_of("tone", turned))
    there = with_count(there, "neurons", 23)
    *_, parcel = exported(store, there, "recipe")
    home = home_of(store, before, inspected(store, before, str(parcel.path)))
    assert home is not None and (home.behavior, home.swap) == ("tone", turned)
    said = read_words(inspected(store, before, str(parcel.path)), before, "Safety", "Tone")
    assert "made from the examples of “Tone”" in said and "the dials follow" in said
    session = used(before, parcel.path)
    assert (session.behavior, session.swapped) == ("tone", turned) and place_of(session)["file"]["here"]
    assert same_edit(session.edit, there.edit) and place_of(session)["settings"] == place_of(there)["settings"]
    assert opening_view(store, session)["prompt"] == store.behavior("tone").examples[0]


def test_a_recipe_of_two_edits_comes_back_as_one_on_top_of_the_other(tmp_path: Path) -> None:
    store, start = shared_store(), first_session()
    tone = with_count(opened(store, Choice(start.model, "tone"), scored_of("tone", False)), "neurons", 23)
    below = {**place_of(tone), "weight": 0.5, "title": "Tone"}
    both = session_of(store, {**place_of(with_count(start, "neurons", 17)), "under": below})
    assert both.under is not None
    *_, parcel = exported(store, both, "recipe")
    *_, given = prepared(store, start, str(parcel.path), None)
    assert isinstance(given, FromFile) and ", on top of a finished edit of " in given.imported.sentence()
    again, under = adopted(store, start, given), place_below(store, start, given.imported)
    assert under is not None and (under["title"], under["weight"]) == ("Tone", 1.0)
    session = session_of(store, json.loads(json.dumps({**place_of(again), "under": under})))
    assert session.under is not None and session.under.title == "Tone"
    assert same_edit(session.edit, both.edit) and same_edit(session.under.edit, both.under.edit)
    assert place_of(session)["settings"] == place_of(both)["settings"]  # the dials are those of the edit on top
    of_nobody = replace(both.under.edit, provenance=replace(both.under.edit.provenance, contrast_hash="0" * 64))
    path = save_edit(replace(both.edit, also=(of_nobody,)), tmp_path / "mine.safetensors")
    under = place_below(store, start, inspected(store, start, str(path)))
    assert under is not None and under["title"] == "mine.safetensors"


def test_a_recipe_of_more_than_two_edits_says_what_to_do_with_it(tmp_path: Path) -> None:
    edit = first_session().edit
    path = save_edit(replace(edit, also=(edit, edit)), tmp_path / "three.safetensors")
    with pytest.raises(InteropError, match="3 edits laid on each other, and the page shows two.*commands export"):
        inspected(shared_store(), first_session(), str(path))


def scored_of(name: str, turned: bool) -> Scored:
    store = shared_store()
    choice = Choice(store.first_model, name, turned)
    return store.scored(store.first_model, chosen_contrast(store, choice), store.behavior(name))


# ---- finished edits -------------------------------------------------------------------------------------------------


def test_a_finished_edit_stands_on_the_page_until_a_dial_moves(tmp_path: Path) -> None:
    before = first_session()
    session = used(before, good("pack.pt", tmp_path))
    assert same_edit(session.edit, tone_edit()) and session.scored is before.scored
    assert session.label == "imported" and session.settings is before.settings
    place = place_of(session)
    assert place["file"]["name"] == "pack.pt" and not place["file"]["here"]
    assert session_of(shared_store(), place).edit is session.edit, "the tab names it, undo finds it again"
    shown = solved(session)
    assert len(base64.b64decode(shown["at"])) == 4 * (tone_edit().count("heads") + tone_edit().count("neurons"))
    moved = with_strength(session, 0.5)
    assert not moved.recipe and not same_edit(moved.edit, session.edit) and place_of(moved)["file"] is None


@pytest.mark.parametrize("kind", ["checkpoint", "adapter", "recipe"])
def test_a_pack_can_be_taken_home_and_names_its_file(kind: str, tmp_path: Path) -> None:
    session = used(first_session(), good("pack.pt", tmp_path))
    *_, parcel = exported(shared_store(), session, kind)
    assert "safety" not in parcel.path.name
    if kind == "recipe":
        again = load_edit(parcel.path, base=shared_store().model(session.model))
        assert same_edit(again, tone_edit()) and again.provenance.contrast_name == "pack.pt"


# ---- directions and vectors -----------------------------------------------------------------------------------------


def test_directions_become_scores_dials_and_steering(tmp_path: Path) -> None:
    session = used(first_session(), good("directions.pt", tmp_path))
    for one, other in zip(session.scored.scores.g, tone().scores.g, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-4)
    assert not session.edit.is_empty and with_count(session, "heads", 3).edit.count("heads") == 3
    assert session.edit.provenance.contrast_name == "directions.pt" and session.label == "imported"
    status = opening_view(shared_store(), session)["status"]
    assert "**From your file** `directions.pt`**:** Directions of the authors' code" in status
    assert "The mean inputs are the file's own." in status and "Wanted" not in status and "What to try" not in status
    place = place_of(session)
    assert place["file"] is None and place["key"] == session.scored.key == facts(session, 100)["key"]
    assert session_of(shared_store(), place).scored is session.scored, "the tab's next event finds it again"


@pytest.mark.parametrize("name", ["vector.safetensors", "vector.npy", "vector.npz", "vector.pt", "vector.gguf"])
def test_a_vector_is_scored_with_the_inputs_of_the_examples_on_the_page(name: str, tmp_path: Path) -> None:
    before = first_session()
    session = used(before, good(name, tmp_path))
    expected = component_scores(shared_store().model(before.model), before.scored.means, session.scored.directions)
    for one, other in zip(session.scored.scores.g, expected.g, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-5)
    assert session.origin is not None and session.origin.sentence.endswith("Mean inputs of the examples of “Safety”.")
    assert session.edit.provenance.contrast_name == f"{name}, inputs of safety"


@pytest.mark.parametrize("name", ["directions.pt", "vector.npy"])
def test_the_other_way_round_every_alignment_has_the_other_sign(name: str, tmp_path: Path) -> None:
    path = good(name, tmp_path)
    session, turned = used(first_session(), path), used(first_session(), path, turned=True)
    for one, other in zip(session.scored.scores.g, turned.scored.scores.g, strict=True):
        torch.testing.assert_close(one, -other)
    assert turned.origin is not None and "Taken the other way round." in turned.origin.sentence
    assert Place.of(turned) != Place.of(session) and "the opposite" in turned.edit.provenance.contrast_name


def test_or_with_the_inputs_of_texts_of_ones_own(tmp_path: Path) -> None:
    texts = tmp_path / "texts.jsonl"
    texts.write_text('{"prompt": "How was it?", "response": "Very good."}\n' * 3)
    session = used(first_session(), good("vector.npy", tmp_path), texts)
    assert isinstance(session.scored.means, MeanInputs) and session.scored.means.n_examples == 3
    assert session.origin is not None and "Mean inputs of 3 texts that you gave." in session.origin.sentence
    texts.write_text('{"prompt": "How was it?"}\n')
    with pytest.raises(ContrastDataError, match="no prompts with responses"):
        used(first_session(), tmp_path / "vector.npy", texts)
    texts.write_text('{"prompt": "How was it?", "response": "' + "long " * 1000 + '"}\n')
    with pytest.raises(ContrastDataError, match="texts of up to"):
        used(first_session(), tmp_path / "vector.npy", texts)


def test_with_examples_of_ones_own_the_inputs_are_theirs(tmp_path: Path) -> None:
    store, lines = shared_store(), "\n".join(f"Question {n}? | {{}} {n}." for n in range(4))
    choice = Choice(store.first_model, OWN, own=OwnExamples(lines.format(*["Yes"] * 4), lines.format(*["No"] * 4)))
    *_, own = extract(store, choice)
    assert isinstance(own, Session)
    session = used(own, good("vector.npy", tmp_path))
    assert session.origin is not None and "of the examples of “your examples”" in session.origin.sentence
    assert session.scored.contrast is own.scored.contrast


def test_brought_directions_start_with_their_sides_unswapped_and_keep_no_measurement(tmp_path: Path) -> None:
    store, behavior = shared_store(), shared_store().behavior_list[0]
    *_, turned = extract(store, Choice(store.first_model, behavior.name, swap=True))
    assert isinstance(turned, Session) and turned.swapped
    session = used(turned, good("directions.pt", tmp_path))
    assert not session.swapped and session.scored.contrast.content_hash == behavior.contrast.content_hash
    assert len({Place.of(turned), Place.of(session), Place.of(first_session())}) == 3


def test_the_control_vector_is_the_direction_on_the_page_and_says_what_it_is_not(tmp_path: Path) -> None:
    store = shared_store()
    *_, parcel = exported(store, with_nothing_edited(first_session()), "control-vector")
    assert parcel.path.name == "steer2edit-bundled-demo-model-safety.gguf" and "not the weight edit" in parcel.report
    again = inspected(store, first_session(), str(parcel.path))
    assert again.kind == "steering vector"
    session = used(first_session(), good("pack.pt", tmp_path))
    *_, parcel = exported(store, session, "control-vector")
    assert "before the edit you uploaded, which brings none" in parcel.report
    assert resting_view(store, session, "stored").keys() >= {"checkpoint", "adapter", "recipe"}


# ---- refusals -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", BAD)
def test_a_bad_file_gets_one_sentence_and_changes_nothing(name: str, tmp_path: Path) -> None:
    store, session = shared_store(), with_count(first_session(), "heads", 3)
    loaded, path = store.model(session.model), str(bad(name, tmp_path))
    before, weights = dict(vars(session)), fingerprint(loaded.model, loaded.spec)
    for attempt in (
        lambda: inspected(store, session, path),
        lambda: list(prepared(store, session, path, None)),
    ):
        with pytest.raises(S2EError, match=BAD[name][1]) as error:
            attempt()
        sentence = str(error.value)
        assert name in sentence and str(tmp_path) not in sentence and "\n" not in sentence and sentence.endswith(".")
    assert vars(session) == before and store.model(session.model) is loaded
    assert fingerprint(loaded.model, loaded.spec) == weights == loaded.fingerprint
    assert not (tmp_path / "ran").exists()


def test_without_a_file_there_is_a_sentence() -> None:
    with pytest.raises(InteropError, match="No file has arrived"):
        inspected(shared_store(), first_session(), None)


def test_what_was_read_for_another_model_is_not_put_on_the_page(tmp_path: Path) -> None:
    edit = tone_edit()
    foreign = replace(edit, provenance=replace(edit.provenance, fingerprint="0" * 64))
    with pytest.raises(InteropError, match="The model was changed"):
        adopted(shared_store(), first_session(), FromFile(ImportedFile("recipe", "a.safetensors", edit=foreign)))


def test_a_stop_ends_the_capture_of_mean_inputs(tmp_path: Path) -> None:
    texts = tmp_path / "texts.jsonl"
    row = '{"prompt": "How was it?", "response": "' + "Very good. " * 40 + '"}\n'
    texts.write_text(row * 400)
    path = good("vector.npy", tmp_path)
    lines = prepared(shared_store(), first_session(), str(path), str(texts))
    running = threading.active_count()
    for line in lines:
        if "mean inputs" in str(line):
            break
    assert "of 400" in str(line)
    lines.close()  # type: ignore[attr-defined]  # as gradio does on Stop
    deadline = time.monotonic() + 20
    while threading.active_count() > running and time.monotonic() < deadline:
        time.sleep(0.02)
    assert threading.active_count() <= running


def test_a_name_out_of_a_file_cannot_draw_on_the_page(tmp_path: Path) -> None:
    path = good("directions.pt", tmp_path).rename(tmp_path / "a`![x](http:evil.example)<i>.pt")
    session = used(first_session(), path)
    status = opening_view(shared_store(), session)["status"]
    assert "`a![x](http:evil.example)<i>.pt`" in status  # inside a code span
    assert "<i>" not in used_words(ImportedFile("directions", path.name))


def test_a_behaviour_after_a_file_has_no_trace_of_it(tmp_path: Path) -> None:
    store, behavior = shared_store(), shared_store().behavior_list[0]
    used(first_session(), good("directions.pt", tmp_path))
    choice = Choice(store.first_model, behavior.name)
    again = opened(store, choice, store.scored(store.first_model, behavior.contrast, behavior))
    assert again.origin is None and again.scored is first_session().scored


def test_brought_directions_are_measured_with_the_prompts_of_the_behaviour_on_the_page(tmp_path: Path) -> None:
    folder = small_behaviors(tmp_path / "behaviors", ["safety"])
    store = store_beside(behaviors=folder, work=tmp_path / "work")
    behavior = store.behavior_list[0]
    choice = Choice(store.first_model, behavior.name)
    before = opened(store, choice, store.scored(store.first_model, behavior.contrast, behavior))
    *_, given = prepared(store, before, str(good("directions.pt", tmp_path)), None)
    assert isinstance(given, FromFile)
    session = adopted(store, before, given)
    *_, lab = swept(store, session, SweepRequest(GridRequest("off", "0.6", "0.4", "1", "0.5"), PER_SPLIT, 97))
    assert lab.measured is not None and len(lab.measured.points) == 3
    bench = Bench().with_lab(lab)
    assert bench.of(session) is lab and bench.of(before) is None
