"""What the store keeps for all visitors: extractions, the texts that gates are fitted on, and edits from files."""

from __future__ import annotations

from dataclasses import replace

import pytest

from components.shared.kept import Kept
from components.shared.session import OWN, Brought
from s2e_core import ContrastSet, Example, swapped
from s2e_core.data import contrast_set
from tests.ui.running import first_session, shared_store, store_beside


def own_examples(*prompts: str) -> ContrastSet:
    return contrast_set([Example(p, "Glad.") for p in prompts], [Example("b", "Sad.")], name=OWN)


# ---- extractions -----------------------------------------------------------------------------------------------------


def test_an_extraction_is_kept_under_its_key_and_made_once() -> None:
    store, scored = shared_store(), first_session().scored
    behavior = store.behavior_list[0]
    assert store.kept_scored(scored.key) is scored
    assert store.scored(store.first_model, behavior.contrast, behavior) is scored
    turned = store.scored(store.first_model, swapped(behavior.contrast), behavior)
    assert turned.key != scored.key and store.kept_scored("another") is None


def test_the_other_order_of_a_behaviour_has_the_same_texts_and_suggestions_of_its_own() -> None:
    store, session = shared_store(), first_session()
    behavior = store.behavior_list[0]
    turned = store.scored(store.first_model, swapped(behavior.contrast), behavior)
    assert turned.extraction.token_inputs is session.scored.extraction.token_inputs
    assert turned.suggestions and turned.suggestions is not session.scored.suggestions


def test_own_examples_are_fitted_on_their_own_prompts_and_neutral_ones() -> None:
    store = shared_store()
    inputs = store.scored(store.first_model, own_examples("Veldor?", "", "Zelka?")).extraction.token_inputs
    assert inputs is not None and "neutral" in inputs.harmless and len(inputs.off[0]) > 0
    turned = store.scored(store.first_model, swapped(own_examples("Veldor?", "", "Zelka?"))).extraction.token_inputs
    assert turned is not None and turned is not inputs  # the other side has other prompts


def test_a_behaviour_without_utility_prompts_is_treated_as_own_examples() -> None:
    store = shared_store()
    behavior = replace(store.behavior_list[0], name="bare", utility=())
    few = own_examples("How are you?", "Who are you?")
    inputs = store.scored(store.first_model, few, behavior).extraction.token_inputs
    assert inputs is not None and "neutral" in inputs.harmless
    named = store.scored(store.first_model, few, store.behavior_list[0]).extraction.token_inputs
    assert named is not None and "utility prompts" in named.harmless  # texts belong to what is kept


def test_extractions_are_forgotten_when_their_gates_take_too_much_memory() -> None:
    store = shared_store()
    first_session()
    small = store_beside(limits=replace(store.limits, scored_megabytes=1), _scored=store._scored.copy())
    made = small.scored(store.first_model, own_examples("Who is Zelka?"))
    assert list(small._scored) == [made.key]


# ---- edits from files ------------------------------------------------------------------------------------------------


def test_the_edits_of_files_are_kept_and_those_unused_longest_are_forgotten() -> None:
    store = store_beside(limits=replace(shared_store().limits, scored_sets=2), _edits=Kept())
    first, second, third = (Brought(f"{name}.pt", name, first_session().edit) for name in ("a", "b", "c"))
    for brought in (first, second):
        assert store.keep_edit(brought) is brought
    assert store.kept_edit("a") is first
    store.keep_edit(third)
    assert store.kept_edit("b") is None and store.kept_edit("a") is first and store.kept_edit("c") is third


@pytest.mark.parametrize("key", ["", "A", "a "])
def test_no_other_key_reaches_an_edit(key: str) -> None:
    store = store_beside(_edits=Kept())
    store.keep_edit(Brought("a.pt", "a", first_session().edit))
    assert store.kept_edit(key) is None
