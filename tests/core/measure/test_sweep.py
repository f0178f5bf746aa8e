"""Sweeps: equal to one trial after the other, and nothing that was answered is ever asked again."""

from __future__ import annotations

import json
import resource
import signal
import threading
from contextlib import contextmanager
from dataclasses import replace
from importlib import import_module

import pytest
import torch

from s2e_core import Cancelled, EditSettings, SweepError, generate_responses, load_model, sweep
from s2e_core.measure import Plan, Trial, add_original, asking, load_sweep, sweep_results
from s2e_core.measure.trials import trial_to_json, trial_variant
from tests.core.chain import SETTINGS, chain
from tests.core.toy import toy_behavior

SWEEP_FILE = import_module("s2e_core.measure.sweep")  # the package's own `sweep` is the function
PLAN = Plan(toy_behavior(), seed=21)
TRIALS = (Trial(), Trial(gamma=0.8), Trial(SETTINGS), Trial(EditSettings(0.2, None, 0.3)))
N_SHARES = len(TRIALS) * 7


@pytest.fixture(scope="module")
def made(llama):
    return chain(llama)


@contextmanager
def counting(loaded):
    """How many rows read their prompt while the context lasts: how many answers were begun."""
    counted = [0]

    def seen(module, inputs):
        counted[0] += len(inputs[0]) * (inputs[0].shape[1] > 1)

    handle = loaded.model.get_input_embeddings().register_forward_pre_hook(seen)
    try:
        yield counted
    finally:
        handle.remove()


def run(loaded, made, trials=TRIALS, plan=PLAN, **options):
    return sweep(loaded, made.extraction, plan, trials, **options)


def texts(swept):
    return {json.dumps(trial_to_json(o.trial), sort_keys=True): [a.text for a in o.answers] for o in swept.outcomes}


def answer_lines(path):
    return [line for line in path.read_text("utf-8").split("\n") if line.startswith('{"t":')]


def figures(swept):
    names = ("attribute", "utility", "kept", "tokens")
    found = [getattr(result, name) for result in sweep_results(swept) for name in names]
    return [(figure.value, figure.low, figure.high, figure.count) for figure in found]


def stop_after(count):
    def progress(done, total):
        if done >= count:
            raise Cancelled("Stopped.")

    return progress


@pytest.fixture
def small_batches(monkeypatch):
    monkeypatch.setattr(asking, "rows_that_fit", lambda loaded, tokens: 3)


@pytest.mark.parametrize(("samples", "temperature"), [(1, 1.0), (2, 0.7), (1, 0.0)])
def test_a_sweep_is_one_trial_after_the_other(llama, made, samples, temperature):
    plan = replace(PLAN, samples=samples, temperature=temperature)
    swept = run(llama, made, plan=plan)
    assert [outcome.trial for outcome in swept.outcomes] == list(TRIALS)
    for outcome in swept.outcomes:
        alone = generate_responses(
            llama,
            [question.row["prompt"] for question in plan.questions()],
            variant=trial_variant(outcome.trial, made.extraction),
            max_new_tokens=plan.length,
            temperature=temperature,
            seed=plan.seed,
        )
        assert tuple(answer.text for answer in outcome.answers) == alone
    assert len({tuple(found) for found in texts(swept).values()}) > 1


def test_the_untouched_model_is_asked_first_where_nobody_did(llama, made):
    swept = run(llama, made, TRIALS[1:3])
    assert [outcome.trial.arm for outcome in swept.outcomes] == ["original", "steering", "edit"]
    assert add_original(TRIALS) == TRIALS
    assert sweep_results(swept)[0].kept.value == 1.0


def test_progress_counts_answers(llama, made, small_batches):
    seen = []
    run(llama, made, progress=lambda done, total: seen.append((done, total)))
    assert seen == [(min(3 * n, N_SHARES), N_SHARES) for n in range(11)]


def test_a_saved_sweep_comes_back_as_it_was(llama, made, tmp_path):
    path = tmp_path / "sweep.jsonl"
    swept = run(llama, made, path=path)
    loaded = load_sweep(path, llama.spec)
    assert texts(loaded) == texts(swept) == texts(run(llama, made))
    assert figures(loaded) == figures(swept)
    plain = ("behavior", "title", "split", "samples", "temperature", "seed", "max_new_tokens", "less_is_better")
    assert [getattr(loaded, name) for name in plain] == [getattr(swept, name) for name in plain]
    assert [(q.row, q.side, q.seed, q.prompt) for q in loaded.questions] == [
        (q.row, q.side, q.seed, q.prompt) for q in swept.questions
    ]
    assert loaded.provenance.fingerprint == llama.fingerprint


