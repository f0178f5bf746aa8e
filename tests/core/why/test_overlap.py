"""Two edits beside each other, against figures worked out by hand; refusals against their answers."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch

from s2e_core import EditSettings, load_behavior
from s2e_core.errors import BehaviorError, Cancelled, SettingsError
from s2e_core.measure import Plan, Share, ask
from s2e_core.method import combine
from s2e_core.spec import ModelSpec, Site
from s2e_core.text import judge
from s2e_core.values import Edited, Original, Provenance, SteeringDirections, WeightEdit
from s2e_core.why import cosine_with, find_overlap, refusal_behavior, refusal_rates

SPEC = ModelSpec(
    "toy", 1, 2, (Site(0, "heads", "o", n_components=2, width=2), Site(0, "neurons", "d", n_components=3, width=1))
)
NOBODY = Provenance("toy", None, "f00", "nothing", "0")
SETTINGS = EditSettings(1.0, 1.0, 0.0)


def edit_of(left, right):
    pairs = zip(right, SPEC.sites, strict=True)
    strength = [torch.tensor(a).unflatten(0, (s.n_components, -1)).norm(dim=1) for a, s in pairs]
    return WeightEdit(
        SPEC, tuple(map(torch.tensor, left)), tuple(map(torch.tensor, right)), tuple(strength), SETTINGS, NOBODY
    )


def test_two_small_edits_worked_out_by_hand():
    # u . u' is 0.6 at the heads and -1 at the neurons.
    first = edit_of([[1.0, 0.0], [0.0, 1.0]], [[2.0, 0.0, 0.0, 0.0], [1.0, 2.0, 0.0]])
    second = edit_of([[0.6, 0.8], [0.0, -1.0]], [[3.0, 4.0, 1.0, 0.0], [3.0, -2.0, 5.0]])
    found = find_overlap(first, second)
    assert found.counts == ({"heads": 1, "neurons": 2}, {"heads": 2, "neurons": 3})
    assert found.expected == {"heads": 1 * 2 / 2, "neurons": 2 * 3 / 3}
    figures = {tuple(one.component): (one.cosine, one.weight) for one in found.shared}
    assert figures[0, 0] == pytest.approx((0.6 * 6 / (2 * 5), 2 * 5))
    assert figures[1, 0] == pytest.approx((-1.0, 3.0)) and figures[1, 1] == pytest.approx((1.0, 4.0))
    assert [tuple(one.component) for one in found.shared] == [(1, 1), (0, 0), (1, 0)]  # by |cosine| times weight
    assert {tuple(one.component) for one in found.together} == {(0, 0), (1, 1)}
    assert [tuple(one.component) for one in found.opposed] == [(1, 0)] and found.count("neurons") == 2
    inner, sizes = 0.6 * 6 - 3 + 4, (4 + 1 + 4, 25 + 1 + 9 + 4 + 25)
    assert found.cosine == pytest.approx(inner / math.sqrt(sizes[0] * sizes[1]))
    assert found.size == pytest.approx(math.sqrt((sum(sizes) + 2 * inner) / sum(sizes)))


def test_cosines_with_a_direction_worked_out_by_hand():
    edit = edit_of([[1.0, 0.0], [0.0, 1.0]], [[3.0, 0.0, 0.0, 4.0], [0.0, 0.0, 1.0]])
    refusal = SteeringDirections(SPEC, (torch.tensor([0.6, 0.8]), torch.tensor([0.0, -1.0])), torch.ones(2), NOBODY)
    found = cosine_with(edit, refusal)
    assert found.sites == pytest.approx((0.6, -1.0)) and found.random == pytest.approx(1 / math.sqrt(2))
    assert found.mean == pytest.approx((5 * 0.6 - 1 * 1) / 6)
    assert found.share == pytest.approx((25 * 0.36 + 1) / 26) and found.largest(1) == (1,)
    without = replace(edit, right=(edit.right[0], torch.zeros(3)))
    assert cosine_with(without, refusal).sites == (pytest.approx(0.6), None)


def test_the_whole_is_what_the_matrices_say(bundled, tone_edit, tone):
    other = combine([replace(tone_edit, right=tuple(a.roll(3) for a in tone_edit.right)), tone_edit], [1.0, 0.4])
    found = find_overlap(tone_edit, other)
    dots, sizes = 0.0, [0.0, 0.0]
    for i in range(len(bundled.spec.sites)):
        one, two = (sum(torch.outer(p.left[i], p.right[i]).double() for p in e.parts) for e in (tone_edit, other))
        dots, sizes[0], sizes[1] = (
            dots + float((one * two).sum()),
            sizes[0] + one.norm() ** 2,
            sizes[1] + two.norm() ** 2,
        )
    assert found.cosine == pytest.approx(dots / math.sqrt(sizes[0] * sizes[1]), rel=1e-6)
    same = find_overlap(tone_edit, tone_edit)
    assert same.cosine == pytest.approx(1) and not same.opposed and same.size == pytest.approx(math.sqrt(2))
    against = find_overlap(tone_edit, replace(tone_edit, right=tuple(-a for a in tone_edit.right)))
    assert against.cosine == pytest.approx(-1) and not against.together and against.size == pytest.approx(0, abs=1e-6)
    assert cosine_with(tone_edit, tone.directions).mean == pytest.approx(1, abs=1e-6)


def test_what_cannot_be_compared_is_a_sentence(tone_edit):
    first = edit_of([[1.0, 0.0], [0.0, 1.0]], [[2.0, 0.0, 0.0, 0.0], [1.0, 2.0, 0.0]])
    nothing = replace(first, right=tuple(torch.zeros_like(a) for a in first.right))
    with pytest.raises(SettingsError, match="different models"):
        find_overlap(first, tone_edit)
    with pytest.raises(SettingsError, match="changes nothing"):
        find_overlap(first, nothing)
    directions = SteeringDirections(SPEC, first.left, torch.ones(2), NOBODY)
    with pytest.raises(SettingsError, match="changes nothing"):
        cosine_with(nothing, directions)
    with pytest.raises(SettingsError, match="different models"):
        cosine_with(tone_edit, directions)


def test_refusals_are_counted_on_the_answers_that_are_given(bundled, tone_edit):
    safety, told = load_behavior("safety"), []
    found = refusal_rates(
        bundled, safety, [Original(), Edited(tone_edit)], count=12, seed=3, progress=lambda *at: told.append(at)
    )
    plan = Plan(safety, "test", 12, 0, seed=3)
    questions = plan.questions()
    assert len(questions) == 12 and told[-1] == (24, 24)
    shares = [Share(0, n) for n in range(12)]
    answered = [(s.question, a) for part in ask(bundled, [Original()], plan, questions, shares) for s, a in part]
    refused = sum(judge(questions[n].row, a.text, a.n_tokens).score == 1 for n, a in answered)
    assert found[0].value == pytest.approx(refused / 12) and found[0].count == 12
    assert 0 < found[0].value < 1 and found[0].low < found[0].value < found[0].high


def test_the_behaviour_that_measures_refusals_is_found_by_its_prompts():
    tone, safety = load_behavior("tone"), load_behavior("safety")
    assert refusal_behavior([tone, safety]) is safety and refusal_behavior([tone]) is None


def test_a_stop_and_another_behaviour_are_sentences(bundled):
    def stop(done, total):
        raise Cancelled("Stopped.")

    with pytest.raises(Cancelled):
        refusal_rates(bundled, load_behavior("safety"), [Original()], count=4, progress=stop)
    with pytest.raises(BehaviorError, match="not judged by refusals"):
        refusal_rates(bundled, load_behavior("tone"), [Original()], count=4)
