"""Batches of many prompts and variants: every row is what it is alone, rows that end leave, others get their turn."""

from __future__ import annotations

import threading
from contextlib import contextmanager

import pytest

from s2e_core import Cancelled, Edited, Original, Steered
from s2e_core.generation import BatchRow, answers, batching, rows_that_fit
from s2e_core.generation.batching import pad_left
from tests.core.by_hand import answer_by_hand
from tests.core.chain import chain
from tests.families import VOCABULARY, in_memory, tiny_model

PROMPTS = ((1, 40, 77, 12, 99), (1, 9, 8), (1, 50, 51, 52, 53, 54, 55), (1, 200))
SLIDING = {"sliding_window": 4}
FAMILIES = {
    "gemma2": SLIDING,
    "gemma3n_text": SLIDING,
    "gemma4_text": SLIDING,
    "cohere2": SLIDING,
    "mistral": SLIDING,
    "granite_swa": SLIDING,
    "gpt_neo": {"window_size": 4},
    "qwen3": {},
    "phi": {},
    "bloom": {},  # positions from the mask, without position ids
    "mpt": {},  # its configuration asks for no cache
    "openai-gpt": {},  # knows no cache
    "reformer": {},  # has a cache of its own kind, and no use for a mask
    "mvp": {},  # counts padding as positions
    "bert": {},
}


@pytest.fixture(autouse=True)
def _short_parts(monkeypatch):
    """Several parts in every answer, though the answers are short."""
    monkeypatch.setattr(batching, "PART_TOKENS", 3)


@contextmanager
def ending_with(loaded, ends):
    """These tokens end a text: tiny random models seldom choose their own."""
    before = loaded.model.generation_config.eos_token_id
    loaded.model.generation_config.eos_token_id = list(ends)
    try:
        yield
    finally:
        loaded.model.generation_config.eos_token_id = before


@contextmanager
def watching(loaded, seen):
    """Call `seen` with the number of rows of every forward pass."""
    handle = loaded.model.get_input_embeddings().register_forward_pre_hook(lambda module, inputs: seen(len(inputs[0])))
    try:
        yield
    finally:
        handle.remove()


def variants_of(loaded):
    made = chain(loaded)
    return [Original(), Edited(made.edit), Steered(made.directions, 0.8)]


def rows_of_all_kinds():
    """Prompts of four lengths under three variants, two prompts on the same dice."""
    return [
        BatchRow(variant, ids, seed) for ids, seed in zip(PROMPTS, (4, 5, 5, 6), strict=True) for variant in range(3)
    ]


def by_hand(loaded, variants, rows, length, temperature):
    return [answer_by_hand(loaded, variants[v], ids, length, seed=s, temperature=temperature) for v, ids, s in rows]


@pytest.mark.parametrize("temperature", [0.0, 1.0])
@pytest.mark.parametrize("family", ["llama", "gpt2", "opt"])
def test_every_row_is_the_loop_by_hand_whatever_its_length_its_variant_and_its_end(family, temperature, request):
    loaded = request.getfixturevalue(family)
    variants, rows = variants_of(loaded), rows_of_all_kinds()
    with ending_with(loaded, []):
        free = by_hand(loaded, variants, rows, 9, temperature)
    with ending_with(loaded, {free[0][2], free[4][6], free[8][7]}):
        expected = by_hand(loaded, variants, rows, 9, temperature)
        together = answers(loaded, variants, rows, max_new_tokens=9, temperature=temperature)
        alone = [answers(loaded, variants, [row], max_new_tokens=9, temperature=temperature)[0] for row in rows]
    assert together == expected
    assert alone == expected
    assert len({len(ids) for ids in expected}) > 1  # some end before others


@pytest.mark.parametrize("family", FAMILIES)
def test_rows_of_other_families_are_the_loop_by_hand_too(family):
    loaded = in_memory(tiny_model(family, vocab_size=VOCABULARY, **FAMILIES[family]))
    rows = [BatchRow(0, ids, n) for n, ids in enumerate(PROMPTS)]
    with ending_with(loaded, []):
        free = by_hand(loaded, [Original()], rows, 10, 1.0)
    with ending_with(loaded, {free[0][2], free[1][7]}):
        expected = by_hand(loaded, [Original()], rows, 10, 1.0)
        assert answers(loaded, [Original()], rows, max_new_tokens=10, temperature=1.0) == expected
    assert len({len(ids) for ids in expected}) > 1


def test_rows_with_the_same_prompt_variant_and_dice_answer_the_same(llama):
    rows = [
        BatchRow(0, PROMPTS[0], 7),
        BatchRow(0, PROMPTS[1], 7),
        BatchRow(0, PROMPTS[0], 7),
        BatchRow(0, PROMPTS[0], 8),
    ]
    first, _, again, other = answers(llama, [Original()], rows, max_new_tokens=12, temperature=1.5)
    assert first == again
    assert first != other


