"""Two people at once on one loaded model, with different edits: each gets what each would get alone."""

from __future__ import annotations

import threading
from dataclasses import replace

import torch

from components.compare.handlers import Request, compared
from components.shared.choices import Choice, opened
from components.shared.session import Session
from components.studio.place import place_of, session_of
from s2e_core.settings_json import settings_to_json
from tests.ui.edits import with_count, with_strength
from tests.ui.running import first_session, shared_store


def strong_session() -> Session:
    """An edit large enough to be heard in every text."""
    session = first_session()
    return session.with_settings(replace(session.settings, rho_attn=None, rho_mlp=0.5, alpha=0.2, strength=1.0))


def other_session() -> Session:
    """Another behaviour, other components."""
    store = shared_store()
    behavior = store.behavior_list[1]
    session = opened(
        store, Choice(store.first_model, behavior.name), store.scored(store.first_model, behavior.contrast, behavior)
    )
    return with_strength(with_count(with_count(session, "heads", 10), "neurons", 40), 1.5)


def said(session: Session, seed: int) -> list[str]:
    prompt = shared_store().behavior_list[0].examples[0]
    *_, last = compared(shared_store(), session, Request(prompt, 24, temperature=0.7, seed=seed))
    return ["".join(text for text, mark in column["segments"] if mark != "gone") for column in last["columns"]]


def test_texts_of_two_visitors_at_once_are_those_of_each_alone() -> None:
    visitors = (strong_session(), other_session())
    alone = [[said(session, seed) for seed in range(4)] for session in visitors]
    together: list[list[list[str]]] = [[], []]
    start = threading.Barrier(2)

    def visit(number: int) -> None:
        start.wait()
        together[number] = [said(visitors[number], seed) for seed in range(4)]

    threads = [threading.Thread(target=visit, args=(number,)) for number in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert together == alone
    assert alone[0] != alone[1]


def test_one_visitors_settings_leave_the_others_edit_alone() -> None:
    theirs = first_session()
    before = [strength.clone() for strength in theirs.edit.strength]
    place = place_of(theirs)
    place["settings"]["strength"] = 2.0
    place["settings"]["only"] = []
    mine = session_of(shared_store(), place)
    assert mine.edit.is_empty and mine.settings.strength == 2.0
    assert all(torch.equal(a, b) for a, b in zip(theirs.edit.strength, before, strict=True))
    again = session_of(shared_store(), place_of(theirs))
    assert settings_to_json(again.settings) == settings_to_json(theirs.settings)


def test_no_visitor_changes_a_weight_of_the_shared_model() -> None:
    store = shared_store()
    model = store.model(store.first_model).model
    before = [parameter.clone() for parameter in model.parameters()]
    said(other_session(), 0)
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), before, strict=True))
