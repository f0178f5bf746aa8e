"""The file of a sweep: one line that says what was asked, one line per trial, one line per answer.

Knows what the lines mean; how they reach the disk and are found again there is in `files/growing_file.py`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch

from s2e_core.errors import SweepError
from s2e_core.files import GrowingFile, Kind, growing_file, held_lines
from s2e_core.spec import ModelSpec
from s2e_core.values import Provenance

from .plan import Answer, Outcome, Plan, Question, Share
from .trials import Trial, trial_entry, trial_from, trial_key

SWEEP = Kind("steer2edit sweep", "a sweep", "another sweep: its questions, model, number format or dice", SweepError)
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
    """Of the attribute: true for thinking length."""
    number_format: str
    """In which the model ran ("float32"): another one may answer otherwise."""
    provenance: Provenance
    questions: tuple[Question, ...]
    outcomes: tuple[Outcome, ...] = ()


def empty_sweep(plan: Plan, provenance: Provenance, dtype: torch.dtype) -> Sweep:
    """A sweep in which nothing has been asked yet."""
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
    )


def with_answers(sweep: Sweep, trials: Sequence[Trial], held: Mapping[Share, Answer]) -> Sweep:
    """The sweep with every trial that has all its answers."""
    numbers = range(len(sweep.questions))
    complete = (
        Outcome(trial, tuple(held[Share(t, q)] for q in numbers))
        for t, trial in enumerate(trials)
        if all(Share(t, q) in held for q in numbers)
    )
    return replace(sweep, outcomes=tuple(complete))


def load_sweep(path: Path, spec: ModelSpec) -> Sweep:
    """A saved sweep; its `provenance` says of which weights. `spec` is that of the model.

    Raises SweepError for a file that is no sweep or damaged, or that names components which the model lacks.
    """
    lines = held_lines(path, SWEEP)
    if not lines:
        raise SweepError(f"{path.name} is not a sweep: it is missing or empty. Choose another file.")
    try:
        return with_answers(_sweep(lines[0]), _trials(lines, spec), _held(lines))
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise SweepError(f"{path.name} is damaged or of another model ({error}). Run the sweep again.") from error


class SweepFile:
    """The answers known so far, and the open file that new ones are added to; without a path they are only held."""

    def __init__(
        self, trials: Sequence[Trial], held: dict[Share, Answer], file: GrowingFile | None, numbers: Sequence[int]
    ) -> None:
        """`numbers` are those of the trials in the file."""
        self.trials, self.held = trials, held
        self._file, self._numbers = file, numbers

    def add(self, answered: Sequence[tuple[Share, Answer]]) -> None:
        """Raises SweepError where the disk takes no more."""
        self.held.update(answered)
        if self._file is not None:
            self._file.add(
                {"t": self._numbers[share.trial], "q": share.question, **asdict(it)} for share, it in answered
            )


@contextmanager
def sweep_file(path: Path | None, sweep: Sweep, trials: Sequence[Trial], spec: ModelSpec) -> Iterator[SweepFile]:
    """Open or begin the file of a sweep; `held` has what it holds for these trials.

    Raises SweepError where the file belongs to another sweep (other questions, model or dice), is being written to, or
    cannot be written.
    """
    if path is None:
        yield SweepFile(trials, {}, None, [])
        return
    with growing_file(path, _entry(sweep), SWEEP) as file:
        yield _opened(file, trials, spec)


def _opened(file: GrowingFile, trials: Sequence[Trial], spec: ModelSpec) -> SweepFile:
    """Trials that the file does not know get a line of their own."""
    known = {trial_key(trial): number for number, trial in enumerate(_trials(file.lines, spec))}
    new = []
    for trial in trials:
        if trial_key(trial) not in known:
            known[trial_key(trial)] = len(known)
            new.append({"trial": trial_entry(trial)})
    file.add(new)
    numbers = [known[trial_key(trial)] for trial in trials]
    place: dict[int, list[int]] = {}
    for index, number in enumerate(numbers):
        place.setdefault(number, []).append(index)
    held = {
        Share(index, share.question): answer
        for share, answer in _held(file.lines).items()
        for index in place.get(share.trial, ())
    }
    return SweepFile(trials, held, file, numbers)


def _entry(sweep: Sweep) -> dict[str, Any]:
    names = (
        "behavior", "title", "split", "samples", "temperature", "seed", "max_new_tokens", "less_is_better",
        "number_format",
    )  # fmt: skip
    questions = [{"row": dict(q.row), "side": q.side, "seed": q.seed, "prompt": q.prompt} for q in sweep.questions]
    described = {name: getattr(sweep, name) for name in names}
    provenance = asdict(sweep.provenance)
    return {"version": VERSION, **described, "provenance": provenance, "questions": questions}


def _sweep(entry: Mapping[str, Any]) -> Sweep:
    kept = {name: value for name, value in entry.items() if name not in ("format", "version")}
    kept["questions"] = tuple(Question(**question) for question in kept["questions"])
    kept["provenance"] = Provenance(**kept["provenance"])
    return Sweep(**kept)


def _trials(lines: Sequence[Any], spec: ModelSpec) -> list[Trial]:
    return [trial_from(line["trial"], spec) for line in lines if "trial" in line]


def _held(lines: Sequence[Any]) -> dict[Share, Answer]:
    return {Share(line["t"], line["q"]): Answer(line["text"], line["n_tokens"]) for line in lines if "t" in line}
