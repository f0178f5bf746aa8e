"""Measuring from the page, as plain functions on the bundled model: runs, their figures, files and words.

The behaviours are the bundled ones with four prompts a side, so that a whole search takes seconds.
"""

from __future__ import annotations

import csv
import io
import json
import math
import re
import zipfile
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import gradio as gr
import pytest
import torch

from components.shared.choices import Choice, opened
from components.shared.session import OWN, Brought, Session
from components.shared.store import ModelStore
from components.studio.place import place_of
from components.studio.place import session_of as of_place
from components.trade_off.figure import DARK, leave_one_out_figure, progressive_figure, trade_off_figure
from components.trade_off.figure_widget import read_point
from components.trade_off.files import csv_file, report_file, sweep_download
from components.trade_off.grid import PAPER, PRESETS, SMALL, GridRequest, estimate, trials_of
from components.trade_off.handlers import SweepRequest, continued, run_study, searched, stopped, swept, why_not
from components.trade_off.lab import Bench, Lab, Place, Search, current_point
from components.trade_off.measured import HeldOut, Measured, Point, RunOff, grown
from components.trade_off.report import main as report_main
from components.trade_off.report import measured_files, report_html
from components.trade_off.rows import csv_text, table
from components.trade_off.run import measure_found
from components.trade_off.view import lab_status, lab_view
from components.trade_off.wiring import loaded_best, loaded_point, steering_of
from components.trade_off.words import advice, rule_of_choice, winner
from s2e_core import EditSettings, SettingsError, SweepError, sweep
from s2e_core.measure import PAPER_GAMMA, Estimate, Found, Plan, Result, SearchBudget, Trial, load_sweep, trial_key
from s2e_core.measure.sweep_file import empty_sweep
from tests.ui.edits import with_count, with_nothing_edited, with_strength
from tests.ui.running import store_beside
from tests.ui.small_behaviors import PER_SPLIT, small_behaviors

TINY = GridRequest("off", "0.4, 0.7", "0.4", "1", "0.5")
SETTINGS = 4
"""Of TINY: two edits, one steering strength, the untouched model."""


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> ModelStore:
    folder = small_behaviors(tmp_path_factory.mktemp("behaviors"))
    return store_beside(behaviors=folder, work=tmp_path_factory.mktemp("work"))


def session_of(store: ModelStore, number: int = 0, *, swap: bool = False) -> Session:
    behavior = store.behavior_list[number]
    choice = Choice(store.first_model, behavior.name, swap)
    return opened(store, choice, store.scored(store.first_model, behavior.contrast, behavior))


@pytest.fixture(scope="module")
def session(store: ModelStore) -> Session:
    return session_of(store)


def last(labs: Iterator[Lab]) -> Lab:
    *_, lab = labs
    return lab


@pytest.fixture(scope="module")
def grid(store: ModelStore, session: Session) -> Lab:
    return last(swept(store, session, SweepRequest(TINY, PER_SPLIT, 97)))


@pytest.fixture(scope="module")
def search(store: ModelStore, session: Session) -> Lab:
    return last(searched(store, session, 97, 3))


def measured_of(lab: Lab) -> Measured:
    assert lab.measured is not None
    return lab.measured


def figures_of(lab: Lab) -> dict[str, tuple[float, ...]]:
    return {
        trial_key(p.trial): (p.result.attribute.value, p.result.attribute.low, p.result.kept.value, p.result.kept.high)
        for p in measured_of(lab).points
    }


# ---- measured by hand -----------------------------------------------------------------------------------------------


def est(value: float, half: float = 0.1, count: int = 20) -> Estimate:
    return Estimate(value, value - half, value + half, count)


def point(trial: Trial, attribute: float, kept: float, *, half: float = 0.1, **more: object) -> Point:
    flaws = {name: est(0.0, 0.0) for name in ("empty", "repeated", "off-topic")}
    result = Result(trial, est(attribute, half), est(0.8 * kept), est(kept), est(30.0), flaws, flaws, {})
    return Point(result, **more)  # type: ignore[arg-type]


def edit(rho: float) -> Trial:
    return Trial(EditSettings(None, rho, 0.4))


