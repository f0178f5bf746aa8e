"""The same sweep on several machines: workers of a ray cluster, each with its own copy of the model, share the answers.

Knows ray, which is optional and imported when it is needed; how a worker answers is in `asking.py`, what is kept in
`sweep_file.py`. Only the process that began the sweep writes.
"""

from __future__ import annotations

import os
import threading
from collections import Counter, deque
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from importlib import import_module
from pathlib import Path
from typing import Any

import torch

from s2e_core.errors import Cancelled, S2EError, SettingsError, SweepError
from s2e_core.generation import POLL_SECONDS, rows_that_fit
from s2e_core.loading import load_model
from s2e_core.model import SPREAD, LoadedModel, Quantize
from s2e_core.progress import Progress
from s2e_core.values import ComponentScores, SteeringDirections

from .asking import ask
from .plan import Answer, Plan, Question, Share
from .sweep import fill, with_original
from .sweep_file import Sweep
from .trials import Trial, trial_variant

CHUNKS_PER_WORKER = 4
"""At least so many portions each, so that a fast worker does more and little is lost with one that dies."""
MOST_LOSSES = 3
"""Workers that may die over the same portion; a portion that kills every worker would go round for ever."""
STORE_BYTES = 500_000_000
"""Of shared memory in a cluster of our own: scores and questions take a small part of it."""


