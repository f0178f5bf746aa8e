"""The model's own answers to a visitor's prompts, and how far examples can be trusted, as plain functions."""

from __future__ import annotations

import json
import time
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from components.examples.answer_table import read_mark
from components.examples.check_view import report_html, spans_html, trust_html
from components.examples.handlers import (
    TrustProgress,
    answer_settings,
    generate_answers,
    is_due,
    look_at_examples,
    measure_trust,
    report_on,
    stop_answers,
    trust_key,
    with_trust,
)
from components.examples.trusted import Checks, Trust
from components.examples.view import answers_line, answers_value
from components.shared import data_words as words
from components.shared.answers import Answers, AnswerSettings
from components.shared.brought import OwnExamples
from components.shared.choices import Choice, chosen_contrast, extract
from components.shared.limits import Limits
from components.shared.model_names import BUNDLED_LABEL
from components.shared.session import OWN, Session
from s2e_core import ActivationMeans, ContrastDataError, SettingsError
from s2e_core.method import Weakness, reliability
from s2e_core.responses import own_responses, read_prompts
from tests.ui.running import first_session, shared_store

SETTINGS = AnswerSettings(24, 1, 1.0)
HARMFUL = "Help me blackmail the baker.\nHow could someone rob a friend?\nHow do I cheat in the exam?"
HARMLESS = "How can I print a passport?\nTell me about snow."


def choice_of(answers: Answers | None = None, **own: Any) -> Choice:
    brought = OwnExamples(**({"positive": HARMFUL, "negative": HARMLESS} | own), answers=answers or Answers())
    return Choice(BUNDLED_LABEL, OWN, own=brought)


def all_answers(choice: Choice, settings: AnswerSettings = SETTINGS) -> Answers:
    *_, last = generate_answers(shared_store(), choice, settings)
    return last


@pytest.fixture(scope="module")
def answers() -> Answers:
    return all_answers(choice_of())


def sums(folder: Path) -> str:
    rows = ["Mia starts with 24 beads. She buys 2 more. She gives 6 away. How many beads does Mia have in the end?,20"]
    rows += ["Ben finds 5 eggs at home. 3 of them break. He finds 8 more. How many eggs does Ben have now?,9"]
    path = folder / "sums.csv"
    path.write_text("question,answer\n" + "\n".join(rows))
    return str(path)


# ---- the model's own answers


def test_the_answers_are_those_of_the_core_and_go_to_the_side_of_their_prompt(answers: Answers) -> None:
    store = shared_store()
    asked = read_prompts(look_at_examples(store, choice_of()).reading)  # type: ignore[arg-type]
    expected = own_responses(store.model(BUNDLED_LABEL), [one.example for one in asked], max_new_tokens=24)
    assert [r.example.response for r in answers.responses] == [r.example.response for r in expected]
    assert answers.is_complete and answers.used and answers.rule == "prompt" and not answers.running
    assert answers.sides() == (True, True, True, False, False)


def test_what_is_extracted_are_the_answers_while_they_are_used(answers: Answers) -> None:
    store, choice = shared_store(), choice_of(answers)
    contrast = chosen_contrast(store, choice)
    assert [e.response for e in contrast.positive] == [r.example.response for r in answers.responses[:3]]
    look = look_at_examples(store, choice)
    assert look.uses_answers and not look.questions and look.contrast is not None
    *_, session = extract(store, choice)
    assert isinstance(session, Session) and session.scored.contrast.content_hash == contrast.content_hash
    with pytest.raises(ContrastDataError, match="without responses"):
        chosen_contrast(store, choice_of(replace(answers, used=False)))


def test_answers_to_other_prompts_or_of_another_model_are_never_taken(answers: Answers) -> None:
    assert look_at_examples(shared_store(), choice_of(answers, negative="What else?")).questions == (
        words.PROMPTS_ONLY,
    )
    assert not look_at_examples(shared_store(), replace(choice_of(answers), model="another")).uses_answers


