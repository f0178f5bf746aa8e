"""Generation: variants side by side equal variants alone, the same dice for all, and a Stop that stops."""

import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import torch

from s2e_core import Cancelled, Edited, Original, SettingsError, Steered, compare, generate_responses
from s2e_core.generation.decoding import SharedNoise
from s2e_core.model import prompt_ids
from tests.core.chain import chain

ROOT = Path(__file__).parents[3]


def last(stream):
    *_, texts = stream
    return texts


def greedy_by_hand(loaded, prompt, length):
    """Argmax over the whole sequence again and again, without a cache."""
    ids = torch.tensor([prompt_ids(loaded.tokenizer, prompt)])
    start = ids.shape[1]
    for _ in range(length):
        with torch.no_grad():
            ids = torch.cat([ids, loaded.model(input_ids=ids).logits[:, -1:].argmax(-1)], dim=1)
        if int(ids[0, -1]) == loaded.tokenizer.eos_token_id:
            break
    return loaded.tokenizer.decode(ids[0, start:], skip_special_tokens=True)


def test_greedy_text_of_the_original_is_the_argmax_of_its_logits(llama):
    assert last(compare(llama, "Hello", [Original()], max_new_tokens=12))[0] == greedy_by_hand(llama, "Hello", 12)


@pytest.mark.parametrize("family", ["llama", "gpt2", "opt"])
def test_variants_side_by_side_equal_variants_alone(family, request):
    loaded = request.getfixturevalue(family)
    made = chain(loaded)
    variants = [Original(), Edited(made.edit), Steered(made.directions, 0.8)]
    for temperature in (0.0, 1.0):
        together = last(compare(loaded, "Hello", variants, max_new_tokens=16, temperature=temperature, seed=4))
        alone = [
            last(compare(loaded, "Hello", [variant], max_new_tokens=16, temperature=temperature, seed=4))[0]
            for variant in variants
        ]
        assert list(together) == alone
        assert together[0] != together[1]


def test_equal_variants_get_the_same_dice_and_another_seed_other_dice(llama):
    first = last(compare(llama, "Hello", [Original(), Original()], max_new_tokens=24, temperature=1.5, seed=1))
    other = last(compare(llama, "Hello", [Original()], max_new_tokens=24, temperature=1.5, seed=2))
    assert first[0] == first[1]
    assert first[0] != other[0]


def test_sampling_follows_the_probabilities_of_the_model(llama):
    ids = torch.tensor([prompt_ids(llama.tokenizer, "Hello")])
    with torch.no_grad():
        expected = llama.model(input_ids=ids).logits[0, -1].softmax(-1)
    drawn = torch.zeros_like(expected)
    logits = expected.log().expand(4000, -1)
    dice = SharedNoise(list(range(4000)), 1.0)
    drawn.index_add_(0, dice(ids, logits).argmax(-1), torch.full((4000,), 1 / 4000))
    likely = expected > 0.005
    error = (drawn - expected)[likely].abs() / (expected[likely] / 4000).sqrt()
    assert error.max() < 5  # standard errors


def test_texts_arrive_step_by_step_and_only_grow(llama):
    steps = list(compare(llama, "Hello", [Original()], max_new_tokens=10))
    assert len(steps) >= 10
    assert all(b[0].startswith(a[0]) for a, b in zip(steps, steps[1:], strict=False))


def test_stop_ends_the_run_within_a_token_and_keeps_the_text(llama):
    stop = threading.Event()
    steps = []
    for texts in compare(llama, "Hello", [Original()], max_new_tokens=90, stop=stop):
        steps.append(texts)
        if len(steps) == 3:
            stop.set()
    # Tokens decoded before the event was seen may still arrive, the rest of the 90 does not.
    assert 3 <= len(steps) < 60
    wait_unlocked(llama)


def test_closing_the_stream_frees_the_model(llama):
    stream = compare(llama, "Hello", [Original()], max_new_tokens=90)
    next(stream)
    stream.close()
    wait_unlocked(llama)
    assert not any(module._forward_hooks for module in llama.model.modules())


def test_a_run_that_waits_for_the_model_can_be_left(llama):
    with llama.lock:
        stream = compare(llama, "Hello", [Original()], max_new_tokens=10)
        assert next(stream) == ("",)
        stream.close()
        stop = threading.Event()
        stop.set()
        assert last(compare(llama, "Hello", [Original()], max_new_tokens=10, stop=stop)) == ("",)
    wait_unlocked(llama)


def wait_unlocked(loaded):
    deadline = time.monotonic() + 5
    while loaded.lock.locked() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not loaded.lock.locked()


LEFT = """
import sys
from s2e_core import Original, compare, load_model

stream = compare(load_model(sys.argv[1], device="cpu"), "Hello", [Original()] * 8, max_new_tokens=90)
if "begun" in sys.argv:
    next(stream)
if "interrupted" in sys.argv:
    raise KeyboardInterrupt
"""


@pytest.mark.parametrize("how", [(), ("begun",), ("begun", "interrupted")], ids=["unread", "begun", "interrupted"])
def test_a_program_that_ends_while_texts_are_written_waits_for_the_token_and_ends_well(llama, how):
    command = [sys.executable, "-c", LEFT, str(llama.source), *how]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    ended = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=120)
    assert "terminate called" not in ended.stderr
    assert ended.returncode == (-2 if "interrupted" in how else 0), ended.stderr


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"max_new_tokens": 0}, "at least 1"),
        ({"max_new_tokens": 10_000}, "reads at most"),
        ({"temperature": -1.0}, "temperature"),
        ({"temperature": float("nan")}, "temperature"),
    ],
)
def test_settings_out_of_range_are_refused_before_anything_runs(llama, options, said):
    with pytest.raises(SettingsError, match=said):
        compare(llama, "Hello", [Original()], **options)


def test_nothing_to_compare_and_a_strength_that_is_no_number_are_refused(llama):
    with pytest.raises(SettingsError, match="at least one variant"):
        compare(llama, "Hello", [])
    for gamma in (float("nan"), float("inf")):
        with pytest.raises(SettingsError, match="must be a finite number"):
            Steered(chain(llama).directions, gamma)


def test_responses_do_not_depend_on_the_batch(llama):
    prompts = ["Hello", "A longer prompt than that", "Hi there", "What?"]
    edit = Edited(chain(llama).edit)
    batched = generate_responses(llama, prompts, variant=edit, max_new_tokens=10, seed=5)
    single = generate_responses(llama, prompts, variant=edit, max_new_tokens=10, seed=5, batch_size=1)
    assert batched == single


def test_responses_are_in_the_order_of_the_prompts_and_greedy_ones_equal_compare(llama):
    prompts = ["Hello", "A longer prompt than that", "Hi"]
    responses = generate_responses(llama, prompts, max_new_tokens=10, temperature=0)
    assert list(responses) == [last(compare(llama, p, [Original()], max_new_tokens=10))[0] for p in prompts]


def test_responses_stop_when_progress_raises(llama):
    def stop(done, total):
        raise Cancelled("Stopped.")

    with pytest.raises(Cancelled):
        generate_responses(llama, ["Hello"], max_new_tokens=2, progress=stop)
    assert not llama.lock.locked()
