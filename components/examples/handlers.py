"""A look at examples before anything runs, the model's own answers, and how far examples can be trusted.

Knows the store and the core's stages; no page. Long parts run in a `Work`, so that closing the generator stops them.
"""

from __future__ import annotations

import math
import shutil
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

from components.shared import data_words as words
from components.shared.answers import Answers, AnswerSettings, same_prompts
from components.shared.brought import column_names, own_reading, question_sentences
from components.shared.choices import Choice, chosen_contrast, model_made_ready
from components.shared.session import OWN, Session
from components.shared.store import ModelStore
from components.shared.work import Work
from s2e_core import ActivationMeans, ContrastDataError, ContrastSet, SettingsError
from s2e_core.data import Finding, Reading, lint, mark_averaged_tokens
from s2e_core.method import reliability
from s2e_core.model import LoadedModel
from s2e_core.progress import Progress
from s2e_core.responses import Asked, OwnResponse, own_responses, possible_rules, read_prompts, read_responses

from .trusted import Checks, Trust, trust_of

FAST = 15e9
"""Parameters times averaged tokens up to which reliability is measured without being asked, a few seconds."""


@dataclass(frozen=True, eq=False)
class Look:
    """What a visitor's examples are, as far as it can be told without running the model."""

    reading: Reading | None = None
    names: tuple[str, ...] = ()
    """Columns of the files."""
    sources: tuple[str, ...] = ()
    contrast: ContrastSet | None = None
    """None if they are not a contrast set yet."""
    problem: str = ""
    """The reason why they cannot be read, or not be extracted yet, as one sentence."""
    questions: tuple[str, ...] = ()
    uses_answers: bool = False
    ignores_typed: bool = False
    n_left_out: int = 0
    """Number of examples that are left out because the visitor leaves out long ones."""
    files: tuple[str | None, str | None] = (None, None)
    """Uploaded files; other files have other columns."""
    stamp: int = field(default_factory=time.monotonic_ns)
    """Time in ns; different for every look."""

    def __deepcopy__(self, memo: dict[int, Any]) -> Look:
        return self


def look_at_examples(store: ModelStore, choice: Choice) -> Look:
    """How own examples are understood; what cannot be read is a sentence, never an error."""
    own = choice.own
    if choice.behavior != OWN or own.is_empty:
        return Look()
    try:
        reading = own_reading(own, store.limits)
    except ContrastDataError as error:
        names, sources = _columns_at_least(choice)
        return Look(names=names, sources=sources, problem=str(error))
    look = Look(
        reading, reading.names, reading.sources, uses_answers=own.answers.stand_for(choice.model, reading),
        ignores_typed=bool(own.file and (own.positive.strip() or own.negative.strip())),
    )  # fmt: skip
    if reading.questions and not look.uses_answers:
        return replace(look, questions=tuple(question_sentences(reading)))
    try:
        contrast = chosen_contrast(store, choice)
        n_left_out = len(reading.positive) + len(reading.negative) - len(contrast.positive) - len(contrast.negative)
        wanted = own.correction.leave_out_long and not look.uses_answers
        return replace(look, contrast=contrast, n_left_out=n_left_out if wanted else 0)
    except ContrastDataError as error:
        return replace(look, problem=str(error))


