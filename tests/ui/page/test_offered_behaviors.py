"""Which behaviours the page offers for which model, and what a choice becomes when the model changes."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import gradio as gr
import pytest
from playwright.sync_api import Page, expect

from components.examples.panel import as_sent
from components.page.view import opening_view
from components.shared.choices import Choice, carried_over, offered, opened
from components.shared.model_names import BUNDLED_LABEL, model_sources
from components.shared.session import OWN
from components.shared.store import BUNDLED, ModelStore
from components.shared.texts import OWN_EXAMPLES
from s2e_core import BehaviorError, ContrastSet, Example, list_behaviors
from s2e_core.data import CHAT_BEHAVIORS, contrast_set
from s2e_core.loading import BUNDLED_MODEL
from tests.families import saved_folder
from tests.ui.running import running_app, shared_store
from tests.ui.small_behaviors import small_behaviors

PATIENCE = 60_000
"""Milliseconds."""
OWN_WORLD, CHAT = list_behaviors(), list_behaviors(CHAT_BEHAVIORS)


def names(store: ModelStore, model: str, current: str = OWN) -> list[str]:
    return [name for _, name in offered(store, model, current)]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> ModelStore:
    """The bundled model, a copy of it in a folder, and a model of another kind."""
    folder = tmp_path_factory.mktemp("models")
    saved_folder(folder / "other", chat=True)
    shutil.copytree(BUNDLED_MODEL, folder / "copy", ignore=shutil.ignore_patterns("recipe"))
    return ModelStore(sources=model_sources(BUNDLED, [folder]), work=folder, hub=True, device="cpu")


def test_the_page_of_the_bundled_model_offers_its_own_four_and_no_other() -> None:
    shared = shared_store()
    assert [behavior.name for behavior in shared.behavior_list] == list(OWN_WORLD)
    assert names(shared, BUNDLED_LABEL) == [*OWN_WORLD, OWN]


def test_another_model_is_offered_those_for_any_chat_model_and_a_copy_of_the_bundled_one_its_own(
    store: ModelStore,
) -> None:
    assert names(store, "other") == [*CHAT, OWN]
    assert names(store, "copy") == [*OWN_WORLD, OWN]
    assert names(store, "somebody/something") == [*CHAT, OWN]
    store.model("other")
    assert names(store, "other") == [*CHAT, OWN]
    assert names(store, "other", "tone") == [*CHAT, "tone", OWN]


def test_a_choice_is_carried_over_to_the_behaviour_of_the_same_title(store: ModelStore) -> None:
    assert carried_over(store, "other", "safety") == "refusal"
    assert carried_over(store, "other", "reasoning") == "brevity"
    assert carried_over(store, BUNDLED_LABEL, "cheerfulness") == "tone"
    assert carried_over(store, BUNDLED_LABEL, "formality") == "safety"
    assert carried_over(store, "copy", "tone") == "tone" and carried_over(store, "other", OWN) == OWN
    with pytest.raises(BehaviorError):
        carried_over(store, "other", "nothing")


def test_a_page_that_starts_with_another_model_starts_with_a_behaviour_that_fits_it(tmp_path: Path) -> None:
    folder = saved_folder(tmp_path / "mine", chat=True)
    started = ModelStore(sources=model_sources(str(folder), []), work=tmp_path, device="cpu")
    assert started.behavior_list[0].name == CHAT[0]
    choice = Choice(started.first_model, "formality")
    few = contrast_set([Example("a", "bad")], [Example("a", "cold")], name="few")  # the choice names its behaviour
    session = opened(started, choice, started.scored(started.first_model, few))
    shown = opening_view(started, session)["behavior"]
    assert shown["value"] == "formality" and [name for _, name in shown["choices"]] == [*CHAT, OWN]


@pytest.mark.parametrize("name", CHAT)
def test_no_behaviour_asks_for_longer_answers_than_a_visitor_may(store: ModelStore, name: str) -> None:
    few = contrast_set([Example("a", "bad")], [Example("a", "cold")], name="few")
    session = opened(store, Choice("other", name), store.scored("other", few))
    assert opening_view(store, session)["length"] <= store.limits.new_tokens


def test_an_operators_own_behaviours_are_offered_for_every_model(tmp_path: Path) -> None:
    folder = small_behaviors(tmp_path / "behaviors")
    own = ModelStore(sources={"first": BUNDLED}, work=tmp_path, behaviors=folder)
    assert names(own, "first") == names(own, "somebody/something") == ["safety", "reasoning", OWN]
    with pytest.raises(BehaviorError):
        own.behavior("formality")


def test_a_choice_that_is_on_its_way_while_the_choices_change_is_no_error() -> None:
    box = as_sent(gr.Dropdown(["safety"]))
    renewed = box.__class__(**{**box.constructor_args, "choices": ["refusal"]})  # as gradio does at an update
    assert renewed.preprocess("safety") == "safety" and box.preprocess("refusal") == "refusal"
    assert isinstance(renewed, gr.Dropdown) and renewed.component_class_id == gr.Dropdown([]).component_class_id


@pytest.fixture
def address(store: ModelStore) -> Iterator[str]:
    vars(store)["_behaviors"] = {  # of few examples: extracting is not what is shown
        folder: tuple(replace(behavior, contrast=few_of(behavior.contrast)) for behavior in behaviors)
        for folder, behaviors in store._behaviors.items()
    }
    with running_app(store) as found:
        yield found


def few_of(contrast: ContrastSet) -> ContrastSet:
    return contrast_set(contrast.positive[:4], contrast.negative[:4], name=contrast.name)


def test_the_box_of_behaviours_follows_the_model(address: str, page: Page) -> None:
    page.set_default_timeout(PATIENCE)
    page.goto(address)
    box, status = page.locator("#behavior input"), page.locator("#status")
    expect(status).to_contain_text("Wanted", timeout=PATIENCE)
    first = listed(page)
    assert first == ["Safety", "Truthfulness", "Tone", "Efficient reasoning", OWN_EXAMPLES]
    choose(page, "#behavior", "Tone")
    expect(status).to_contain_text("The untouched model does both", timeout=PATIENCE)
    choose(page, "#model", "other")
    expect(status).to_contain_text("The same messages answered cheerfully", timeout=PATIENCE)
    expect(box).to_have_value("Tone")
    assert listed(page) == ["Tone", "Safety", "Truthfulness", "Efficient reasoning", "Formality", OWN_EXAMPLES]
    choose(page, "#behavior", "Formality")
    expect(status).to_contain_text("formal or in casual English", timeout=PATIENCE)
    choose(page, "#model", BUNDLED_LABEL)
    expect(box).to_have_value("Safety", timeout=PATIENCE)
    expect(status).to_contain_text("Asked how to do something wrong", timeout=PATIENCE)
    assert listed(page) == first


def listed(page: Page) -> list[str]:
    page.click("#behavior input")
    found = page.locator("[role=option]").all_inner_texts()
    page.locator("#behavior input").blur()
    return [text.replace("✓", "").strip() for text in found]


def choose(page: Page, box: str, option: str) -> None:
    page.click(f"{box} input")
    page.locator("[role=option]", has_text=option).first.click()