def by_hand(store: ModelStore, number: int = 0, *, scale: float = 1.0) -> Measured:
    """Two steering strengths out of order, three edits of which one is beaten, and the untouched model."""
    about = empty_sweep(
        Plan(store.behavior_list[number]), session_of(store, number).scored.scores.provenance, torch.float32
    )
    points = (
        point(Trial(), 0.3 * scale, 1.0),
        point(Trial(gamma=1.0), 0.8 * scale, 0.6),
        point(Trial(gamma=0.4), 0.5 * scale, 0.98),
        point(edit(0.5), 0.9 * scale, 0.9, size=(3, 20)),
        point(edit(0.7), 0.7 * scale, 0.99, size=(0, 12)),
        point(edit(0.9), 0.4 * scale, 0.97, size=(1, 1)),
    )
    return Measured(about, "refuses", points)


def trace(figure: object, name: str) -> object:
    return next(one for one in figure.data if one.name == name)  # type: ignore[attr-defined]


def test_the_best_edit_is_the_one_with_the_most_attribute_above_the_floor(store: ModelStore) -> None:
    measured = by_hand(store)
    assert (measured.best("edit"), measured.best("steering")) == (4, 2)
    assert replace(measured, floor=0.85).best("edit") == 3
    assert replace(measured, floor=1.2).best("edit") is None
    picked = {"edit": edit(0.9), "steering": None, "original": None}
    assert (replace(measured, chosen=picked).best("edit"), replace(measured, chosen=picked).best("steering")) == (
        5,
        None,
    )


def test_where_the_divergence_decides_rule_and_table_say_so(store: ModelStore) -> None:
    def untold(one: Point, kl: float) -> Point:
        return replace(one, result=replace(one.result, utility_told=False, kl=est(kl, 0.001)))

    measured = by_hand(store)
    assert "KL" not in table(measured)["columns"] and "standard error" in rule_of_choice(measured)
    original, *others = measured.points
    points = (original, *(untold(one, kl) for one, kl in zip(others, (0.3, 0.04, 0.2, 0.03, 0.01), strict=True)))
    measured = replace(measured, points=points)
    assert (measured.best("edit"), measured.best("steering")) == (4, 2), "the most within 0.05 nats a token"
    said = rule_of_choice(measured)
    assert "KL of at most 0.05 nats a token" in said and said.endswith("refuses” among those within that bound.")
    shown = table(measured)
    assert shown["columns"][-1] == "KL" and [row["cells"][-1][0] for row in shown["rows"] if row["n"] == 4] == ["0.030"]
    assert "KL 0.030" in advice(replace(measured, run_off=RunOff(measured.about, points)))
    broken = replace(measured, points=(original, *(untold(one, 1.0) for one in others)))
    assert "None of the edits that were tried has a KL of at most 0.05. Try more settings." in advice(broken)
    held = HeldOut(measured.about, original, edit=points[4], steering=points[2])
    assert "of the utility, KL 0.030." in advice(replace(measured, run_off=None, held_out=held))


def test_a_divergence_that_is_measured_after_the_answers_reaches_the_points(
    store: ModelStore, session: Session, grid: Lab
) -> None:
    made = load_sweep(grid.folder / "sweep.jsonl", session.scored.scores.spec)
    points = grown((), made)
    assert grown(points, made) == points
    later = replace(made, kl={trial_key(point.trial): est(0.02) for point in points[1:]})
    found = grown(points, later)
    assert [one.result.kl and one.result.kl.value for one in found] == [None, *[0.02] * (SETTINGS - 1)]
    assert grown(found, later) == found, "nothing is shown again that did not change"


def test_the_plot_shows_every_arm_by_a_shape_of_its_own_in_percent(store: ModelStore) -> None:
    figure = trade_off_figure(by_hand(store), current=5)
    edits, steering, original = (trace(figure, name) for name in ("edits", "steering, by γ", "untouched model"))
    assert list(edits.x) == [90, 99, 97] and list(edits.y) == [90, 70, 40]
    assert [cell[0] for cell in edits.customdata] == [3, 4, 5]
    assert list(steering.x) == [98, 60], "ordered by gamma, whatever the order of the trials"
    assert len({one.marker.symbol for one in (edits, steering, original)}) == 3
    assert list(trace(figure, "recommended edit").x) == [99] and list(trace(figure, "on the page").x) == [97]
    assert figure.layout.shapes[0].x0 == figure.layout.shapes[0].x1 == 97
    front = trace(figure, "Pareto front")
    assert list(zip(front.x, front.y, strict=True)) == [(90, 90), (99, 70), (100, 30)]


def test_hover_cards_say_settings_intervals_and_numbers_of_prompts(store: ModelStore) -> None:
    card = trace(trade_off_figure(by_hand(store)), "edits").text[1]
    for words in (
        "edit of 12 neurons",
        "ρ mlp 0.7",
        "70.0 of 100 [60.0, 80.0], 20 prompts",
        "keeps 99.0 % [89.0, 109.0]",
        "empty 0.0 %",
    ):
        assert words in card, words


