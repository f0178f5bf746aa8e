"""Rounds of screening: who stays, at which levels of KL, in which order the best are asked, and progress."""

import pytest

from s2e_core import Cancelled, EditSettings, build_edit
from s2e_core.measure import (
    Estimate,
    Likelihood,
    Screened,
    Trial,
    open_screen,
    pick_shortlist,
    screen,
    screen_shapes,
    screen_texts,
    shortlist,
    split_contrast,
)
from s2e_core.measure.shapes import SHARES, Shape
from s2e_core.measure.shortlist import (
    NEAR,
    PROBE_GAMMAS,
    _better_half,
    _Candidate,
    _last_round,
    count_measurements,
)
from s2e_core.measure.trials import trial_to_json
from s2e_core.settings import Gate
from s2e_core.values import Edited

N_SHAPES, MOST = 6, 6


def likelihood(margin, kl):
    figures = (Estimate(value, value, value, 5) for value in (margin, margin / 2, kl))
    return Likelihood(*figures)


def candidate(shape, margin, kl, strength=1.0):
    return _Candidate(shape, strength, None, likelihood(margin, kl), ((strength, kl),))


@pytest.fixture(scope="module")
def against(bundled, few_pairs, few_texts):
    return open_screen(bundled, screen_texts(bundled, split_contrast(few_pairs)[1], few_texts.probes))


@pytest.fixture(scope="module")
def run(bundled, tone, against):
    """(what was screened, what progress said)"""
    shown = []
    screened = screen_shapes(
        bundled, tone, tone, against, n_shapes=N_SHAPES, most=MOST, progress=lambda *at: shown.append(at)
    )
    return screened, shown


# rounds


def test_the_better_half_of_every_family_stays_by_its_margin_at_one_kl():
    net, gate = [Shape(neurons=n) for n in range(1, 5)], [Shape(mu=1.0, size=n) for n in range(1, 4)]
    measured = [
        candidate(net[0], 0.4, 0.4), candidate(net[1], 0.3, 0.1), candidate(net[2], -0.1, 0.001),
        candidate(net[3], 0.1, 0.1), candidate(gate[0], 0.01, 0.1), candidate(gate[1], 0.02, 0.1),
        candidate(gate[2], 9.0, float("inf")),
    ]  # fmt: skip
    kept = [each.shape for each in _better_half(measured, 0.1)]
    assert kept == [net[1], net[0], gate[1], gate[0]], "0.4 at four times the KL is worth 0.2"
    assert _Candidate(net[0], 1.0).merit(0.1) == -float("inf"), "what was not measured comes last"


def test_the_best_of_every_family_has_its_turn_first_at_every_level():
    net, gate = [Shape(neurons=n) for n in range(1, 4)], [Shape(mu=1.0)]
    alive = [candidate(shape, 1.0, 0.1) for shape in (*net, *gate)]
    turns = _last_round(alive, 4, 10)
    assert [each.shape for each, _ in turns] == [net[0], gate[0], net[1]]
    assert [list(numbers) for _, numbers in turns] == [[0, 1, 2, 3], [0, 1, 2, 3], [1, 2]]
    assert len(_last_round(alive[:1], 4, 10)) == 1
    few = _last_round([*alive, candidate(Shape(mu=0.0), 1.0, 0.1)], 5, 8)
    assert [(each.shape.family, list(numbers)) for each, numbers in few] == [
        ("elastic net", [1, 2]), ("gated steering", [1, 2]), ("baked steering", [1, 2]), ("elastic net", [1, 2])
    ], "where not every family can have all levels, each has some"  # fmt: skip


def test_the_strength_for_a_level_belongs_to_the_kl_that_was_measured_there():
    one = candidate(Shape(mu=1.0), 0.2, 0.04, strength=0.5)
    assert one.at(0.01).strength == pytest.approx(0.25) and one.at(0.04).strength == pytest.approx(0.5)
    assert one.at(0.01).at(0.04).strength == pytest.approx(0.5), "no correction is applied twice"
    assert _Candidate(Shape(mu=1.0), 0.7).at(0.01).strength == 0.7