def test_rows_that_have_ended_leave_the_batch_and_the_last_one_ends_the_run(llama):
    rows = [BatchRow(0, ids, 0) for ids in PROMPTS]
    with ending_with(llama, []):
        free = by_hand(llama, [Original()], rows, 30, 0.0)
    sizes = []
    with ending_with(llama, {ids[n] for ids, n in zip(free, (1, 4, 7, 10), strict=True)}):
        expected = by_hand(llama, [Original()], rows, 30, 0.0)
        with watching(llama, sizes.append):
            assert answers(llama, [Original()], rows, max_new_tokens=30, temperature=0.0) == expected
    longest = max(len(ids) for ids in expected) + 1  # the end of text is a step too
    assert len(sizes) == longest
    # In parts of three: a row takes part until the end of the part in which it ends.
    assert sizes == [sum(len(ids) // 3 >= step // 3 for ids in expected) for step in range(longest)]


@pytest.mark.parametrize("part", [1, 5, 12, 100])
def test_the_parts_leave_no_trace_in_the_answers(llama, part, monkeypatch):
    variants, rows = variants_of(llama), rows_of_all_kinds()
    expected = answers(llama, variants, rows, max_new_tokens=12, temperature=1.0)
    monkeypatch.setattr(batching, "PART_TOKENS", part)
    assert answers(llama, variants, rows, max_new_tokens=12, temperature=1.0) == expected


def test_answers_have_as_many_tokens_as_asked_for_where_no_text_ends(llama):
    with ending_with(llama, []):
        for length in (1, 3, 4):
            made = answers(llama, [Original()], rows_of_all_kinds()[::3], max_new_tokens=length, temperature=1.0)
            assert [len(ids) for ids in made] == [length] * 4


def test_a_stop_ends_the_run_within_a_token_and_leaves_the_model_clean(llama, monkeypatch):
    monkeypatch.setattr(batching, "PART_TOKENS", 50)
    stop, passes = threading.Event(), []

    def seen(size):
        passes.append(size)
        if len(passes) == 5:
            stop.set()

    with ending_with(llama, []), watching(llama, seen), pytest.raises(Cancelled):
        answers(llama, variants_of(llama), rows_of_all_kinds(), max_new_tokens=50, temperature=1.0, stops=[stop])
    assert len(passes) == 5
    assert not llama.lock.locked()
    assert not any(module._forward_hooks for module in llama.model.modules())


def test_a_stop_ends_the_wait_for_a_model_that_others_use(llama):
    stop = threading.Event()
    stop.set()
    with llama.lock, pytest.raises(Cancelled, match="waiting"):
        answers(llama, [Original()], [BatchRow(0, PROMPTS[0], 0)], max_new_tokens=3, temperature=0.0, stops=[stop])


def test_others_have_their_turn_while_a_long_batch_runs(llama):
    row, begun, made = BatchRow(0, PROMPTS[0], 3), threading.Event(), []

    def work():
        made.extend(answers(llama, [Original()], [row], max_new_tokens=150, temperature=1.0))

    with ending_with(llama, []), watching(llama, lambda size: begun.set()):
        thread = threading.Thread(target=work)
        thread.start()
        assert begun.wait(30)
        with llama.lock:  # within one part, where the whole batch has fifty
            assert thread.is_alive()
            assert not made
            assert not any(module._forward_hooks for module in llama.model.modules())
        thread.join(60)
        assert [len(ids) for ids in made] == [150]
        assert made == answers(llama, [Original()], [row], max_new_tokens=150, temperature=1.0)


@pytest.mark.parametrize("family", ["llama", "gpt2", "gemma4_text", "falcon"])
def test_fewer_rows_fit_the_longer_they_are_and_one_always_does(family):
    loaded = in_memory(tiny_model(family, vocab_size=VOCABULARY))
    fitting = [rows_that_fit(loaded, tokens) for tokens in (10, 10_000, 10**9)]
    assert fitting == sorted(fitting, reverse=True)
    assert fitting[0] == batching.MAX_BATCH_ROWS
    assert fitting[0] > fitting[1] > fitting[2] == 1


def test_more_rows_fit_where_heads_share_keys_and_values():
    shared, own = (in_memory(tiny_model("llama", vocab_size=VOCABULARY, num_key_value_heads=n)) for n in (1, 4))
    assert shared.model.config.num_attention_heads == 4
    many, few = (rows_that_fit(loaded, 100_000) for loaded in (shared, own))
    assert few > 1 and many == pytest.approx(4 * few, rel=0.1)


def test_prompts_are_padded_on_the_left():
    ids, mask = pad_left([(5, 6, 7), (8,)])
    assert ids.tolist() == [[5, 6, 7], [0, 0, 8]]
    assert mask.tolist() == [[1, 1, 1], [0, 0, 1]]
