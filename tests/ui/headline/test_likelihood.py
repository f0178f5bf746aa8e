"""The headline by likelihood: every pair is reported once, an arm without a choice counts as the untouched model."""

from dataclasses import replace

import pytest

from components.headline.likelihood import Turns, likelihood_record, likelihood_section
from s2e_core import extract, load_model
from s2e_core.data import behavior_gate_texts, contrast_set, load_behavior
from s2e_core.measure import find_by_likelihood, mean, split_fifths

N_TURNS = 5


@pytest.fixture(scope="module")
def behavior():
    whole = load_behavior("truthfulness")
    few = contrast_set(whole.contrast.positive[:30], whole.contrast.negative[:30], name="few")
    return replace(whole, contrast=few)


@pytest.fixture(scope="module")
def run(behavior):
    """Two turns of a search with few trials."""
    bundled, texts, found = load_model("bundled"), behavior_gate_texts(behavior), []
    for turn in (0, 1):
        examples = split_fifths(behavior.contrast, turn)
        extraction = extract(bundled, examples.fit, texts=texts)
        probes = texts.probes[:4]
        found.append(find_by_likelihood(bundled, extraction, examples, probes, n_trials=4, shortlist=2, bound=0.3))
    return Turns(behavior, tuple(found))


def test_over_the_turns_every_example_is_reported_once_and_never_by_what_was_made_from_it(behavior):
    parts = [split_fifths(behavior.contrast, turn) for turn in range(N_TURNS)]
    for side in ("positive", "negative"):
        reported = [example for part in parts for example in getattr(part.report, side)]
        assert len(reported) == len(set(reported)) and set(reported) == set(getattr(behavior.contrast, side))
        for part in parts:
            used = {*getattr(part.fit, side), *getattr(part.choose, side)}
            assert not used & set(getattr(part.report, side))


def test_figures_are_those_of_all_pairs(run):
    arms = [(found.edit, found.steering, found.pairs) for found in run.found]
    edits, steered = [], []
    for edit, steering, n_pairs in arms:
        edits += [0.0] * n_pairs if edit is None else edit.figures.margins
        steered += [0.0] * n_pairs if steering is None else steering.figures.margins
    assert any(edits) and any(steered)
    reported = [split_fifths(run.behavior.contrast, turn).report for turn in (0, 1)]
    pairs = sum(min(len(part.positive), len(part.negative)) for part in reported)
    assert len(edits) == sum(found.pairs for found in run.found) == run.lead.count == pairs
    record = likelihood_record(run)
    assert record["edit"]["margin"]["value"] == mean(edits).value
    assert record["lead"]["value"] == pytest.approx(mean(edits).value - mean(steered).value)
    table = "\n".join(section(record))
    assert f"{mean(edits).value:+.3f}" in table and f"| Truthfulness | 2 | {run.lead.count} |" in table


def test_an_arm_without_a_choice_counts_as_the_untouched_model(run):
    first, second = run.found
    without = Turns(run.behavior, (replace(first, steering=None, lead=None), second))
    assert without.margins("steering")[: first.pairs] == [0.0] * first.pairs
    assert len(without.margins("steering")) == len(without.margins("edit"))
    neither = Turns(run.behavior, (replace(first, edit=None, steering=None, lead=None),))
    assert neither.lead.value == 0 and neither.lead.count == first.pairs
    assert "nothing raises the margin" in "\n".join(section(likelihood_record(neither)))


def test_after_one_turn_the_row_says_what_was_chosen(run):
    (found,) = (one for one in run.found[:1])
    record = likelihood_record(Turns(run.behavior, (found,)))
    assert found.edit is not None and record["turns"] == 1
    assert record["edit"]["what"] == f"{found.edit.trial.settings.family}: {found.edit.trial.short_label}"
    assert record["edit"]["kl"] == [found.edit.figures.kl.value] * 2


def test_behaviours_without_these_figures_have_no_section():
    assert likelihood_section({"tone": {"title": "Tone"}}) == []


def section(record):
    return likelihood_section({"truthfulness": {"title": "Truthfulness", "by likelihood": record}})
