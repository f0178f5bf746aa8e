"""The file of a sweep: one line that says what was asked, one line per trial, one line per answer.

Knows JSON lines and nothing of the model. Answers are on disk as soon as their batch is through; a line that a killed
process left half written is dropped when the file is opened again.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, TextIO

import torch

from .errors import SweepError
from .plan import Answer, Outcome, Plan, Question, Share
from .spec import ModelSpec
from .trials import Trial, trial_entry, trial_from, trial_key
from .types import Provenance

FORMAT = "steer2edit sweep"
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
    lines, _ = _read(path)
    try:
        trials, held = _trials(lines, spec), _held(lines)
        return with_answers(_sweep(lines[0]), trials, held)
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise SweepError(f"{path.name} is damaged or of another model ({error}). Run the sweep again.") from error


class SweepFile:
    """The answers known so far, and the open file that new ones are appended to; without a path they are only held."""

    def __init__(
        self, trials: Sequence[Trial], held: dict[Share, Answer], file: TextIO | None, lines: list[int]
    ) -> None:
        self.trials, self.held = trials, held
        self._file, self._lines = file, lines

    def add(self, answered: Sequence[tuple[Share, Answer]]) -> None:
        """Raises SweepError where the disk takes no more."""
        self.held.update(answered)
        if self._file is not None:
            entries = ({"t": self._lines[share.trial], "q": share.question, **asdict(it)} for share, it in answered)
            _append(self._file, entries)


@contextmanager
def sweep_file(path: Path | None, sweep: Sweep, trials: Sequence[Trial], spec: ModelSpec) -> Iterator[SweepFile]:
    """Open or begin the file of a sweep; `held` has what it holds for these trials.

    Raises SweepError where the file belongs to another sweep (other questions, model or dice) or cannot be written.
    """
    if path is None:
        yield SweepFile(trials, {}, None, [])
        return
    try:
        lines, end = ([], 0) if _is_blank(path) else _read(path)
        file = path.open("r+" if lines else "w", encoding="utf-8", newline="\n")
    except OSError as error:
        raise SweepError(f"{path.name} cannot be written ({error.strerror}). Choose another file.") from error
    with file:
        if lines:
            if lines[0] != _plain(_entry(sweep)):
                raise SweepError(
                    f"{path.name} holds another sweep: its questions, model, number format or dice differ. Choose "
                    "another file name."
                )
            file.seek(end)
            file.truncate()
        else:
            _append(file, [_entry(sweep)])
        yield _opened(file, lines, trials, spec)


def _opened(file: TextIO, lines: list[Any], trials: Sequence[Trial], spec: ModelSpec) -> SweepFile:
    """Trials that the file does not know get a line of their own."""
    known = {trial_key(trial): number for number, trial in enumerate(_trials(lines, spec))}
    new = []
    for trial in trials:
        if trial_key(trial) not in known:
            known[trial_key(trial)] = len(known)
            new.append({"trial": trial_entry(trial)})
    _append(file, new)
    numbers = [known[trial_key(trial)] for trial in trials]
    place: dict[int, list[int]] = {}
    for index, number in enumerate(numbers):
        place.setdefault(number, []).append(index)
    held = {
        Share(index, share.question): answer
        for share, answer in _held(lines).items()
        for index in place.get(share.trial, ())
    }
    return SweepFile(trials, held, file, numbers)


def _is_blank(path: Path) -> bool:
    """Whether a sweep may begin in the file: there is none, or nothing in it but a piece of a sweep's first line."""
    if not path.exists():
        return True
    begun = path.read_bytes()
    first = json.dumps({"format": FORMAT})[:-1].encode()
    return b"\n" not in begun and (begun.startswith(first) or first.startswith(begun))


def _read(path: Path) -> tuple[list[Any], int]:
    """All whole lines and the byte at which they end."""
    try:
        text = path.read_bytes()
        end = text.rfind(b"\n") + 1
        lines = [json.loads(line) for line in text[:end].decode("utf-8").split("\n")[:-1]]
    except (OSError, ValueError) as error:
        raise SweepError(f"{path.name} is not a sweep that can be read ({error}).") from error
    if not lines or not isinstance(lines[0], dict) or lines[0].get("format") != FORMAT:
        raise SweepError(f"{path.name} is not a sweep. Expected a file written by a sweep of this program.")
    return lines, end


def _append(file: TextIO, entries: Iterable[Mapping[str, Any]]) -> None:
    try:
        file.writelines(json.dumps(entry, ensure_ascii=False) + "\n" for entry in entries)
        file.flush()
    except OSError as error:
        with suppress(OSError):
            file.close()  # else whoever closes it would meet the same error, without the sentence
        raise SweepError(
            f"{Path(file.name).name} cannot be written any further ({error.strerror}). Make room and run the same "
            "again: what it holds is kept."
        ) from error


def _plain(entry: Any) -> Any:
    """The entry as it reads back from JSON."""
    return json.loads(json.dumps(entry))


def _entry(sweep: Sweep) -> dict[str, Any]:
    names = (
        "behavior", "title", "split", "samples", "temperature", "seed", "max_new_tokens", "less_is_better",
        "number_format",
    )  # fmt: skip
    questions = [{"row": dict(q.row), "side": q.side, "seed": q.seed, "prompt": q.prompt} for q in sweep.questions]
    described = {name: getattr(sweep, name) for name in names}
    provenance = asdict(sweep.provenance)
    return {"format": FORMAT, "version": VERSION, **described, "provenance": provenance, "questions": questions}


def _sweep(entry: Mapping[str, Any]) -> Sweep:
    kept = {name: value for name, value in entry.items() if name not in ("format", "version")}
    kept["questions"] = tuple(Question(**question) for question in kept["questions"])
    kept["provenance"] = Provenance(**kept["provenance"])
    return Sweep(**kept)


def _trials(lines: Sequence[Any], spec: ModelSpec) -> list[Trial]:
    return [trial_from(line["trial"], spec) for line in lines[1:] if "trial" in line]


def _held(lines: Sequence[Any]) -> dict[Share, Answer]:
    return {Share(line["t"], line["q"]): Answer(line["text"], line["n_tokens"]) for line in lines[1:] if "t" in line}