def test_a_file_says_which_questions_are_greedy_and_others_stay_as_they_were(llama, made, tmp_path):
    plain, greedy = tmp_path / "plain.jsonl", tmp_path / "greedy.jsonl"
    run(llama, made, path=plain)
    assert '"greedy"' not in plain.read_text()
    plan = Plan(replace(toy_behavior(), greedy_utility=True), samples=2)
    sweep(llama, made.extraction, plan, TRIALS[:1], path=greedy)
    questions = load_sweep(greedy, llama.spec).questions
    assert [q.greedy for q in questions] == [q.side == "utility" for q in questions] and any(
        q.greedy for q in questions
    )


def test_what_the_file_holds_is_not_asked_again(llama, made, tmp_path):
    path = tmp_path / "sweep.jsonl"
    with counting(llama) as asked:
        first = run(llama, made, path=path)
    assert asked == [N_SHARES]
    content = path.read_bytes()
    with counting(llama) as asked:
        again = run(llama, made, path=path)
    assert asked == [0]
    assert path.read_bytes() == content
    assert texts(again) == texts(first)


def test_a_cancelled_sweep_goes_on_where_it_was(llama, made, tmp_path, small_batches):
    whole, path = tmp_path / "whole.jsonl", tmp_path / "sweep.jsonl"
    expected = run(llama, made, path=whole)
    with counting(llama) as asked:
        for count in (3, 10, 10):
            with pytest.raises(Cancelled):
                run(llama, made, path=path, progress=stop_after(count))
        assert len(answer_lines(path)) == 12
        swept = run(llama, made, path=path)
    assert asked == [N_SHARES]
    assert sorted(path.read_text("utf-8").split("\n")) == sorted(whole.read_text("utf-8").split("\n"))
    assert texts(swept) == texts(expected)
    assert figures(swept) == figures(expected)


def test_shares_are_ordered_by_blocks_of_trials_and_within_them_by_the_length_of_the_prompts(monkeypatch):
    monkeypatch.setattr(SWEEP_FILE, "BLOCK", 2)
    shares = SWEEP_FILE.order_shares(3, PLAN.questions())
    lengths = [len(question.row["prompt"]) for question in PLAN.questions()]
    assert sorted(shares) == [(t, q) for t in range(3) for q in range(7)]
    assert [share.trial for share in shares] == [0, 1] * 7 + [2] * 7
    for block in (shares[:14], shares[14:]):
        assert [lengths[q] for _, q in block] == sorted(lengths[q] for _, q in block)


def test_the_first_line_of_the_file_names_the_model_as_it_always_did(llama, made, tmp_path):
    """A key more, and a file that was begun before could not be resumed."""
    run(llama, made, path=tmp_path / "sweep.jsonl")
    first = json.loads((tmp_path / "sweep.jsonl").read_text().split("\n")[0])
    names = {"model_id", "revision", "fingerprint", "contrast_name", "contrast_hash"}
    assert set(first["provenance"]) == names


def test_a_partial_sweep_has_the_trials_with_all_their_answers(llama, made, tmp_path, small_batches, monkeypatch):
    monkeypatch.setattr(SWEEP_FILE, "BLOCK", 1)
    path = tmp_path / "sweep.jsonl"
    with pytest.raises(Cancelled):
        run(llama, made, path=path, progress=stop_after(10))
    partial = load_sweep(path, llama.spec)
    assert [outcome.trial.arm for outcome in partial.outcomes] == ["original"]


def test_a_stop_keeps_what_was_answered(llama, made, tmp_path, small_batches):
    path, stop = tmp_path / "sweep.jsonl", threading.Event()

    def progress(done, total):
        if done == 6:
            stop.set()

    with pytest.raises(Cancelled):
        run(llama, made, path=path, progress=progress, stop=stop)
    assert len(answer_lines(path)) == 6
    assert not llama.lock.locked()