def test_edits_come_near_the_levels_of_steering(run):
    screened, _ = run
    levels = [each.figures.kl.value for each in screened if each.level is None]
    assert [each.trial.gamma for each in screened if each.level is None] == list(PROBE_GAMMAS)
    edits = [each for each in screened if each.level is not None]
    assert len(edits) == 2 * MOST and {each.level for each in edits} <= set(range(len(PROBE_GAMMAS)))
    near = [1 / NEAR < each.figures.kl.value / levels[each.level] < NEAR for each in edits]
    assert sum(near) >= 0.75 * len(near)
    assert {each.family for each in edits} == set(SHARES)


def test_the_figures_are_those_of_the_settings(run, bundled, tone, against):
    for each in run[0][len(PROBE_GAMMAS) :: 5]:
        (figures,) = screen(bundled, [Edited(build_edit(tone, each.trial.settings))], against)
        assert figures.margin.value == pytest.approx(each.figures.margin.value, abs=1e-5)
        assert figures.kl.value == pytest.approx(each.figures.kl.value, rel=1e-3)


def test_progress_never_exceeds_its_total_and_ends_at_it(run):
    _, shown = run
    assert shown == sorted(shown) and {total for _, total in shown} == {count_measurements(N_SHAPES, MOST)}
    assert shown[-1][0] == shown[-1][1] and len(shown) > N_SHAPES


def test_the_same_seed_screens_the_same_at_the_levels_that_are_given(bundled, tone, against):
    part = against.part(0.5)
    one, other = (screen_shapes(bundled, tone, tone, part, n_shapes=3, most=1, levels=[0.02]) for _ in range(2))
    settings = [[trial_to_json(each.trial) for each in screened] for screened in (one, other)]
    assert settings[0] == settings[1]
    edits = one[len(PROBE_GAMMAS) :]
    assert len(edits) == 2 and {each.level for each in edits} == {0}


def test_without_gates_only_elastic_nets_are_tried(bundled, tone, against):
    part = against.part(0.3)
    screened = screen_shapes(bundled, tone, tone, part, n_shapes=2, most=1, gates=False)
    assert {each.family for each in screened} == {"steering", "elastic net"}


def test_steering_that_breaks_the_model_gives_no_level(bundled, tone, against, monkeypatch):
    monkeypatch.setattr(shortlist, "PROBE_GAMMAS", (0.4, 0.8, 1e300))
    screened = screen_shapes(bundled, tone, tone, against.part(0.3), n_shapes=1, most=2)
    assert [each.figures.kl.value == float("inf") for each in screened[:3]] == [False, False, True]
    assert {each.level for each in screened[3:]} == {0, 1}


def test_a_stop_ends_the_screen_in_every_round(bundled, tone, against):
    for after in (1, 6, 9):

        def stop(done, total, after=after):
            if done >= after:
                raise Cancelled("Stopped.")

        with pytest.raises(Cancelled):
            screen_shapes(bundled, tone, tone, against.part(0.3), n_shapes=3, most=2, progress=stop)
        assert not bundled.lock.locked()


# the shortlist


def screened(level, margin, *, rho=0.3, gate=None):
    settings = EditSettings(rho, None, 0.5, gate=gate)
    return Screened(Trial(settings), likelihood(margin, 0.1), level)


def test_the_shortlist_takes_the_best_of_every_level_in_turn():
    rows = [screened(0, 0.1), screened(0, 0.3), screened(1, 0.2), screened(2, 0.9), screened(2, 0.8), screened(2, 0.7)]
    steering = Screened(Trial(gamma=1.0), likelihood(9.0, 0.1))
    broken = screened(1, -float("inf"))
    expected = [rows[1], rows[2], rows[3], rows[0], rows[4], rows[5]]
    assert pick_shortlist([steering, broken, *rows], 99) == tuple(each.trial for each in expected)
    assert pick_shortlist(rows, 2) == (rows[1].trial, rows[2].trial)
    assert pick_shortlist([steering], 5) == ()


def test_by_family_each_family_has_its_turn():
    nets = [screened(0, 0.9), screened(0, 0.8)]
    sums = [screened(0, 0.1, gate=Gate(0.5, 1.0))]
    assert pick_shortlist([*nets, *sums], 2, by_family=True) == (nets[0].trial, sums[0].trial)