def test_less_is_better_turns_the_axis_and_says_so(store: ModelStore) -> None:
    measured = by_hand(store, 1, scale=100.0)
    assert measured.less_is_better
    layout = trade_off_figure(measured).layout
    assert layout.yaxis.autorange == "reversed" and "less is better" in layout.yaxis.title.text
    assert measured.best("edit") == 5 and "40.0 tokens" in advice(measured)


def test_many_points_have_bars_where_they_matter_alone(store: ModelStore) -> None:
    measured = by_hand(store)
    many = tuple(point(edit(0.2 + n / 100), 0.1, 0.5) for n in range(40))
    figure = trade_off_figure(replace(measured, points=(*measured.points, *many)))
    barred = [one for one in figure.data if one.error_y.array is not None and one.name is None]
    assert sorted(len(one.x) for one in barred) == [1, 2, 2], "the untouched model, both steerings, two of 43 edits"


def test_every_colour_of_a_figure_has_a_tone_for_the_dark(store: ModelStore) -> None:
    text = trade_off_figure(by_hand(store), current=3).to_json()
    assert set(re.findall(r"#[0-9a-f]{6}", text)) <= set(DARK)
    assert not set(DARK) & set(DARK.values()), "or one replacement would undo another"


def test_a_name_from_a_file_cannot_bring_markup_into_a_plot(store: ModelStore) -> None:
    measured = replace(by_hand(store), wanted='<a href="x">refuses</a>')
    named = point(replace(edit(0.33), name="<b>bold</b>"), 0.6, 0.98)
    figure = trade_off_figure(replace(measured, points=(*measured.points, named)))
    assert "<a href" not in figure.layout.yaxis.title.text and "&lt;b&gt;bold" in str(trace(figure, "edits").text[-1])
    assert "<a href" not in advice(measured)


@pytest.mark.parametrize(
    ("lead", "sentence"),
    [
        (Estimate(0.21, 0.12, 0.30, 160), "The edit wins by 21.0 [12.0, 30.0] of 100."),
        (Estimate(-0.2, -0.3, -0.1, 160), "Steering wins by 20.0 [10.0, 30.0] of 100."),
        (Estimate(0.02, -0.03, 0.07, 160), "No clear winner: edit minus steering is 2.0 [-3.0, 7.0] of 100"),
        (None, ""),
    ],
)
def test_the_winner_is_named_only_where_the_interval_excludes_zero(
    store: ModelStore, lead: Estimate | None, sentence: str
) -> None:
    said = winner(by_hand(store), lead)
    assert said.startswith(sentence) and bool(said) == bool(sentence)


def test_the_recommendation_says_what_is_also_where_the_floor_does_not_hold(store: ModelStore) -> None:
    measured = by_hand(store)
    check = HeldOut(measured.about, measured.points[0], measured.points[4], None)
    assert "No steering strength keeps 97 %" in advice(replace(measured, held_out=check))
    short = replace(check, edit=measured.points[3])
    assert "less than the 97 % asked for" in advice(replace(measured, held_out=short))
    nothing = advice(replace(measured, floor=0.995, points=measured.points[:3]))
    assert "No edit to recommend" in nothing and "Lower the floor" in nothing


def test_an_edit_that_was_weakened_for_the_final_choice_is_recommended_and_can_be_loaded(
    store: ModelStore, session: Session
) -> None:
    strong = Trial(replace(session.suggested, strength=1.0))
    weak = Trial(replace(session.suggested, strength=0.25))
    scored, plan = session.scored, Plan(store.behavior(session.behavior))
    explored, finals = (
        sweep(store.model(session.model), scored.extraction, plan, trials)
        for trials in ((Trial(), strong), (Trial(), strong, weak))
    )
    points = grown((), explored)
    measured = measure_found(Found(0.97, explored, None, weak, None, finals), "refuses", points, session)
    best = measured.best("edit")
    assert best is not None and trial_key(measured.tried[best].trial) == trial_key(weak)
    assert measured.points == points and len(measured.tried) == len(points) + 3
    assert "Recommended: the edit of 276 neurons" in advice(measured)
    lab = Lab(
        Place.of(session), "trade-off", Search(0.97, SearchBudget(n_trials=3)), Path(), state="done", measured=measured
    )
    loaded = loaded_best(session, Bench().with_lab(lab))
    assert loaded.settings is weak.settings and current_point(loaded, lab) == best
    assert loaded_point("trade-off", loaded, picked(lab, best), Bench().with_lab(lab)) is loaded


