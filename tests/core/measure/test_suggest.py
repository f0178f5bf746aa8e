"""The suggested settings: under a bound of divergence, one for each family, and back from JSON."""

import json

import pytest

from s2e_core import Cancelled, build_edit
from s2e_core.measure import (
    KL_BOUND,
    open_screen,
    screen,
    screen_texts,
    suggest,
    suggestions_from_json,
    suggestions_to_json,
)
from s2e_core.measure.shapes import reach
from s2e_core.measure.suggest import (
    LARGEST_STEP,
    first_strength,
    next_strength,
    reference_shapes,
    strongest_within,
)
from s2e_core.settings_json import settings_to_json
from s2e_core.values import Edited


@pytest.fixture(scope="module")
def run(bundled, tone, few_pairs, few_texts):
    """(suggestions, what progress said)"""
    shown = []
    found = suggest(bundled, tone, few_pairs, few_texts, progress=lambda *at: shown.append(at))
    return found, shown


@pytest.fixture(scope="module")
def against(bundled, few_pairs, few_texts):
    return open_screen(bundled, screen_texts(bundled, few_pairs, few_texts.probes)).part(0.25)


def test_every_family_has_one_under_the_bound_the_largest_margin_first(run, bundled, tone, few_pairs, few_texts):
    found, _ = run
    assert {each.family for each in found} == {"elastic net", "baked steering", "gated steering"}
    assert [each.margin for each in found] == sorted((each.margin for each in found), reverse=True)
    texts = screen_texts(bundled, few_pairs, few_texts.probes)
    variants = [Edited(build_edit(tone, each.settings)) for each in found]
    for each, figures in zip(found, screen(bundled, variants, open_screen(bundled, texts)), strict=True):
        assert each.kl <= KL_BOUND and figures.kl.value == pytest.approx(each.kl, rel=1e-3)


def test_progress_ends_at_its_total_and_a_stop_is_heard(run, bundled, tone, few_pairs, few_texts):
    _, shown = run
    assert shown == sorted(shown) and len({total for _, total in shown}) == 1 and shown[-1][0] == shown[-1][1]

    def stop(done, total):
        if done > len(few_texts.probes):
            raise Cancelled("Stopped.")

    with pytest.raises(Cancelled):
        suggest(bundled, tone, few_pairs, few_texts, progress=stop)


def test_a_larger_bound_never_gives_a_weaker_edit(bundled, tone, against):
    for shape in reference_shapes(bundled.spec):
        reached = []
        for bound in (0.003, 0.03, 0.3):
            settings, figures = strongest_within(bundled, tone, shape, against, bound)
            assert figures.kl.value <= bound
            reached.append(reach(tone, build_edit(tone, settings)).on)
        for smaller, larger in zip(reached, reached[1:], strict=False):  # strong gates differ little, on few texts
            assert larger > 0.9 * smaller, shape.family


def test_no_edit_is_suggested_where_every_one_is_above_the_bound(bundled, tone, against):
    assert strongest_within(bundled, tone, reference_shapes(bundled.spec)[1], against, -1.0) is None


def test_suggestions_come_back_from_json(run, bundled):
    found, _ = run
    back = suggestions_from_json(json.loads(json.dumps(suggestions_to_json(found))), bundled.spec)
    for one, other in zip(found, back, strict=True):
        assert settings_to_json(one.settings) == settings_to_json(other.settings)
        assert (one.margin, one.kl, one.family) == (other.margin, other.kl, other.family)
    for broken in ({}, {"settings": {}, "margin": 1, "kl": 0}, {**suggestions_to_json(found)[0], "kl": None}):
        with pytest.raises((KeyError, TypeError, ValueError)):
            suggestions_from_json([broken], bundled.spec)


def test_the_first_strength_adds_as_much_on_harmless_texts_as_the_wanted_steering(tone):
    for shape in reference_shapes(tone.spec):
        strength = first_strength(tone, shape, 0.3)
        assert 0 < strength <= LARGEST_STEP * 0.3 * 1.01


def test_the_next_strength_is_interpolated_between_measurements_and_extrapolated_beyond():
    assert next_strength([(1.0, 0.04)], 0.01) == pytest.approx(0.5)  # KL grows with the square
    assert next_strength([(1.0, 0.01), (4.0, 0.16)], 0.04) == pytest.approx(2.0)
    assert next_strength([(1.0, 0.01), (2.0, 0.08)], 0.64) == pytest.approx(4.0)  # here with the cube
    assert next_strength([(1.0, float("inf"))], 0.01) == 1 / LARGEST_STEP
    assert next_strength([(1.0, 0.0)], 0.01) == LARGEST_STEP
    assert 1.0 < next_strength([(1.0, 0.001), (2.0, float("inf"))], 0.01) < 2.0
    assert next_strength([(1.0, 0.2), (2.0, 0.1)], 0.05) < 2.0  # measured on other texts, the order may be reversed
