"""Measuring an edit in full from the page, as plain functions on the bundled model: figures, words, table and CSV.

The behaviours are the bundled ones with four prompts a side.
"""

from __future__ import annotations

import csv
import html
import pickle
import re
from dataclasses import replace
from pathlib import Path

import pytest

from components.shared import texts
from components.shared.choices import Choice, opened
from components.shared.session import Brought, Session
from components.shared.store import ModelStore
from components.trade_off.evaluated import Evaluated, InFull, edit_key, in_full
from components.trade_off.evaluation_handlers import EvaluationRequest, Ticked, evaluated, evaluation_file
from components.trade_off.evaluation_table import figure_words, lead_words, table_html
from components.trade_off.evaluation_wiring import PARTS, fold
from s2e_core import Edited, SettingsError, Steered, SweepError, evaluate
from s2e_core.measure import HOW, Estimate, Plan
from tests.ui.edits import with_nothing_edited, with_strength
from tests.ui.running import store_beside
from tests.ui.small_behaviors import PER_SPLIT, small_behaviors

GAMMA = 0.7


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> ModelStore:
    folder = small_behaviors(tmp_path_factory.mktemp("behaviors"), ("safety", "reasoning", "truthfulness"))
    return store_beside(behaviors=folder, work=tmp_path_factory.mktemp("work"))


def session_of(store: ModelStore, name: str, *, swap: bool = False) -> Session:
    choice = Choice(store.first_model, name, swap)
    return opened(store, choice, store.scored(store.first_model, store.behavior(name).contrast, store.behavior(name)))


@pytest.fixture(scope="module")
def session(store: ModelStore) -> Session:
    return session_of(store, "truthfulness")


@pytest.fixture(scope="module")
def steps(store: ModelStore, session: Session) -> list[Ticked | InFull]:
    return list(evaluated(store, session, EvaluationRequest(PER_SPLIT, True, GAMMA)))


@pytest.fixture(scope="module")
def full(steps: list[Ticked | InFull]) -> InFull:
    assert isinstance(steps[-1], InFull)
    return steps[-1]


def test_the_figures_are_those_of_the_core(store: ModelStore, session: Session, full: InFull) -> None:
    variants = [Edited(session.edit), Steered(session.scored.directions, GAMMA)]
    expected = evaluate(
        store.model(session.model), Plan(store.behavior("truthfulness"), "test", PER_SPLIT, PER_SPLIT), variants,
        labels=["edit", "steering"],
    )  # fmt: skip
    assert [column.arm for column in full.columns] == ["original", "edit", "steering"]
    for column, one in zip(full.columns, expected, strict=True):
        assert repr(dict(column.figures)) == repr(one.figures()), column.title
    assert repr(full.lead) == repr(expected[1].against["steering"])
    assert {"MC1", "MC2", "next-token KL"} <= set(full.columns[1].figures)


def test_progress_comes_before_the_figures_and_never_runs_backwards(steps: list[Ticked | InFull]) -> None:
    done = [step.done for step in steps if isinstance(step, Ticked)]
    assert done == sorted(done) and len(done) == len(steps) - 1 > 0


def test_steering_is_left_out_where_nobody_asks_for_it(store: ModelStore, session: Session) -> None:
    *_, made = evaluated(store, session, EvaluationRequest(2, False, None))
    assert isinstance(made, InFull)
    assert [column.arm for column in made.columns] == ["original", "edit"]
    assert made.lead is None and not lead_words(made)


def test_what_a_visitor_keeps_is_small(full: InFull) -> None:
    columns = [(column.title, dict(column.figures)) for column in full.columns]
    assert len(pickle.dumps(columns)) < 10_000
    assert not any(isinstance(value, Session) for value in vars(full).values())


def test_the_table_has_a_row_of_every_figure_with_interval_count_and_how_it_is_made(full: InFull) -> None:
    made = table_html(full)
    names = list(full.columns[1].figures)
    rows = re.findall(r'<th scope="row" role="rowheader">.*?</tr>', made)
    assert len(rows) == len(names)
    for name, row in zip(names, rows, strict=True):
        assert html.escape(HOW[name]) in row
        for column in full.columns:
            if name in column.figures:
                value, interval = figure_words(full, name, column.figures[name]).split(" ", 1)
                assert f"<b>{value}</b> <span>{interval}</span> <small>n = {column.figures[name].count}</small>" in row
    assert made.count('<th scope="col"') == 1 + len(full.columns)
    assert "<caption>" in made and texts.EARLIER_EDIT not in made


def test_names_of_a_behaviour_never_become_markup(full: InFull) -> None:
    made = table_html(replace(full, wanted="<img src=x onerror=1>", behavior="<script>"))
    assert "<img" not in made and "<script" not in made


def est(value: float, low: float, high: float) -> Estimate:
    return Estimate(value, low, high, 40)