def test_what_was_answered_stays_after_a_stop_and_continue_goes_on() -> None:
    store, choice = shared_store(), choice_of()
    many = AnswerSettings(24, 40, 1.0)
    seen = Answers()
    with closing(generate_answers(store, choice, many)) as steps:
        for seen in steps:
            if seen.by_prompt:
                break
    loaded = store.model(BUNDLED_LABEL)
    assert loaded.lock.acquire(timeout=10)
    loaded.lock.release()
    stopped = stop_answers(seen)
    assert 0 < len(stopped.by_prompt) < 200 and stopped.used and not stopped.running
    assert "Stopped with" in answers_line(stopped)[0] and stopped.rule == "prompt"
    first, *_, last = generate_answers(store, choice_of(stopped), many)
    assert len(first.by_prompt) == len(stopped.by_prompt) and len(last.by_prompt) == 200 and first.path != stopped.path
    for place, response in stopped.by_prompt.items():
        assert last.by_prompt[place].example.response == response.example.response
    anew, *_ = generate_answers(store, choice_of(stopped), replace(many, samples=1))
    assert not anew.by_prompt, "other wishes begin anew"


def test_right_and_wrong_answers_are_told_apart_by_the_files_own(tmp_path: Path) -> None:
    choice = choice_of(file=sums(tmp_path))
    made = all_answers(choice, AnswerSettings(128, 4, 1.0))
    assert made.rule == "agreement" and made.sides() == (True,) * 4 + (False,) * 4
    shorter = replace(made.with_rule("length"), share=25.0)
    contrast = chosen_contrast(shared_store(), choice_of(shorter, file=sums(tmp_path)))
    assert len(contrast.positive) == len(contrast.negative) == 1


def test_a_tick_puts_one_answer_on_another_side_by_hand(answers: Answers) -> None:
    marked = answers.with_mark(0, False).with_mark(4, None)
    assert marked.rule == "hand" and marked.sides() == (False, True, True, False, None)
    contrast = chosen_contrast(shared_store(), choice_of(replace(marked, used=True)))
    assert (len(contrast.positive), len(contrast.negative)) == (2, 2)
    assert marked.with_rule("prompt").sides() == answers.sides()
    assert answers.with_rule("hand").sides() == answers.sides(), "by hand begins where the rule was"
    assert answers.with_rule("agreement") is answers, "nothing says what is right"


@pytest.mark.parametrize(
    "data", [None, 7, {}, {"n": 0}, {"n": 9, "side": ""}, {"n": True, "side": ""}, {"n": 0, "side": []}]
)
def test_a_forged_tick_is_none(data: object) -> None:
    assert read_mark(data, 5) is None
    assert read_mark({"n": 4, "side": "negative"}, 5) == (4, False)


def test_the_table_has_every_answer_with_its_side_up_to_the_limit(answers: Answers) -> None:
    value = json.loads(answers_value(answers, 300))
    assert [row["side"] for row in value["rows"]] == ["positive"] * 3 + ["negative"] * 2 and not value["more"]
    assert value["rows"][0]["prompt"] == HARMFUL.splitlines()[0] and "tokens" in value["rows"][0]["note"]
    few = json.loads(answers_value(answers, 2))
    assert [row["n"] for row in few["rows"]] == [0, 2] and "2 of 5" in few["more"]


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [((0, 1, 1), "1 to 256"), ((257, 1, 1), "1 to 256"), ((None, 1, 1), "1 to 256"), ((8, 0, 1), "1 to 100"),
     ((8, 101, 1), "1 to 100"), ((8, 1, -1), "temperature"), ((8, 1, float("nan")), "temperature")],
)  # fmt: skip
def test_wishes_beyond_the_limits_are_refused_with_a_sentence(fields: tuple, sentence: str) -> None:
    with pytest.raises(SettingsError, match=sentence):
        answer_settings(shared_store(), *fields)


def test_too_many_or_too_long_prompts_are_refused_before_anything_runs() -> None:
    store = shared_store()
    with store.model(BUNDLED_LABEL).lock:  # a run of the model would wait for ever
        with pytest.raises(SettingsError, match="at most 2,000 are made"):
            list(generate_answers(store, choice_of(positive="Hi?\n" * 30), AnswerSettings(8, 100, 1.0)))
        with pytest.raises(SettingsError, match="at most 2,000 are read"):
            list(generate_answers(store, choice_of(positive="x" * 2001), SETTINGS))


# ---- how far examples can be trusted


@pytest.fixture(scope="module")
def session() -> Session:
    """Twelve examples a side of what the bundled model refuses and helps with."""
    contrast = shared_store().behavior("safety").contrast
    sides = (contrast.positive, contrast.negative)
    one, other = ("\n".join(f"{e.prompt} | {e.response}" for e in side[:12]) for side in sides)
    *_, extracted = extract(shared_store(), choice_of(positive=one, negative=other))
    assert isinstance(extracted, Session)
    return extracted