def sweep_on_ray(
    loaded: LoadedModel,
    scores: ComponentScores,
    directions: SteeringDirections,
    plan: Plan,
    trials: Sequence[Trial],
    *,
    path: Path | None = None,
    workers: int = 2,
    address: str | None = None,
    progress: Progress | None = None,
    stop: threading.Event | None = None,
) -> Sweep:
    """As `sweep`, with the same answers, file and errors, on `workers` processes that load the model themselves.

    They run in the cluster at `address` ("auto" for the one of this machine), in the one that ray is already connected
    to, or by default in a cluster of their own on this machine, which ends with the sweep. Every machine needs this
    project and the model in the same place, or a model of the Hub. A worker that dies is replaced, and its questions
    are asked again. Raises S2EError where ray is missing, SweepError where workers die again and again.
    """
    trials = with_original(trials)
    if workers < 1:
        raise SettingsError(f"{workers} workers were asked for; it must be one at least.")
    job = _Job(_Copy.of(loaded), scores, directions, plan, plan.questions(), trials)
    size = rows_that_fit(loaded, plan.length)

    def answers(missing: Sequence[Share]) -> Generator[list[tuple[Share, Answer]]]:
        if not missing:
            return
        ray = _ray()
        portions = _portions(missing, min(size, -(-len(missing) // (CHUNKS_PER_WORKER * workers))))
        with _connected(ray, address, workers, job.copy), _Crew(ray, job, min(workers, len(portions))) as crew:
            yield from crew.answers(portions, stop)

    return fill(scores, plan, trials, answers, dtype=loaded.dtype, path=path, progress=progress)


def _portions(shares: Sequence[Share], size: int) -> deque[list[Share]]:
    return deque(list(shares[first : first + size]) for first in range(0, len(shares), size))


@dataclass(frozen=True, eq=False)
class _Copy:
    """Which model a worker loads, and how."""

    source: str
    """The folder of the driver's own model; where a worker's machine has no such folder, the Hub's is used."""
    model_id: str
    revision: str | None
    fingerprint: str
    dtype: torch.dtype
    device: str
    quantize: Quantize | None
    run_from: str
    """See `Placement.run_from`."""
    on_gpu: bool

    @classmethod
    def of(cls, loaded: LoadedModel) -> _Copy:
        return cls(
            str(loaded.source),
            loaded.model_id,
            loaded.revision,
            loaded.fingerprint,
            loaded.dtype,
            # Every worker has devices of its own, whatever the number of the driver's.
            SPREAD if loaded.placement.device == SPREAD else loaded.device.type,
            loaded.placement.quantize,
            loaded.placement.run_from,
            loaded.device.type == "cuda",
        )

    def load(self) -> LoadedModel:
        here = Path(self.source).is_dir()
        own = self.source if here else "@".join(filter(None, (self.model_id, self.revision)))
        loaded = load_model(
            self.run_from or own,
            device=self.device,
            dtype=self.dtype,
            quantize=self.quantize,
            originals=own if self.run_from else None,
        )
        if loaded.fingerprint != self.fingerprint:
            raise SweepError(f"A worker found other weights under the name {self.model_id}. Copy the model to it.")
        return loaded


@dataclass(frozen=True, eq=False)
class _Job:
    """Everything that a worker needs to answer any share."""

    copy: _Copy
    scores: ComponentScores
    directions: SteeringDirections
    plan: Plan
    questions: tuple[Question, ...]
    trials: tuple[Trial, ...]


class _Worker:
    """One process with one copy of the model; runs inside ray."""

    def __init__(self, job: _Job) -> None:
        self.job = job

    @cached_property
    def loaded(self) -> LoadedModel:
        return self.job.copy.load()  # not in __init__, where ray would hide the sentence of a model that cannot be read

    def answer(self, shares: list[Share]) -> list[tuple[Share, Answer]]:
        job, used = self.job, sorted({share.trial for share in shares})
        place = {trial: n for n, trial in enumerate(used)}
        variants = [trial_variant(job.trials[trial], job.scores, job.directions) for trial in used]
        placed = [Share(place[share.trial], share.question) for share in shares]
        batches = ask(self.loaded, variants, job.plan, job.questions, placed)
        answered = [answer for batch in batches for _, answer in batch]
        return list(zip(shares, answered, strict=True))


class _Crew:
    """The workers, each with at most one portion in hand."""

    def __init__(self, ray: Any, job: _Job, size: int) -> None:
        self.ray, self.job = ray, ray.put(job)
        gpus = 1 if job.copy.on_gpu else 0
        self.kind = ray.remote(_Worker).options(num_cpus=1, num_gpus=gpus, max_restarts=0)
        self.idle = [self.kind.remote(self.job) for _ in range(size)]
        self.busy: dict[Any, tuple[Any, list[Share]]] = {}

    def __enter__(self) -> _Crew:
        return self

    def __exit__(self, *_: object) -> None:
        for worker in (*self.idle, *(worker for worker, _ in self.busy.values())):
            self.ray.kill(worker)

    def answers(
        self, portions: deque[list[Share]], stop: threading.Event | None
    ) -> Iterator[list[tuple[Share, Answer]]]:
        """The answers to all portions, in the order in which they are ready."""
        losses: Counter[Share] = Counter()
        while portions or self.busy:
            while portions and self.idle:
                worker, portion = self.idle.pop(), portions.popleft()
                self.busy[worker.answer.remote(portion)] = worker, portion
            ready, _ = self.ray.wait(list(self.busy), num_returns=1, timeout=POLL_SECONDS)
            if stop is not None and stop.is_set():
                raise Cancelled("Stopped while the workers were answering.")
            for task in ready:
                worker, portion = self.busy.pop(task)
                try:
                    answered = self._result(task)
                except self.ray.exceptions.RayActorError as error:
                    losses[portion[0]] += 1
                    if losses[portion[0]] == MOST_LOSSES:
                        raise SweepError(
                            f"{MOST_LOSSES} workers died over the same questions, perhaps for want of memory. Use "
                            "fewer workers; what was answered is kept."
                        ) from error
                    portions.appendleft(portion)
                    self.idle.append(self.kind.remote(self.job))
                else:
                    self.idle.append(worker)
                    yield answered

    def _result(self, task: Any) -> list[tuple[Share, Answer]]:
        try:
            return list(self.ray.get(task))
        except self.ray.exceptions.RayTaskError as error:
            if isinstance(error.cause, S2EError):
                raise error.cause from None  # the worker's own sentence, without the text that ray puts around it
            raise


def _ray() -> Any:
    try:
        return import_module("ray")
    except ImportError:
        raise S2EError(
            "Several workers need ray, which is not installed. Run pip install ray, or sweep on one machine."
        ) from None


@contextmanager
def _connected(ray: Any, address: str | None, workers: int, copy: _Copy) -> Iterator[None]:
    """A connection that is ended if it was made here; raises SettingsError where the cluster is too small."""
    own = not ray.is_initialized()
    if own:
        _connect(ray, address, workers)
    try:
        kind = "GPU" if copy.on_gpu else "CPU"
        there = int(ray.cluster_resources().get(kind, 0))
        if there < workers:
            raise SettingsError(f"The cluster has {there} {kind}s for {workers} workers. Use at most {there} workers.")
        yield
    finally:
        if own:
            ray.shutdown()


def _connect(ray: Any, address: str | None, workers: int) -> None:
    quiet = {"log_to_driver": False, "logging_level": "ERROR"}
    try:
        if address is None:
            os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # a cluster of our own tells nobody of itself
            os.environ.setdefault("RAY_worker_niceness", "0")  # somebody waits for these workers
            ray.init(
                address="local", num_cpus=workers, object_store_memory=STORE_BYTES, include_dashboard=False, **quiet
            )
        else:
            ray.init(address=address, **quiet)
    except (ConnectionError, RuntimeError, ValueError) as error:
        raise SweepError(f"There is no ray cluster at {address or 'this machine'}: {error}") from error