# ---- the run-off ----------------------------------------------------------------------------------------------------


def after_run_off(store: ModelStore, *, chosen: float = 0.7, page: float | None = 0.9) -> Measured:
    """As `by_hand`, and then a run-off of two of the edits, one steering strength and the untouched model."""
    measured = by_hand(store)
    points = (
        point(Trial(), 0.31, 1.0), point(Trial(gamma=0.4), 0.52, 0.985),
        point(edit(0.7), 0.634, 1.06, size=(0, 12)), point(edit(0.9), 0.42, 0.96, size=(1, 1)),
    )  # fmt: skip
    finals = RunOff(replace(measured.about, samples=2), points, None if page is None else edit(page))
    picked = {"edit": edit(chosen), "steering": Trial(gamma=0.4)}
    return replace(measured, chosen=picked, run_off=finals)


def test_the_recommendation_says_by_which_rule_the_run_off_chose_and_what_it_beat(store: ModelStore) -> None:
    said = advice(after_run_off(store))
    for words in (
        "Chosen by the run-off: the most of “refuses” among those that keep 97 % of the utility by one standard error.",
        "In the run-off, “refuses” on 20 prompts, 2 answers each: 63.4 of 100 [53.4, 73.4], keeps 106.0 %",
        "The best steering there: γ = 0.4 with 52.0 of 100 [42.0, 62.0], keeps 98.5 %",
        "The edit that was on the page: 42.0 of 100 [32.0, 52.0], keeps 96.0 % [86.0, 106.0] of the utility. That is "
        "less than asked for.",
        "expect a little less",
    ):
        assert words in said, words


def test_the_rule_that_chose_is_the_one_that_is_told(store: ModelStore) -> None:
    unsure = replace(after_run_off(store), floor=1.02)
    assert "since none keeps it by one standard error" in advice(unsure)
    on_page = advice(after_run_off(store, page=0.7))
    assert "It is the edit that was on the page: no other did better." in on_page
    assert "on the page" not in advice(after_run_off(store, page=None))
    fewest = after_run_off(store)
    tokens = replace(fewest, about=replace(fewest.about, less_is_better=True))
    assert "the fewest tokens among those" in advice(tokens)
    nothing = replace(fewest, chosen={"edit": None, "steering": Trial(gamma=0.4)})
    assert "None of the edits in the run-off keeps 97 %" in advice(nothing)
    assert "Best steering: γ = 0.4 with 52.0 of 100" in advice(nothing)


def test_the_held_out_figures_follow_those_of_the_run_off(store: ModelStore) -> None:
    measured = after_run_off(store)
    check = HeldOut(
        measured.about, measured.points[0], measured.points[4], measured.points[2], Estimate(0.2, 0.1, 0.3, 9)
    )
    said = advice(replace(measured, held_out=check))
    assert said.index("In the run-off") < said.index("held-out prompts") < said.index("The edit wins by 20.0")
    assert "expect a little less" not in said


def test_plot_and_table_show_the_run_off_and_every_row_is_a_point(store: ModelStore) -> None:
    measured = after_run_off(store)
    made = table(measured, current=9)
    assert made["columns"][1] == "Measured in" and len(made["rows"]) == len(measured.tried) == 10
    assert [row["n"] for row in made["rows"]][:3] == [8, 7, 9]
    assert [row["cells"][1][0] for row in made["rows"]] == ["run-off"] * 4 + ["development"] * 6
    assert all(len(row["cells"]) == len(made["columns"]) for row in made["rows"])
    first = made["rows"][0]
    assert first["best"] and first["note"] == "recommended" and first["cells"][4][0] == "63.4 [53.4, 73.4]"
    figure = trade_off_figure(measured, current=9)
    clickable = [corners[0] for one in figure.data if one.customdata is not None for corners in one.customdata]
    assert sorted(clickable) == list(range(10))
    assert list(trace(figure, "recommended edit").x) == [106] and list(trace(figure, "on the page").x) == [96]
    assert len(set(trace(figure, "in the run-off").marker.symbol)) == 3
    assert "Measured in" not in table(by_hand(store))["columns"]