@pytest.fixture(scope="module")
def trust(session: Session) -> Trust:
    return trust_in(session)


def trust_in(session: Session) -> Trust:
    *steps, trust = measure_trust(shared_store(), session)
    assert all(isinstance(step, TrustProgress) for step in steps) and isinstance(trust, Trust)
    return trust


def test_separability_and_stability_are_those_of_the_core(session: Session, trust: Trust) -> None:
    expected = reliability(shared_store().model(session.model), session.scored.contrast)
    assert [one.accuracy for one in trust.layers] == pytest.approx(expected.accuracy.tolist())
    assert [one.cosine for one in trust.layers] == pytest.approx(expected.direction_cosine.tolist())
    shown = trust_html(trust)
    assert shown.count("<circle") == 2 * trust.n_layers + 1, "a mark for the heads of every layer, twice, and the key's"


@pytest.mark.parametrize(("accuracy", "cosine", "said"), [(0.97, 0.95, "These examples hold"), (0.8, 0.95, "Usable"),
                                                          (0.97, 0.85, "Usable")])  # fmt: skip
def test_good_examples_are_called_good_and_others_are_not(
    trust: Trust, accuracy: float, cosine: float, said: str
) -> None:
    told = trust_html(replace(trust, separability=accuracy, cosine=cosine, weaknesses=()))
    assert said in told and f"{100 * accuracy:.0f} %" in told and 'class="lead holds"' in told


def test_weak_examples_are_said_to_be_weak() -> None:
    rows = "\n".join(f"Question {n}? | Word {n}." for n in range(5))
    *_, session = extract(shared_store(), choice_of(positive=rows, negative=rows.replace("Word", "No word")))
    assert isinstance(session, Session)
    trust = trust_in(session)
    assert trust.weaknesses and 'class="lead weak">Weak data:' in trust_html(trust)
    others = (Weakness("direction", "Other examples would."), Weakness("scores", "<it>."))
    several = replace(trust, weaknesses=(trust.weaknesses[0], *others))
    assert "<p>Other examples would.</p><p>&lt;it&gt;.</p>" in trust_html(several)


def test_own_examples_are_measured_unasked_once_where_it_is_fast(session: Session, trust: Trust) -> None:
    store = shared_store()
    assert is_due(store, session, Checks()) and not is_due(store, first_session(), Checks())
    assert not is_due(store, session, Checks(tried_keys=frozenset({trust_key(session)})))
    extraction = session.scored.extraction
    assert isinstance(extraction.means, ActivationMeans)
    extraction = replace(extraction, means=replace(extraction.means, n_tokens=10**6))
    large = replace(session, scored=replace(session.scored, extraction=extraction))
    assert not is_due(store, large, Checks())
    checks = with_trust(Checks(running=True), session, trust)
    assert trust_key(session) in checks.trusts and not checks.running


def test_a_measurement_that_is_stopped_frees_the_model() -> None:
    store, session = shared_store(), first_session()
    steps = measure_trust(store, session)
    next(steps), next(steps)
    steps.close()
    started = time.monotonic()
    assert store.model(session.model).lock.acquire(timeout=10)
    store.model(session.model).lock.release()
    assert time.monotonic() - started < 5


def test_averaged_tokens_are_marked_for_eye_and_ear_and_never_become_markup() -> None:
    shown = spans_html({"A side": (("<s>", False), ("Hi", True), ("\n", True), ("<b>", False))})
    assert '<mark aria-label="averaged"><span>Hi</span><span>⏎</span></mark>' in shown
    assert "&lt;s&gt;" in shown and "<b>" not in shown.replace("<b>Note", "")
    long = spans_html({"A side": tuple((f"w{n} ", n > 150) for n in range(400))})
    assert "earlier tokens" in long and long.count("<span>") <= 90


def test_a_report_says_the_gravest_first_and_is_escaped() -> None:
    contrast = chosen_contrast(shared_store(), choice_of(positive="<b> | <i>yes</i>", negative="<b> | no"))
    shown = report_html(report_on(shared_store(), BUNDLED_LABEL, contrast))
    assert shown.index("Problem") < shown.index("Note") if "Note" in shown else "Problem" in shown
    assert "<i>yes" not in shown


def test_what_a_visitor_keeps_of_a_measurement_holds_no_tensor(trust: Trust) -> None:
    assert not any(isinstance(value, torch.Tensor) for one in trust.layers for value in one)
    assert Limits().examples_sentence().count("2,000") == 1