@pytest.mark.parametrize("cut", [1, 5, 30])
def test_a_line_that_was_left_half_written_is_asked_again(llama, made, tmp_path, cut):
    path = tmp_path / "sweep.jsonl"
    expected = run(llama, made, path=path)
    content = path.read_bytes()
    path.write_bytes(content[:-cut])
    with counting(llama) as asked:
        assert texts(run(llama, made, path=path)) == texts(expected)
    assert asked == [1]
    assert path.read_bytes() == content


def test_answers_with_any_line_separator_of_unicode_come_back(llama, made, tmp_path, monkeypatch):
    odd = "one\u2028two\u2029three\x85four\x0bfive\nsix\r\x1c"
    monkeypatch.setattr(type(llama.tokenizer), "decode", lambda *args, **options: odd)
    path = tmp_path / "sweep.jsonl"
    swept = run(llama, made, path=path)
    assert texts(load_sweep(path, llama.spec)) == texts(swept)
    assert set(texts(swept)[json.dumps(trial_to_json(Trial()), sort_keys=True)]) == {odd}


def test_a_file_that_was_killed_in_its_first_line_is_begun_anew(llama, made, tmp_path):
    path = tmp_path / "sweep.jsonl"
    swept = run(llama, made, path=path)
    for length in (0, 5, 60):
        path.write_bytes(path.read_bytes()[:length])
        assert texts(run(llama, made, path=path)) == texts(swept)


def test_a_file_of_something_else_is_never_overwritten(llama, made, tmp_path):
    path = tmp_path / "notes.txt"
    path.write_text("my notes")
    with pytest.raises(SweepError, match="not a sweep"):
        run(llama, made, path=path)
    assert path.read_text() == "my notes"


def test_a_file_that_a_sweep_is_writing_to_is_refused_to_the_next(llama, made, tmp_path):
    path, refused = tmp_path / "sweep.jsonl", []

    def meanwhile(done, total):
        with pytest.raises(SweepError, match="Another run is writing to sweep.jsonl") as error:
            run(llama, made, path=path)
        refused.append(error)

    swept = run(llama, made, path=path, progress=meanwhile)
    assert refused
    assert texts(load_sweep(path, llama.spec)) == texts(swept) == texts(run(llama, made))


def test_more_trials_later_are_added_to_the_file(llama, made, tmp_path):
    path = tmp_path / "sweep.jsonl"
    run(llama, made, TRIALS[:2], path=path)
    with counting(llama) as asked:
        swept = run(llama, made, TRIALS, path=path)
    assert asked == [14]
    assert texts(swept) == texts(run(llama, made)) == texts(load_sweep(path, llama.spec))
    with counting(llama) as asked:
        fewer = run(llama, made, (TRIALS[2], TRIALS[0]), path=path)
    assert asked == [0]
    assert [outcome.trial for outcome in fewer.outcomes] == [TRIALS[2], TRIALS[0]]
    assert texts(load_sweep(path, llama.spec)) == texts(swept)


def test_a_trial_that_runs_the_same_under_another_name_is_not_asked_again(llama, made, tmp_path):
    path = tmp_path / "sweep.jsonl"
    run(llama, made, path=path)
    with counting(llama) as asked:
        swept = run(llama, made, (Trial(name="base"), Trial(SETTINGS, name="mine")), path=path)
    assert asked == [0]
    assert [outcome.trial.label for outcome in swept.outcomes] == ["base", "mine"]


def test_a_trial_may_stand_twice(llama, made, tmp_path):
    path = tmp_path / "sweep.jsonl"
    twice = (Trial(), Trial(gamma=0.8), Trial(gamma=0.8, name="again"))
    with_file, without = run(llama, made, twice, path=path), run(llama, made, twice)
    for swept in (with_file, without):
        assert [outcome.trial for outcome in swept.outcomes] == list(twice)
        first, second = ([answer.text for answer in outcome.answers] for outcome in swept.outcomes[1:])
        assert first == second
    with counting(llama) as asked:
        assert texts(run(llama, made, twice, path=path)) == texts(with_file)
    assert asked == [0]