@pytest.mark.parametrize(
    ("less", "lead", "said"),
    [
        (False, est(0.12, 0.03, 0.21), ("12.0 [3.0, 21.0] of 100", "the edit is ahead")),
        (False, est(-0.12, -0.21, -0.03), ("-12.0 [-21.0, -3.0] of 100", "steering is ahead")),
        (False, est(0.12, -0.03, 0.21), ("12.0 [-3.0, 21.0] of 100", "neither is clearly ahead")),
        (True, est(-30.0, -50.0, -10.0), ("-30.0 [-50.0, -10.0] tokens", "the edit is ahead")),
        (True, est(30.0, 10.0, 50.0), ("30.0 [10.0, 50.0] tokens", "steering is ahead")),
    ],
)
def test_the_lead_is_told_with_its_interval(full: InFull, less: bool, lead: Estimate, said: tuple[str, str]) -> None:
    words = " ".join(lead_words(replace(full, less_is_better=less, lead=lead)))
    assert all(one in words for one in said) and "40 prompts" in words


def test_figures_of_an_earlier_edit_say_so_until_its_settings_are_back(
    store: ModelStore, session: Session, full: InFull
) -> None:
    kept = Evaluated().with_full(full)
    moved = replace(with_strength(session, 1.5), made="2")
    back = replace(moved.with_settings(session.settings), made="3")
    table = PARTS.index("table")
    assert texts.EARLIER_EDIT in fold(store, moved, kept)[table]
    assert texts.EARLIER_EDIT not in fold(store, session, kept)[table]
    assert texts.EARLIER_EDIT not in fold(store, back, kept)[table]


def test_figures_of_an_uploaded_edit_are_of_that_file_alone(store: ModelStore, session: Session, full: InFull) -> None:
    first, second = (session.with_brought(Brought("pack.pt", key, session.edit)) for key in ("first", "second"))
    kept = Evaluated().with_full(replace(full, edit=edit_key(first)))
    table = PARTS.index("table")
    for other in (session, second):
        assert texts.EARLIER_EDIT in fold(store, other, kept)[table]
    assert texts.EARLIER_EDIT not in fold(store, replace(first, made="7"), kept)[table], "undone, it is the same edit"


def test_each_behaviour_has_its_own_figures(store: ModelStore, session: Session, full: InFull) -> None:
    kept = Evaluated().with_full(full)
    assert kept.of(session) is full
    assert kept.of(session_of(store, "safety")) is None
    assert Evaluated().of(session) is None, "another visitor starts with nothing"


def test_the_csv_has_the_columns_of_the_command_line(store: ModelStore, session: Session, full: InFull) -> None:
    path = evaluation_file(store, Evaluated().with_full(full), session)
    rows = list(csv.DictReader(path.open(encoding="utf-8")))
    assert path.name == "steer2edit-truthfulness-in-full.csv" and store.work in path.parents
    assert len(rows) == sum(len(column.figures) for column in full.columns) + 1
    for column in full.columns:
        for name, figure in column.figures.items():
            row = next(row for row in rows if (row["variant"], row["figure"]) == (column.label, name))
            assert (float(row["value"]), int(row["prompts"]), row["how"]) == (figure.value, figure.count, HOW[name])
    assert rows[-1]["variant"] == "edit minus steering"
    with pytest.raises(SweepError, match="Nothing has been measured in full"):
        evaluation_file(store, Evaluated(), session)


@pytest.mark.parametrize(
    ("prompts", "gamma", "said"),
    [(1, 0.5, "from 2 to"), (9999, 0.5, "from 2 to"), (None, 0.5, "from 2 to"), (2, None, "γ")],
)
def test_a_field_that_cannot_be_is_a_sentence(
    store: ModelStore, session: Session, prompts: float | None, gamma: float | None, said: str
) -> None:
    with pytest.raises(SettingsError, match=said):
        next(evaluated(store, session, EvaluationRequest(prompts, True, gamma)))


def test_an_empty_edit_and_swapped_sides_are_sentences(store: ModelStore, session: Session) -> None:
    with pytest.raises(SettingsError, match="Nothing is edited yet"):
        next(evaluated(store, with_nothing_edited(session), EvaluationRequest(2, True, GAMMA)))
    swapped = session_of(store, "truthfulness", swap=True)
    with pytest.raises(SettingsError, match="swapped"):
        next(evaluated(store, swapped, EvaluationRequest(2, True, GAMMA)))
    assert "swapped" in fold(store, swapped, Evaluated())[PARTS.index("status")]


def test_closing_a_run_stops_the_model(store: ModelStore, session: Session) -> None:
    running = evaluated(store, session, EvaluationRequest(PER_SPLIT, True, GAMMA))
    assert isinstance(next(running), Ticked)
    running.close()
    with pytest.raises(StopIteration):
        next(running)


def test_thinking_length_is_in_tokens_and_less_is_better(store: ModelStore, session: Session) -> None:
    made = evaluate(
        store.model(session.model), Plan(store.behavior("truthfulness"), "test", 2, 2), [Edited(session.edit)],
        labels=["edit"], n_neutral=2,
    )  # fmt: skip
    full = in_full(session, store.behavior("reasoning"), made, None)
    assert full.less_is_better and "tokens, less is better" in table_html(full)
    assert full.prompts == (2, 2) and full.columns[1].title.startswith("Edit of ")


def test_files_lie_below_the_servers_own_folder(store: ModelStore, session: Session, full: InFull) -> None:
    paths = {evaluation_file(store, Evaluated().with_full(full), session) for _ in range(2)}
    assert len(paths) == 2 and all(isinstance(path, Path) and path.is_file() for path in paths)
