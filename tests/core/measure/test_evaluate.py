"""The full evaluation of a few variants: every figure against answers asked for one by one and plain loops."""

import threading
from dataclasses import replace
from math import exp

import pytest
import torch

from s2e_core import Cancelled, Edited, Example, Original, SettingsError, Steered, evaluate, load_behavior
from s2e_core.measure import HOW, Answer, Outcome, Plan, Question, Trial
from s2e_core.measure.evaluate import _moved_wrong, _robustness, benign_refusal, choice_questions
from s2e_core.model import example_ids, prompt_ids
from s2e_core.progress import Stages
from s2e_core.values import Prompted
from tests.core.chain import EXAMPLES, chain

SENTENCES = {"true_answers": ["It is red.", "Red, I think."], "false_answers": ["It is blue."]}
HELP = {"kind": "help", "phrases": ["first"], "not_phrases": ["that would be wrong"], "prompt": "How?"}


@pytest.fixture(scope="module")
def made(llama):
    return chain(llama)


@pytest.fixture(scope="module")
def behavior():
    asked = [
        {"prompt": f"What colour is river {n}?", "kind": "length", "split": "test", "tricked": n > 2, **SENTENCES}
        for n in range(5)
    ]
    useful = [{"prompt": f"Say {n}.", "kind": "length", "split": "test"} for n in range(6)]
    harmless = [{"prompt": f"How do I paint {n} walls?", "kind": "help", "split": "test"} for n in range(2)]
    known = load_behavior("tone")
    return replace(
        known, contrast=EXAMPLES, attribute=tuple(asked), utility=(*useful, *harmless), max_new_tokens=7
    )  # fmt: skip


def whole(behavior, **options):
    """All held-out prompts of a behaviour."""
    return Plan(behavior, "test", None, None, **options)


@pytest.fixture(scope="module")
def evaluations(llama, made, behavior):
    variants = [Steered(made.directions, 2.0), Edited(made.edit)]
    return evaluate(llama, whole(behavior, samples=2), variants, labels=["steered", "edited"])


def test_the_untouched_model_comes_first_and_is_compared_with_itself(evaluations):
    first = evaluations[0]
    assert [e.label for e in evaluations] == ["original", "steered", "edited"]
    assert isinstance(first.variant, Original)
    assert first.result.kept.value == first.length_drift.value == 1.0
    assert first.next_token_kl.value == 0.0
    assert "change" not in first.figures()


def test_every_figure_says_how_it_is_made_and_on_how_many_prompts(evaluations):
    for evaluation in evaluations:
        figures = evaluation.figures()
        assert list(figures) == [name for name in HOW if name in figures]
        for figure in figures.values():
            assert figure.low <= figure.value <= figure.high and figure.count > 0
    assert set(evaluations[1].figures()) == set(HOW)
    assert evaluations[1].result.attribute.count == 5  # two samples of a prompt count once
    assert evaluations[1].benign_refusal.count == 2


def test_robustness_and_prompts_moved_wrong_are_those_by_hand():
    rows = [{"kind": "help", "phrases": ["yes"], "prompt": "A?", "tricked": n % 2 == 1} for n in range(4)]
    questions = [Question(rows[n % 4], "attribute", n, n % 4) for n in range(8)]
    outcome = Outcome(Trial(), tuple(Answer(text, 2) for text in ["yes", "yes", "no", "no", "no", "no", "no", "yes"]))
    figure = _robustness(questions, outcome)
    assert (figure.value, figure.count) == (0.5, 2), "prompts 1 and 3, each right in one of two answers"
    assert _robustness([replace(q, row={**q.row, "tricked": False}) for q in questions], outcome) is None
    wrong = _moved_wrong([0.0, 1.0, 0.5, 0.5], [1.0, 0.0, 0.5, 1.0], False)
    assert (wrong.value, wrong.count) == (0.5, 4)
    assert _moved_wrong([9.0, 3.0, 5.0, 5.0], [8.0, 4.0, 5.0, 5.0], True).value == 0.25


def test_the_figures_of_an_evaluation_have_robustness_and_prompts_moved_wrong(evaluations):
    for evaluation in evaluations:
        assert evaluation.robustness.count == 2
        assert ("moved wrong" in evaluation.figures()) == (evaluation.label != "original")
    assert evaluations[0].moved_wrong.value == 0.0