@pytest.mark.parametrize(
    "change",
    [{"seed": 22}, {"temperature": 0.5}, {"max_new_tokens": 5}, {"n_utility": 2}, {"split": "test"}, {"samples": 2}],
    ids=lambda change: next(iter(change)),
)
def test_a_file_with_other_questions_or_dice_is_refused_and_left_alone(llama, made, tmp_path, change):
    path = tmp_path / "sweep.jsonl"
    run(llama, made, TRIALS[:2], path=path)
    content = path.read_bytes()
    with pytest.raises(SweepError, match="contains another sweep.*Choose another"):
        run(llama, made, plan=replace(PLAN, **change), path=path)
    assert path.read_bytes() == content


def test_a_file_of_another_model_is_refused(llama, gpt2, made, tmp_path):
    path = tmp_path / "sweep.jsonl"
    run(llama, made, TRIALS[:3], path=path)
    with pytest.raises(SweepError, match="contains another sweep"):
        run(gpt2, chain(gpt2), path=path)


def test_a_file_of_directions_with_other_outliers_is_refused(llama, made, tmp_path):
    path = tmp_path / "sweep.jsonl"
    run(llama, made, TRIALS[:2], path=path)
    assert "outliers" not in json.loads(path.read_text("utf-8").split("\n")[0])  # there are none
    without = replace(made.extraction, means=replace(made.extraction.means, outliers="leave out", n_outliers=1))
    other = tmp_path / "other.jsonl"
    sweep(llama, without, PLAN, TRIALS[:2], path=other)
    assert load_sweep(other, llama.spec).outliers == "leave out"
    for file, extraction in ((path, without), (other, made.extraction)):
        with pytest.raises(SweepError, match="contains another sweep.*outliers"):
            sweep(llama, extraction, PLAN, TRIALS[:2], path=file)


def test_a_file_of_the_same_model_in_another_number_format_is_refused(llama, made, tmp_path):
    path = tmp_path / "sweep.jsonl"
    assert run(llama, made, TRIALS[:2], path=path).number_format == "float32"
    rounded = load_model(llama.source, device="cpu", dtype=torch.bfloat16)
    with pytest.raises(SweepError, match="contains another sweep.*number format"):
        run(rounded, made, TRIALS[:2], path=path)


@pytest.mark.parametrize("content", ["", "hello\n", "[1]\n", '{"a": 1}\n', "{\n", b"\xff\xfe\n"])
def test_a_file_that_is_no_sweep_is_refused_with_a_sentence(llama, made, tmp_path, content):
    path = tmp_path / "notes.txt"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(SweepError, match="notes.txt is not a sweep"):
        load_sweep(path, llama.spec)
    if content:
        with pytest.raises(SweepError, match="notes.txt is not a sweep"):
            run(llama, made, path=path)


def test_a_damaged_sweep_or_none_is_refused_with_a_sentence(llama, made, tmp_path):
    path = tmp_path / "sweep.jsonl"
    with pytest.raises(SweepError, match="cannot be read|not a sweep"):
        load_sweep(path, llama.spec)
    run(llama, made, path=path)
    lines = path.read_text("utf-8").replace('"alpha"', '"alfa"')
    path.write_text(lines, "utf-8")
    with pytest.raises(SweepError, match="damaged or belongs to another model.*Run the sweep again"):
        load_sweep(path, llama.spec)


def test_a_place_that_cannot_be_written_is_refused_with_a_sentence(llama, made, tmp_path):
    with pytest.raises(SweepError, match="cannot be written"):
        run(llama, made, path=tmp_path / "missing" / "sweep.jsonl")
    assert not llama.lock.locked()


@pytest.mark.skipif(not hasattr(signal, "SIGXFSZ"), reason="this system has no limit for the size of a file")
@pytest.mark.parametrize("part", [0.05, 0.9], ids=["in its first line", "among the answers"])
def test_a_full_disk_ends_with_a_sentence_and_what_was_written_is_kept(llama, made, tmp_path, small_batches, part):
    path, before = tmp_path / "sweep.jsonl", resource.getrlimit(resource.RLIMIT_FSIZE)
    run(llama, made, path=tmp_path / "whole.jsonl")
    room = int(part * (tmp_path / "whole.jsonl").stat().st_size)
    resource.setrlimit(resource.RLIMIT_FSIZE, (room, before[1]))
    try:
        with pytest.raises(SweepError, match="sweep.jsonl cannot be written any further.*Make room"):
            run(llama, made, path=path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert path.stat().st_size == room and not llama.lock.locked()
    assert texts(run(llama, made, path=path)) == texts(run(llama, made))