def test_csv_and_report_have_the_rows_of_the_run_off(store: ModelStore) -> None:
    measured = after_run_off(store)
    rows = list(csv.DictReader(io.StringIO(csv_text(measured))))
    assert [row["stage"] for row in rows] == ["development"] * 6 + ["run-off"] * 4
    chosen = [row for row in rows if row["recommended"] == "1"]
    assert [(row["stage"], row["arm"]) for row in chosen] == [("run-off", "steering"), ("run-off", "edit")]
    report = report_html(measured, made="now")
    part = report[report.index("<h2>Run-off</h2>") : report.index("<h2>Every setting</h2>")]
    assert part.count("<tr") == 5 and "63.4 [53.4, 73.4]" in part
    assert "prompts, run-off" in report and "rule of choice" in report
    assert "<h2>Run-off</h2>" not in report_html(by_hand(store), made="now")


def test_the_edit_on_the_page_enters_the_search_unless_it_is_empty_or_a_files(
    store: ModelStore, session: Session, search: Lab
) -> None:
    assert isinstance(search.task, Search) and search.task.current is session.settings
    finals = measured_of(search).run_off
    assert finals is not None and finals.point(Trial(session.settings)) is not None
    assert finals.page is not None and finals.about.outcomes == ()
    foreign = replace(session.edit, provenance=replace(session.edit.provenance, contrast_hash="other"))
    for other in (with_nothing_edited(session), session.with_brought(Brought("pack.pt", "key", foreign))):
        task = next(searched(store, other, 97, 3)).task
        assert isinstance(task, Search) and task.current is None


def test_a_search_says_that_it_screens_before_it_counts_answers(session: Session, search: Lab) -> None:
    planned = search.measurements
    assert planned > 0 and search.screen_seconds > 0 and search.rate > 0
    screening = search.changed(state="running", done=planned - 1)
    status = lab_status(screening)
    assert f"Screening settings by likelihood: {planned - 1} of {planned} measurements" in status
    asking = lab_status(search.changed(state="running", done=planned + 5))
    assert f"5 of {search.total - planned:,} answers" in asking and "Screening" not in asking
    assert f"3 screened by likelihood, {len(measured_of(search).points)} settings" in lab_status(search)


def test_where_there_is_no_edit_the_best_steering_has_its_held_out_figures(store: ModelStore) -> None:
    measured = by_hand(store)
    measured = replace(measured, floor=0.97, points=measured.points[:3])
    assert "Best steering: γ = 0.4 with 50.0 of 100 [40.0, 60.0], keeps 98.0 % [88.0, 108.0]" in advice(measured)
    held_out = point(Trial(gamma=0.4), 0.6, 0.95)
    check = HeldOut(measured.about, measured.points[0], None, held_out)
    said = advice(replace(measured, held_out=check))
    assert (
        "Best steering, on held-out prompts: γ = 0.4 with 60.0 of 100 [50.0, 70.0], keeps 95.0 % [85.0, 105.0]" in said
    )


def test_the_table_leads_with_the_recommended_edit_and_names_every_point(store: ModelStore) -> None:
    made = table(by_hand(store), current=5)
    assert [row["n"] for row in made["rows"]][:3] == [4, 2, 5]
    assert sorted(row["n"] for row in made["rows"]) == list(range(6))
    first = made["rows"][0]
    assert first["best"] and "recommended" in first["note"] and first["cells"][3] == ["70.0 [60.0, 80.0]", 70]
    assert len(first["cells"]) == len(made["columns"])


def test_the_csv_has_the_figures_of_every_trial(store: ModelStore) -> None:
    measured = by_hand(store)
    rows = list(csv.DictReader(io.StringIO(csv_text(measured))))
    assert len(rows) == 6 and [row["arm"] for row in rows[:2]] == ["original", "steering"]
    fourth = rows[4]
    assert (float(fourth["attribute"]), float(fourth["utility_kept"])) == (0.7, 0.99)
    assert (fourth["rho_attn"], fourth["rho_mlp"], fourth["neurons"], fourth["recommended"]) == ("", "0.7", "12", "1")


# ---- fields ---------------------------------------------------------------------------------------------------------


def test_the_papers_preset_is_its_grid() -> None:
    trials = trials_of(PRESETS[PAPER], 200)
    assert sum(trial.arm == "edit" for trial in trials) == 125
    assert [trial.gamma for trial in trials[:15]] == list(PAPER_GAMMA)
    assert len(trials_of(PRESETS[SMALL], 200)) == 17


def test_fields_read_numbers_off_and_repetitions() -> None:
    trials = trials_of(GridRequest("off, 0.3,0.3", " 0.5 ; off", "0.4", "1, 2", ""), 50)
    assert len(trials) == 6, "off and off is no edit"
    assert {(t.settings.rho_attn, t.settings.rho_mlp) for t in trials if t.settings} == {
        (None, 0.5), (0.3, 0.5), (0.3, None),
    }  # fmt: skip