def _columns_at_least(choice: Choice) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The columns of a file that cannot be read as the visitor described it, so that the description can be changed."""
    try:
        return column_names(choice.own)
    except ContrastDataError:
        return (), ()


@dataclass(frozen=True, eq=False)
class Report:
    """What the linter finds, and one example as the model reads it."""

    findings: tuple[Finding, ...]
    spans: Mapping[str, tuple[tuple[str, bool], ...]]
    """Side -> (text of a token, whether it is averaged); empty where the model is not loaded yet."""


def report_on(store: ModelStore, model: str, contrast: ContrastSet) -> Report:
    """Runs no forward pass; a model that is not loaded stays so."""
    loaded = store.model(model) if store.is_loaded(model) else None
    findings = lint(contrast, loaded)
    if loaded is None:
        return Report(findings, {})
    sides = zip((words.WANTED_SIDE, words.OPPOSITE_SIDE), (contrast.positive, contrast.negative), strict=True)
    return Report(findings, {name: mark_averaged_tokens(loaded, side[0]) for name, side in sides})


# ---- the model's own answers


class AnswerRequest(NamedTuple):
    """The fields of the page from which answers are generated."""

    choice: Choice
    length: float | None
    samples: float | None
    temperature: float | None

    @classmethod
    def of(cls, *values: Any) -> AnswerRequest:
        """From the values of the page: those of `Choice.of`, then the three fields."""
        *choice, length, samples, temperature = values
        return cls(Choice.of(*choice), length, samples, temperature)


def answer_settings(
    store: ModelStore, length: float | None, samples: float | None, temperature: float | None
) -> AnswerSettings:
    """The fields of the page within the limits. Raises SettingsError."""
    most = store.limits.new_tokens
    if length is None or not 1 <= length <= most:
        raise SettingsError(f"The longest answer must have from 1 to {most} tokens.")
    if samples is None or not 1 <= samples <= 100:
        raise SettingsError("Ask for 1 to 100 answers to each prompt.")
    if temperature is None or not math.isfinite(temperature) or not 0 <= temperature <= 10:
        raise SettingsError("The temperature must lie between 0 (always the likeliest word) and 10.")
    return AnswerSettings(int(length), int(samples), float(temperature))


def generate_answers(store: ModelStore, choice: Choice, settings: AnswerSettings) -> Iterator[Answers]:
    """The answers as they come; those that are there already stay. Closing the iterator stops the model.

    Raises S2EError for prompts that cannot be asked, before anything runs.
    """
    reading = own_reading(choice.own, store.limits)
    asked = read_prompts(reading, samples=settings.samples)
    if len(asked) > store.limits.examples:
        raise SettingsError(words.TOO_MANY.format(len(asked), store.limits.examples))
    longest = max(len(one.example.prompt) for one in asked)
    if longest > store.limits.prompt_chars:
        raise SettingsError(words.LONG_PROMPT.format(longest, store.limits.prompt_chars))
    answers = _start_answers(store, choice, settings, asked)
    for status in model_made_ready(store, choice.model):
        yield replace(answers, status=status)
    yield answers
    loaded, path, stop = store.model(choice.model), answers.path, threading.Event()
    assert path is not None
    prompts = [one.example for one in asked]

    def stage(progress: Progress) -> tuple[OwnResponse, ...]:
        return own_responses(
            loaded, prompts, max_new_tokens=settings.max_new_tokens, temperature=settings.temperature, path=path,
            progress=progress, stop=stop,
        )  # fmt: skip

    work = Work(stage)
    try:
        with closing(work.ticks()) as ticks:
            for done, _ in ticks:
                if done > len(answers.by_prompt):
                    answers = answers.with_responses(read_responses(path, prompts))
                    yield answers
                else:
                    yield answers  # a place at which a Stop is heard
    finally:
        stop.set()
    yield answers.with_responses(dict(enumerate(work.result)), running=False, used=True, status="")


def _start_answers(store: ModelStore, choice: Choice, settings: AnswerSettings, asked: tuple[Asked, ...]) -> Answers:
    """The answers to resume with: the present ones if the same was asked of the same model."""
    before = choice.own.answers
    store.work.mkdir(parents=True, exist_ok=True)
    path = Path(tempfile.mkdtemp(dir=store.work)) / "answers.jsonl"
    same = before.model == choice.model and before.settings == settings and same_prompts(before.asked, asked)
    if same and before.path is not None and before.path.is_file():
        shutil.copyfile(before.path, path)  # a run that was just stopped may still hold the other
        return replace(before, path=path, running=True, status="")
    return Answers(choice.model, asked, settings, path, rule=possible_rules(asked)[0], share=before.share, running=True)


def stop_answers(answers: Answers) -> Answers:
    """After Stop or an error: everything that the file holds stays."""
    if not answers.running or answers.path is None:
        return replace(answers, running=False)
    responses = read_responses(answers.path, [one.example for one in answers.asked])
    status = words.STOPPED_ANSWERS.format(len(responses), len(answers.asked))
    return answers.with_responses(responses, running=False, used=bool(responses), status=status)


# ---- how far examples can be trusted


@dataclass(frozen=True, eq=False)
class TrustProgress:
    """How far the measurement of trust has come, in examples."""

    done: int
    total: int


def measure_trust(store: ModelStore, session: Session) -> Iterator[TrustProgress | Trust]:
    """Progress, in the end how far the session's examples can be trusted. Closing the iterator stops the model."""
    if session.origin:
        raise SettingsError(words.FROM_A_FILE)
    loaded, contrast = store.model(session.model), session.scored.contrast
    work = Work(lambda progress: reliability(loaded, contrast, outliers=store.outliers, progress=progress))
    with closing(work.ticks()) as ticks:
        for done, total in ticks:
            yield TrustProgress(done // 2, total // 2)  # two passes over the examples
    yield trust_of(work.result)


def is_fast(loaded: LoadedModel, session: Session) -> bool:
    means = session.scored.means
    return isinstance(means, ActivationMeans) and loaded.model.num_parameters() * means.n_tokens <= FAST


def trust_key(session: Session) -> str:
    """The same for two sessions of one model and one set of examples."""
    made_with = session.scored.scores.provenance
    return f"{made_with.fingerprint} {made_with.template} {session.scored.contrast.content_hash}"


def is_due(store: ModelStore, session: Session, checks: Checks) -> bool:
    """Whether own examples are extracted, quick to measure and not measured yet."""
    if session.behavior != OWN or session.origin or trust_key(session) in checks.tried_keys or checks.running:
        return False
    return store.is_loaded(session.model) and is_fast(store.model(session.model), session)


def with_trust(checks: Checks, session: Session, trust: Trust) -> Checks:
    return replace(
        checks, trusts=MappingProxyType({**checks.trusts, trust_key(session): trust}), running=False, status=""
    )  # fmt: skip
