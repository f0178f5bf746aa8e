"""Two people at once on one loaded model, with different edits: each gets what each would get alone."""

from __future__ import annotations

import threading
from dataclasses import replace

import torch

from components.compare.handlers import Request, compared
from components.select import dials
from components.shared.choices import Choice, opened
from components.shared.session import Session
from tests.ui.running import first_session, shared_store
from tests.ui.shared.test_handlers import strong_session, texts_of


def other_session() -> Session:
    """Another behaviour, other components."""
    store = shared_store()
    behavior = store.behavior_list[1]
    session = opened(
        store, Choice(store.first_model, behavior.name), store.scored(store.first_model, behavior.contrast, behavior)
    )
    return dials.set_strength(dials.set_count(dials.set_count(session, "heads", 10), "neurons", 40), 1.5)


def said(session: Session, seed: int) -> list[str]:
    prompt = shared_store().behavior_list[0].examples[0]
    *_, last = compared(shared_store(), session, Request(prompt, 24, temperature=0.7, seed=seed))
    return texts_of(last)


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


def test_one_visitors_dials_leave_the_others_edit_alone() -> None:
    mine, theirs = strong_session(), first_session()
    before = [strength.clone() for strength in theirs.edit.strength]
    dials.set_count(replace(mine, past=()), "neurons", 3)
    dials.select_none(mine)
    assert all(torch.equal(a, b) for a, b in zip(theirs.edit.strength, before, strict=True))


def test_no_visitor_changes_a_weight_of_the_shared_model() -> None:
    store = shared_store()
    model = store.model(store.first_model).model
    before = [parameter.clone() for parameter in model.parameters()]
    said(other_session(), 0)
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), before, strict=True))