@pytest.mark.parametrize(
    ("request_", "sentence"),
    [
        (GridRequest("a", "0.5", "0.4"), "ρ heads is no number"),
        (GridRequest("0.3", "0.5", "1.4"), "alpha is 1.4"),
        (GridRequest("-1", "0.5", "0.4"), "rho_attn is -1"),
        (GridRequest("off", "off", "0.4"), "no setting at all"),
        (GridRequest(*[",".join(str(n / 1000) for n in range(1, 91))] * 4), "65,610,000 settings; at most 50"),
        (GridRequest(",".join(["0.1"] * 200), "0.5", "0.4"), "200 values"),
    ],
)
def test_fields_that_cannot_be_used_are_refused_with_a_sentence(request_: GridRequest, sentence: str) -> None:
    with pytest.raises(SettingsError, match=re.escape(sentence)):
        trials_of(request_, 50)
    assert sentence in estimate(request_, 10, 50, None)


def test_the_work_is_told_before_it_starts() -> None:
    words = estimate(PRESETS[PAPER], 60, 200, 141.0)
    assert "125 edits, 15 steering strengths" in words and "141 settings × 120 prompts = 16,920 answers" in words
    assert words.endswith("about 2 min here.")


# ---- runs -----------------------------------------------------------------------------------------------------------


def test_a_sweep_measures_every_setting_and_keeps_no_text(store: ModelStore, session: Session, grid: Lab) -> None:
    measured = measured_of(grid)
    assert grid.state == "done" and grid.done == grid.total == SETTINGS * 2 * PER_SPLIT
    assert [p.trial.arm for p in measured.points] == ["original", "steering", "edit", "edit"]
    assert measured.about.outcomes == ()
    for one in measured.points[2:]:
        assert one.trial.settings is not None and one.size is not None
        assert one.size[1] == session.with_settings(one.trial.settings).edit.count("neurons")
    whole = grown((), load_sweep(grid.folder / "sweep.jsonl", session.scored.scores.spec))
    assert [p.result.kept.value for p in whole] == [p.result.kept.value for p in measured.points]


def test_a_stopped_sweep_keeps_what_is_done_and_continue_asks_only_the_rest(
    store: ModelStore, session: Session, grid: Lab
) -> None:
    slow = replace(TINY, rho_mlp="0.4, 0.5, 0.55, 0.6, 0.7")
    with closing(swept(store, session, SweepRequest(slow, PER_SPLIT, 97))) as labs:
        first = next(labs)
        lines = first.folder / "sweep.jsonl"
        for _ in labs:
            if lines.is_file() and lines.read_text(encoding="utf-8").count('"t":') >= 1:
                break
    lab = stopped(store, session, first)
    assert lab.state == "stopped"
    before = lines.read_text(encoding="utf-8").splitlines()
    resumed = last(continued(store, session, lab))
    assert resumed.state == "done" and resumed.folder != lab.folder
    after = (resumed.folder / "sweep.jsonl").read_text(encoding="utf-8").splitlines()
    assert after[: len(before)] == before and len(after) == 1 + 7 + 7 * 2 * PER_SPLIT
    both = set(figures_of(grid)) & set(figures_of(resumed))
    assert len(both) == SETTINGS
    for key in both:
        assert figures_of(grid)[key] == figures_of(resumed)[key]


def test_a_search_recommends_and_checks_on_held_out_prompts(store: ModelStore, search: Lab) -> None:
    measured = measured_of(search)
    assert search.state == "done" and len(measured.points) >= 1 + len(PAPER_GAMMA) + 1 + 3
    assert measured.about.split == "development"
    if measured.held_out is not None:
        assert measured.held_out.about.split == "test"
        assert measured.held_out.original.result.attribute.count == PER_SPLIT
    assert ("Recommended" in advice(measured)) == (measured.best("edit") is not None)
    reopened = measured_files(
        search.folder, session_of(store).scored.scores.spec, floor=measured.floor, wanted=measured.wanted
    )
    assert advice(reopened).split("</p>")[-3:] == advice(measured).split("</p>")[-3:]
    assert reopened.best("edit") == measured.best("edit") and reopened.best("steering") == measured.best("steering")


