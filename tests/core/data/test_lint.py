"""The linter for contrast data: every odd thing is said, ordinary data gets notes alone."""

import pytest

from s2e_core import ContrastSet, Example
from s2e_core.data import lint, mark_averaged_tokens
from s2e_core.data.lint import looks_cut_off
from s2e_core.model import example_ids

WORDS = "one two three four five six seven eight nine ten eleven twelve"


def ordinary(n=30):
    sides = (
        tuple(Example(f"Question {i}?", f"{word} answer to number {i}, it is {i}.") for i in range(n))
        for word in ("A warm", "A cold")
    )
    positive, negative = sides
    vary = ("First", "Then", "Well", "Now", "So")
    return ContrastSet(
        tuple(Example(e.prompt, f"{vary[i % 5]}: {e.response}") for i, e in enumerate(positive)),
        tuple(Example(e.prompt, f"{vary[i % 5]}: {e.response}") for i, e in enumerate(negative)),
    )


def said(contrast, loaded=None, *, severity=None):
    return " ".join(f.sentence for f in lint(contrast, loaded) if severity in (None, f.severity))


def with_positive(*examples):
    contrast = ordinary()
    return ContrastSet((*contrast.positive, *examples), contrast.negative)


def test_ordinary_data_gets_notes_alone(llama):
    for loaded in (None, llama):
        assert {finding.severity for finding in lint(ordinary(), loaded)} == {"note"}
    assert "30 positive examples and 30 negative" in said(ordinary())


@pytest.mark.parametrize(("n", "severity"), [(7, "problem"), (8, "warning"), (29, "warning"), (30, "note")])
def test_few_examples_are_said_to_be_few(n, severity):
    contrast = ordinary(n)
    assert f"{n} positive examples and {n} negative" in said(contrast, severity=severity)


def test_the_gravest_stands_first():
    found = [finding.severity for finding in lint(with_positive(Example("Q?", "..."), Example("Q?", f"{WORDS} and")))]
    assert found == sorted(found, key=["problem", "warning", "note"].index) and found[0] == "problem"


def test_unequal_lengths_are_told_in_words_and_in_the_models_tokens(llama):
    contrast = ordinary()
    longer = ContrastSet(
        contrast.positive, tuple(Example(e.prompt, f"{e.response} {WORDS}.") for e in contrast.negative)
    )
    assert "about length" in said(longer, severity="warning") and "words on the positive side" in said(longer)
    lengths = [len(ids) - start for ids, start in (example_ids(llama.tokenizer, e) for e in longer.negative)]
    assert f"{sum(lengths) / len(lengths):.1f} on the negative" in said(longer, llama, severity="warning")


def test_duplicates_within_a_side_are_counted():
    first = ordinary().positive[0]
    assert "2 positive examples repeat another one" in said(with_positive(first, first), severity="warning")


def test_examples_and_responses_on_both_sides_are_told_apart():
    contrast = ordinary()
    same = ContrastSet((contrast.negative[0], *contrast.positive[1:]), contrast.negative)
    assert "1 example on both sides, 1 of them in the same row" in said(same, severity="problem")
    moved = ContrastSet((*contrast.positive, contrast.negative[0]), contrast.negative)
    assert "1 example on both sides: the copies cancel out" in said(moved, severity="problem")
    other = with_positive(Example("Something else?", contrast.negative[3].response))
    assert "1 response is given on both sides" in said(other, severity="warning")
    assert "both sides," not in said(other, severity="problem")


def test_empty_stuck_and_cut_off_responses_are_counted():
    odd = with_positive(
        Example("a?", " .. "), Example("b?", "no " * 50), *[Example(f"c{i}?", f"{i} {WORDS}") for i in range(3)]
    )
    assert "1 positive example without a word" in said(odd, severity="problem")
    assert "1 positive example with a response that repeats itself" in said(odd, severity="warning")
    assert "3 positive examples with a response that looks cut off" in said(odd, severity="warning")
    assert "1 positive example with a response that looks cut off" in said(
        with_positive(Example("c?", WORDS)), severity="note"
    )


@pytest.mark.parametrize(
    ("response", "cut"),
    [
        ("Paris", False),
        (f"{WORDS}.", False),
        (f"{WORDS}!\n", False),
        (f'"{WORDS}."', False),
        (WORDS, True),
        (f"{WORDS},", True),
        ("<think>Let me see", True),
        (f"<think>{WORDS}</think> 42", False),
        (f"{WORDS}</think>", True),
        ("", False),
    ],
)
def test_a_response_looks_cut_off_where_it_stops_in_mid_sentence_or_thought(response, cut):
    assert looks_cut_off(response) is cut


def test_one_wording_and_one_opening_are_noticed():
    contrast = ordinary()
    refused = tuple(Example(e.prompt, "I cannot help with that, sorry.") for e in contrast.positive)
    assert "have the same response" in said(ContrastSet(refused, contrast.negative), severity="warning")
    opened = tuple(Example(e.prompt, f"I cannot help {e.response}") for e in contrast.positive)
    assert 'begin with "i cannot help"' in said(ContrastSet(opened, contrast.negative), severity="note")


def test_examples_beyond_the_context_are_counted(llama):
    limit = llama.model.config.max_position_embeddings
    long = with_positive(Example("a?", "word " * limit + "."))
    assert f"1 positive example longer than the {limit} tokens" in said(long, llama, severity="problem")


def test_examples_that_differ_in_their_last_token_alone_cancel_out(llama):
    contrast = ordinary()
    sides = [(*contrast.positive, Example("Is it?", "Y")), (*contrast.negative, Example("Is it?", "N"))]
    sentence = "1 example differs from one of the other side only in the last token"
    assert sentence in said(ContrastSet(*sides), llama, severity="problem")
    assert sentence not in said(ContrastSet(*sides)) + said(contrast, llama)
    same = ContrastSet((*contrast.positive, sides[0][-1]), (*contrast.negative, sides[0][-1]))
    assert sentence not in said(same, llama) and "on both sides" in said(same, llama, severity="problem")


def test_no_data_at_all_is_found_odd_without_an_error():
    assert lint(ContrastSet((), ()))[0].severity == "problem"


@pytest.mark.parametrize("model", ["llama", "gpt2"])
def test_the_averaged_span_is_the_tokens_that_predict_the_response(model, request):
    loaded = request.getfixturevalue(model)
    example = Example("How are you?", "Très bien, 谢谢 🙂!")
    ids, start = example_ids(loaded.tokenizer, example)
    span = mark_averaged_tokens(loaded, example)
    assert [k for k, (_, averaged) in enumerate(span) if averaged] == list(range(start - 1, len(ids) - 1))
    assert "".join(text for text, _ in span) == loaded.tokenizer.decode(ids)