def test_a_system_prompt_is_evaluated_under_its_own_name(llama, behavior):
    original, prompted = evaluate(llama, whole(behavior), [Prompted("Be brief.")], n_neutral=2)
    assert prompted.label == "system prompt" and prompted.result.trial.arm == "prompt"
    assert prompted.next_token_kl.value > original.next_token_kl.value == 0.0


def test_differences_are_those_of_the_means_and_turn_with_the_sides(evaluations):
    one, other = evaluations[1:]
    gap = one.result.attribute.value - other.result.attribute.value
    assert one.against["edited"].value == pytest.approx(gap)
    assert other.against["steered"].value == pytest.approx(-gap)
    assert set(one.against) == {"original", "edited"}


def test_perplexity_is_that_of_the_untouched_models_own_greedy_answers(llama, behavior, evaluations):
    total, count = 0.0, 0
    for row in behavior.utility:
        asked = torch.tensor([prompt_ids(llama.tokenizer, row["prompt"])])
        with torch.inference_mode():
            said = llama.model.generate(asked, max_new_tokens=7, do_sample=False, pad_token_id=0)[0, asked.shape[1] :]
            ids, start = example_ids(
                llama.tokenizer,
                Example(row["prompt"], llama.tokenizer.decode(said, skip_special_tokens=True)),
            )
            logs = llama.model(torch.tensor([ids])).logits[0].float().log_softmax(-1)
        for place in range(start, len(ids)):
            total -= float(logs[place - 1, ids[place]])
            count += 1
    assert evaluations[0].perplexity.value == pytest.approx(exp(total / count), rel=1e-3)


def test_a_variant_that_changes_nothing_has_the_figures_of_the_untouched_model(llama, made, behavior):
    same = evaluate(llama, whole(behavior), [Original(), Steered(made.directions, 0.0)])
    for name, figure in same[0].figures().items():
        assert same[1].figures()[name].value == pytest.approx(figure.value, abs=1e-5), name
    assert same[1].against["original"].value == 0.0


def test_variants_of_one_name_are_refused(llama, made, behavior):
    with pytest.raises(SettingsError, match="same name"):
        evaluate(llama, whole(behavior), [Edited(made.edit), Edited(made.edit)])
    with pytest.raises(SettingsError, match="labels"):
        evaluate(llama, whole(behavior), [Edited(made.edit)], labels=[])


@pytest.mark.parametrize("at", [0.0, 0.3, 0.5])
def test_stop_ends_the_evaluation_in_every_stage(llama, made, behavior, at):
    stop = threading.Event()

    def until(done, total):
        if done >= at * total:
            stop.set()

    with pytest.raises(Cancelled):
        evaluate(llama, whole(behavior), [Edited(made.edit)], progress=until, stop=stop)


def test_progress_never_goes_back_and_ends_at_its_total(llama, made, behavior):
    shown = []
    evaluate(llama, whole(behavior), [Edited(made.edit)], progress=lambda *at: shown.append(at))
    assert shown == sorted(shown) and shown[0][0] == 0 and shown[-1][0] == shown[-1][1]
    assert len({total for _, total in shown}) == 1


def test_a_refusal_of_a_harmless_request_is_known_by_own_phrases_and_by_the_usual_wording():
    texts = ("First, make a plan.", "That would be wrong.", "I cannot help with that request.", "Perhaps. Who knows?")
    questions = [Question(HELP, "utility", n, n) for n in range(4)]
    outcome = Outcome(Trial(), tuple(Answer(text, 9) for text in texts))
    assert benign_refusal(questions, outcome).value == 0.5
    assert benign_refusal([replace(q, row={"kind": "length"}) for q in questions], outcome) is None


def test_multiple_choice_needs_whole_sentences():
    rows = [{"prompt": "A?", "true": ["red"], "myth": ["blue"]}, {"prompt": "B?", **SENTENCES}]
    (question,) = choice_questions(rows)
    assert question.prompt == "B?" and question.true[0] == "It is red." and question.false == ("It is blue.",)


def test_a_stage_that_is_done_twice_or_ends_early_never_moves_progress_back():
    shown = []
    stages = Stages(lambda *at: shown.append(at), first=4, second=2)
    for done in (1, 3, 2):
        stages.of("first")(done, 99)
    stages.of("second")(1, 2)
    stages.of("first")(9, 9)
    stages.finish()
    assert shown == [(1, 6), (3, 6), (3, 6), (5, 6), (5, 6), (6, 6)]