def test_more_and_more_components_end_at_the_whole_edit(store: ModelStore, session: Session) -> None:
    small = with_count(with_count(session, "heads", 2), "neurons", 3)
    lab = last(run_study(store, small, "progressive", 2))
    sizes = [sum(p.size) for p in measured_of(lab).points if p.size]
    assert sizes == [1, 2, 4, 5]
    figure = progressive_figure(measured_of(lab))
    assert list(figure.data[0].x) == sizes and figure.layout.xaxis.type == "log"
    assert len(figure.data[0].error_y.array) == len(figure.data[1].error_y.array) == 4


def test_leaving_one_out_compares_with_the_whole_edit_prompt_by_prompt(store: ModelStore, session: Session) -> None:
    small = with_count(with_count(session, "heads", 1), "neurons", 2)
    lab = last(run_study(store, small, "leave-one-out", 3))
    points = measured_of(lab).points
    whole = points[1].result.attribute.value
    assert len(points) == 5 and points[1].change is not None and points[1].change.value == 0
    for one in points[2:]:
        assert one.change is not None
        assert math.isclose(one.change.value, one.result.attribute.value - whole, abs_tol=1e-9)
        assert one.size is not None and sum(one.size) == 2
    figure = leave_one_out_figure(measured_of(lab))
    assert len(figure.data[0].y) == 3 and all("of layer" in name for name in figure.data[0].y)


@pytest.mark.parametrize(
    ("floor", "budget", "sentence"),
    [(97, -1, "from 0 to 200"), (97, 201, "from 0 to 200"), (0, 4, "percentage"), (97, None, "from 0 to 200")],
)
def test_a_search_beyond_the_limits_is_refused(
    store: ModelStore, session: Session, floor: float, budget: float | None, sentence: str
) -> None:
    with pytest.raises(SettingsError, match=sentence):
        next(searched(store, session, floor, budget))


def test_a_sweep_beyond_the_limits_is_refused(store: ModelStore, session: Session) -> None:
    with pytest.raises(SettingsError, match="prompts must be from 2 to 150"):
        next(swept(store, session, SweepRequest(TINY, 151, 97)))
    with pytest.raises(SettingsError, match="at most 200"):
        next(swept(store, session, SweepRequest(replace(PRESETS[PAPER], strength="1, 2"), 4, 97)))
    assert "200 settings and 150 prompts" in store.limits.sentence()


def test_what_cannot_be_measured_is_said_in_a_sentence(store: ModelStore, session: Session) -> None:
    own = replace(session, behavior=OWN)
    assert "attribute.jsonl" in why_not(store, own) and not why_not(store, session)
    other_way = replace(session, swapped=True)
    assert "refuses" in why_not(store, other_way)
    with pytest.raises(SettingsError, match="Your own examples"):
        next(swept(store, own, SweepRequest(TINY, 4, 97)))
    view = lab_view(store, own, Bench())
    assert "Your own examples" in view["parts_status"] and view["plot"] is None
    assert [view[name]["interactive"] for name in ("find", "sweep", "progressive")] == [True, False, False]
    with pytest.raises(SettingsError, match="refuses"):
        next(searched(store, other_way, 97, 4))


def test_an_empty_edit_and_a_recipe_have_no_components_to_leave_out(store: ModelStore, session: Session) -> None:
    with pytest.raises(SettingsError, match="Nothing is edited"):
        next(run_study(store, with_nothing_edited(session), "progressive", 2))
    with pytest.raises(SettingsError, match="uploaded"):
        next(run_study(store, session.with_brought(Brought("mine", "key", session.edit)), "progressive", 2))


# ---- on the page ----------------------------------------------------------------------------------------------------


def picked(lab: Lab, n: object) -> dict:
    return {"view": lab.view, "n": n}


def test_a_picked_point_becomes_the_edit_of_the_page(store: ModelStore, session: Session, grid: Lab) -> None:
    bench = Bench().with_lab(grid)
    settings = measured_of(grid).points[3].trial.settings
    loaded = loaded_point("trade-off", session, picked(grid, 3), bench)
    assert loaded.settings is settings and current_point(loaded, grid) == 3
    back = of_place(store, json.loads(json.dumps(place_of(loaded))))
    assert current_point(back, grid) == 3, "as the tab sends it back"
    again = loaded_point("trade-off", loaded, picked(grid, 3), bench)
    assert again is loaded, "picked twice changes nothing"


def test_a_picked_steering_strength_goes_to_the_comparison(session: Session, grid: Lab) -> None:
    bench = Bench().with_lab(grid)
    assert loaded_point("trade-off", session, picked(grid, 1), bench) is session
    event = gr.EventData(None, picked(grid, 1))
    assert steering_of(session, bench, event) == (0.5, True)
    assert steering_of(session, bench, gr.EventData(None, picked(grid, 2))) == (gr.skip(), gr.skip())


