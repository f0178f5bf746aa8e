"""The table to take home says what the scores and the edit say, in an order that no dial changes."""

from __future__ import annotations

from dataclasses import replace

import pytest

from components.shared.session import Brought, Origin
from components.studio.by_chance import known_chance
from components.take_home.table import CHANCE_COLUMNS, COLUMNS, RANDOM_COLUMNS, WHEN_COLUMNS, ranked_table, ranking
from s2e_core import Component, Selection
from s2e_core.method import relative_changes
from s2e_core.spec import Kind, grid_component
from tests.ui.edits import with_count, with_nothing_edited
from tests.ui.running import first_session, shared_store


def test_the_ranking_is_by_magnitude_of_g_over_all_layers() -> None:
    scores = first_session().scored.scores
    everything = sorted((abs(float(v)) for g in scores.g for v in g), reverse=True)
    ranked = [abs(float(scores.g[site][i])) for site, i in ranking(scores, "all", 50)]
    assert ranked == pytest.approx(everything[:50])


@pytest.mark.parametrize("kind", ["heads", "neurons"])
def test_a_table_of_one_kind_holds_that_kind_alone(kind: Kind) -> None:
    scores = first_session().scored.scores
    ranked = ranking(scores, kind, 10_000)
    assert len(ranked) == scores.spec.n_components(kind) == len(set(ranked))
    assert {scores.spec.sites[c.site].kind for c in ranked} == {kind}


def test_every_figure_of_a_row_belongs_to_its_component() -> None:
    session = first_session()
    scores, edit = session.scored.scores, session.edit
    table, components = ranked_table(session, "all", 80), ranking(scores, "all", 80)
    changes = relative_changes(scores, edit)
    assert list(table.columns) == [*COLUMNS, *WHEN_COLUMNS, *RANDOM_COLUMNS] and len(table) == 80
    for row, (site, i) in zip(table.itertuples(index=False), components, strict=True):
        assert grid_component(scores.spec, scores.spec.sites[site].kind, row[2], row[3]) == Component(site, i)
        assert row[4] == pytest.approx(float(scores.g[site][i]), abs=5e-4)
        assert row[5] == pytest.approx(float(edit.strength[site][i]), abs=5e-4)
        assert row[6] == pytest.approx(float(changes[site][i]), abs=5e-4)
        assert row[7] == pytest.approx(float(scores.contributions[site][i]), abs=5e-5)


def test_the_tick_says_what_is_edited_also_after_a_change_by_hand() -> None:
    session = with_count(first_session(), "neurons", 5)
    ranked = ranking(session.scored.scores, "neurons", 20)
    by_hand = Selection(excluded=frozenset({ranked[0]}), included=frozenset({ranked[12]}))
    changed = session.with_settings(replace(session.settings, selection=by_hand))
    assert list(ranked_table(session, "neurons", 20)["edited"]) == [True] * 5 + [False] * 15
    expected = [False] + [True] * 4 + [False] * 7 + [True] + [False] * 7
    assert list(ranked_table(changed, "neurons", 20)["edited"]) == expected
    assert ranking(changed.scored.scores, "neurons", 20) == ranked


def test_nothing_edited_reads_as_zero_and_never_as_minus_zero() -> None:
    table = ranked_table(with_nothing_edited(first_session()), "all", 100)
    assert not table["edited"].any()
    assert all(str(value) == "0.0" for value in table["λ"])


def test_an_edit_from_a_file_is_told_as_it_is() -> None:
    session = first_session()
    edit = with_count(session, "neurons", 3).edit
    foreign = replace(edit, provenance=replace(edit.provenance, contrast_hash="another"))
    table = ranked_table(session.with_brought(Brought("pack.pt", "key", foreign)), "all", 10_000)
    assert table["edited"].sum() == edit.count("heads") + 3
    assert list(table["edited"]) == [change != 0 for change in table["|ΔW| / |W|"]]


def test_the_last_columns_say_what_chance_gives_every_component() -> None:
    store, session = shared_store(), first_session()
    scores = session.scored.scores
    found = store.chances.read(store.model(session.model), session.scored, lambda done, total: None).chance
    assert known_chance(store, session) is found
    table, components = ranked_table(session, "all", 10_000, found), ranking(scores, "all", 10_000)
    assert list(table.columns) == [*COLUMNS, *WHEN_COLUMNS, *CHANCE_COLUMNS]
    for name, side in (("chance band", "band"), ("g low", "low"), ("g high", "high"), ("p", "p")):
        expected = [float(getattr(found, side)[site][i]) for site, i in components]
        assert list(table[name]) == pytest.approx(expected, rel=1e-6)
    assert list(table["beyond chance"]) == [abs(float(scores.g[s][i])) > float(found.band[s][i]) for s, i in components]
    assert 0 < table["beyond chance"].sum() < len(table)


def test_until_chance_is_read_the_band_is_that_of_random_directions() -> None:
    session = first_session()
    scores = session.scored.scores
    from_file = replace(session, origin=Origin("vector.gguf", "one direction"))
    assert known_chance(shared_store(), from_file) is None
    table = ranked_table(from_file, "heads", 48)
    level = 3 / scores.spec.d_model**0.5
    assert list(table["random band"]) == pytest.approx([level] * 48)
    assert list(table["beyond random"]) == [abs(g) > level for g in table["g"]]
