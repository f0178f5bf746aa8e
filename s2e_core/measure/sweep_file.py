"""The file of a sweep: one line with the questions, one line per trial, per answer, and per trial whose KL is known.

Knows what the lines mean; how they are written and read is in `files/growing_file.py`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import torch

from s2e_core.errors import SweepError
from s2e_core.files import GrowingFile, Kind, growing_file, read_lines
from s2e_core.spec import ModelSpec
from s2e_core.values import Outliers, Provenance

from .estimates import Estimate
from .plan import Answer, Outcome, Plan, Question, Share
from .trials import Trial, trial_from_json, trial_key, trial_to_json

SWEEP = Kind(
    "steer2edit sweep",
    "a sweep",
    "another sweep: its questions, model, number format, outliers or random seed",
    SweepError,
)
VERSION = 1


@dataclass(frozen=True, eq=False)
class Sweep:
    """The questions of a sweep, how they were asked, and every trial that has all its answers."""

    behavior: str
    title: str
    split: str
    samples: int
    temperature: float
    seed: int
    max_new_tokens: int
    less_is_better: bool
    """True if a smaller attribute is better, as for thinking length."""
    number_format: str
    """Number format of the model, such as "float32"; another one may give other answers."""
    provenance: Provenance
    questions: tuple[Question, ...]
    outcomes: tuple[Outcome, ...] = ()
    outliers: Outliers = "keep"
    """What became of outliers among the positions of the examples; "keep" also if there are none."""
    kl: Mapping[str, Estimate] = field(default_factory=dict)
    """KL from the untouched model on harmless texts by the key of a trial, in nats a token, where it was measured."""


def empty_sweep(plan: Plan, provenance: Provenance, dtype: torch.dtype, outliers: Outliers = "keep") -> Sweep:
    """A sweep without answers."""
    return Sweep(
        behavior=plan.behavior.name,
        title=plan.behavior.title,
        split=plan.split,
        samples=plan.samples,
        temperature=plan.temperature,
        seed=plan.seed,
        max_new_tokens=plan.length,
        less_is_better=plan.less_is_better,
        number_format=str(dtype).removeprefix("torch."),
        provenance=provenance,
        questions=plan.questions(),
        outliers=outliers,
    )


def add_answers(sweep: Sweep, trials: Sequence[Trial], answers: Mapping[Share, Answer]) -> Sweep:
    """The sweep with every trial that has all its answers."""
    numbers = range(len(sweep.questions))
    complete = (
        Outcome(trial, tuple(answers[Share(t, q)] for q in numbers))
        for t, trial in enumerate(trials)
        if all(Share(t, q) in answers for q in numbers)
    )
    return replace(sweep, outcomes=tuple(complete))


def load_sweep(path: Path, spec: ModelSpec) -> Sweep:
    """A saved sweep; its `provenance` says of which weights. `spec` is that of the model.

    Raises SweepError if the file is not a sweep, is damaged, or names components that the model does not have.
    """
    lines = read_lines(path, SWEEP)
    if not lines:
        raise SweepError(f"{path.name} is not a sweep: it does not exist or is empty. Choose another file.")
    try:
        sweep = add_answers(_sweep(lines[0]), _trials(lines, spec), _answers(lines))
        return replace(sweep, kl=_divergences(lines, spec))
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise SweepError(
            f"{path.name} is damaged or belongs to another model ({error}). Run the sweep again."
        ) from error


class SweepFile:
    """The answers so far, and the open file that new ones are added to; without a file they stay in memory."""

    def __init__(
        self,
        trials: Sequence[Trial],
        answers: dict[Share, Answer],
        file: GrowingFile | None,
        numbers: Sequence[int],
        kl: Mapping[str, Estimate],
    ) -> None:
        """`numbers` are the trials' line numbers among those of the file's trials; `kl` is that of `Sweep`."""
        self.trials, self.answers, self.kl = trials, answers, kl
        self._file, self._numbers = file, numbers

    def add(self, answers: Sequence[tuple[Share, Answer]]) -> None:
        """Add answers to the file at once. Raises SweepError if they cannot be written."""
        self.answers.update(answers)
        if self._file is not None:
            self._file.add(
                {"t": self._numbers[share.trial], "q": share.question, **asdict(answer)} for share, answer in answers
            )


@contextmanager
def sweep_file(path: Path | None, sweep: Sweep, trials: Sequence[Trial], spec: ModelSpec) -> Iterator[SweepFile]:
    """Open or begin the file of a sweep; its `answers` are those that the file contains for these trials.

    Raises SweepError if the file belongs to another sweep (other questions, model or random seeds), another run is
    writing to it, or it cannot be written.
    """
    if path is None:
        yield SweepFile(trials, {}, None, [], {})
        return
    with growing_file(path, _entry(sweep), SWEEP) as file:
        yield _open(file, trials, spec)


def add_divergences(path: Path, sweep: Sweep, kl: Mapping[str, Estimate], spec: ModelSpec) -> Sweep:
    """The sweep with the KL of more of its trials, in its file as well. Raises SweepError as `sweep_file` does."""
    trials = {trial_key(outcome.trial): outcome.trial for outcome in sweep.outcomes}
    with growing_file(path, _entry(sweep), SWEEP) as file:
        known = _divergences(file.lines, spec)
        new = {key: figure for key, figure in kl.items() if key not in known}
        file.add([{"measured": trial_to_json(trials[key]), "kl": asdict(figure)} for key, figure in new.items()])
    return replace(sweep, kl={**sweep.kl, **kl})


def _open(file: GrowingFile, trials: Sequence[Trial], spec: ModelSpec) -> SweepFile:
    """Add a line for every trial that the file does not contain yet."""
    number_of = {trial_key(trial): number for number, trial in enumerate(_trials(file.lines, spec))}
    entries = []
    for trial in trials:
        if trial_key(trial) not in number_of:
            number_of[trial_key(trial)] = len(number_of)
            entries.append({"trial": trial_to_json(trial)})
    file.add(entries)
    numbers = [number_of[trial_key(trial)] for trial in trials]
    indices: dict[int, list[int]] = {}
    for index, number in enumerate(numbers):
        indices.setdefault(number, []).append(index)
    answers = {
        Share(index, share.question): answer
        for share, answer in _answers(file.lines).items()
        for index in indices.get(share.trial, ())
    }
    return SweepFile(trials, answers, file, numbers, _divergences(file.lines, spec))


def _entry(sweep: Sweep) -> dict[str, Any]:
    names = (
        "behavior", "title", "split", "samples", "temperature", "seed", "max_new_tokens", "less_is_better",
        "number_format",
    )  # fmt: skip
    questions = [
        {
            "row": dict(q.row),
            "side": q.side,
            "seed": q.seed,
            "prompt": q.prompt,
            **({"greedy": True} if q.greedy else {}),
        }
        for q in sweep.questions
    ]
    fields = {name: getattr(sweep, name) for name in names}
    fields |= {"outliers": sweep.outliers} if sweep.outliers != "keep" else {}
    return {"version": VERSION, **fields, "provenance": sweep.provenance.to_json(), "questions": questions}


def _sweep(entry: Mapping[str, Any]) -> Sweep:
    fields = {name: value for name, value in entry.items() if name not in ("format", "version")}
    fields["questions"] = tuple(Question(**question) for question in fields["questions"])
    fields["provenance"] = Provenance(**fields["provenance"])
    return Sweep(**fields)


def _trials(lines: Sequence[Any], spec: ModelSpec) -> list[Trial]:
    return [trial_from_json(line["trial"], spec) for line in lines if "trial" in line]


def _divergences(lines: Sequence[Any], spec: ModelSpec) -> dict[str, Estimate]:
    measured = [line for line in lines if "measured" in line]
    return {trial_key(trial_from_json(line["measured"], spec)): Estimate(**line["kl"]) for line in measured}


def _answers(lines: Sequence[Any]) -> dict[Share, Answer]:
    return {Share(line["t"], line["q"]): Answer(line["text"], line["n_tokens"]) for line in lines if "t" in line}