@pytest.mark.parametrize("n", [None, -1, 4, 99, "2", 2.0, True, [2]])
def test_a_forged_pick_changes_nothing(session: Session, grid: Lab, n: object) -> None:
    bench = Bench().with_lab(grid)
    assert loaded_point("trade-off", session, picked(grid, n), bench) is session
    assert loaded_point("trade-off", session, {"view": "old", "n": 2}, bench) is session
    assert read_point(None, "x", 3) is None


def test_the_recommended_edit_is_loaded_and_its_absence_is_a_sentence(
    store: ModelStore, session: Session, grid: Lab
) -> None:
    measured = by_hand(store)
    loaded = loaded_best(session, Bench().with_lab(grid.changed(measured=measured)))
    assert loaded.settings is measured.points[4].trial.settings
    with pytest.raises(SettingsError, match="Find a good edit"):
        loaded_best(session, Bench())


def test_another_behaviour_shows_nothing_of_this_one_and_coming_back_shows_it_again(
    store: ModelStore, session: Session, grid: Lab
) -> None:
    bench, other = Bench().with_lab(grid), session_of(store, 1)
    assert lab_view(store, other, bench)["plot"] is None and lab_view(store, other, bench)["advice"] == ""
    assert lab_view(store, session, bench)["plot"] is not None
    moved = with_strength(session, 0.9)
    assert lab_view(store, moved, bench)["plot"]["view"] == grid.view, "a dial that moves leaves the points"


def test_a_stopped_run_offers_to_go_on(store: ModelStore, session: Session, grid: Lab) -> None:
    bench = Bench().with_lab(grid.changed(state="stopped"))
    view = lab_view(store, session, bench)
    assert view["go_on"]["visible"] and view["find"]["interactive"] and "Continue" in view["status"]
    running = lab_view(store, session, Bench().with_lab(grid.changed(state="running")))
    assert running["stop"]["interactive"] and not running["find"]["interactive"] and "<progress" in running["status"]


# ---- files ----------------------------------------------------------------------------------------------------------


def test_the_files_are_what_they_say(store: ModelStore, session: Session, grid: Lab, search: Lab) -> None:
    bench = Bench().with_lab(grid)
    rows = list(csv.DictReader(io.StringIO(csv_file(store, bench, session).read_text(encoding="utf-8"))))
    assert [row["arm"] for row in rows] == ["original", "steering", "edit", "edit"]
    again = load_sweep(sweep_download(store, bench, session), session.scored.scores.spec)
    assert len(again.outcomes) == SETTINGS
    with zipfile.ZipFile(sweep_download(store, Bench().with_lab(search), session)) as archive:
        assert "development.jsonl" in {Path(name).name for name in archive.namelist()}
    report = report_file(store, bench, session).read_text(encoding="utf-8")
    assert "How each number was made" in report
    with pytest.raises(SweepError, match="Nothing has been measured"):
        csv_file(store, Bench(), session)


def test_a_report_is_complete_escaped_and_needs_no_network(store: ModelStore) -> None:
    measured = replace(by_hand(store), wanted="refuses </script><script>alert(1)</script>")
    text = report_html(measured, made="1 May <2026>")
    own = text.replace(text[text.index("<script>") : text.rindex("const FIGURES")], "")
    assert "</script><script>alert" not in own and "1 May &lt;2026&gt;" in own
    assert not re.search(r"""(src|href)\s*=\s*["']?(https?:)?//""", own)
    for words in (
        measured.about.provenance.fingerprint, "split development", "temperature 1, seed 0", "Wilson", "bootstrap",
        "score “refusal”", "floor", measured.about.provenance.contrast_hash,
    ):  # fmt: skip
        assert words in own, words


def test_the_command_writes_the_report_of_a_file_and_says_what_is_wrong(
    store: ModelStore, grid: Lab, tmp_path: Path
) -> None:
    out = tmp_path / "report.html"
    report_main([str(grid.folder / "sweep.jsonl"), "-o", str(out)])
    written = out.read_text(encoding="utf-8")
    sizes = [point.size for point in measured_of(grid).points if point.size is not None]
    assert "refuses" in written and sizes
    for heads, neurons in sizes:
        assert f"<td>{heads:,}</td><td>{neurons:,}</td>" in written
    broken = tmp_path / "broken.jsonl"
    broken.write_text(json.dumps({"format": "other"}) + "\n")
    with pytest.raises(SystemExit, match="not a sweep"):
        report_main([str(broken), "-o", str(out)])
