"""Share the questions of a sweep or a search among the workers of a ray cluster, each with a copy of the model.

Knows ray, which is optional and imported when it is needed; how a worker answers is in `asking.py`. Only the process
that started the sweep writes its file.
"""

from __future__ import annotations

import os
import threading
from collections import Counter, deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
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
from s2e_core.values import Extraction

from .asking import Answers, ask
from .plan import Answer, Plan, Question, Share
from .trials import Trial, trial_variant

CHUNKS_PER_WORKER = 4
"""Least number of portions per worker, so that a fast one does more and little is lost with one that dies."""
MOST_LOSSES = 3
"""Number of workers that may die over one portion before the work ends: it would kill workers for ever."""
STORE_BYTES = 500_000_000
"""Shared memory of our own cluster; scores and questions need a small part of it."""


class RayWorkers:
    """Answer the shares of sweeps on `n_workers` processes of a ray cluster that load the model themselves.

    An `Asker` for `sweep` and `find_edit`, used in a with statement: the workers start with the first question and stay
    until its end. They run in the cluster that ray is already connected to, else in the one at `address` ("auto" for
    that of this machine), else in a cluster of their own on this machine. Every machine needs this project and
    the model in the same folder, or a model of the Hub. A worker that dies is replaced, and its questions are asked
    again. Raises SettingsError if there are fewer than one worker or more than the cluster has processors, S2EError if
    ray is missing, SweepError if workers die again and again or there is no cluster at `address`.
    """

    def __init__(self, loaded: LoadedModel, *, n_workers: int = 2, address: str | None = None) -> None:
        if n_workers < 1:
            raise SettingsError(f"{n_workers} workers were requested; at least one is needed.")
        self._n_workers, self._address, self._copy = n_workers, address, _Copy.of(loaded)
        self._crew: _Crew | None = None
        self._exit = ExitStack()

    def __enter__(self) -> RayWorkers:
        return self

    def __exit__(self, *_: object) -> None:
        self._crew = None
        self._exit.close()

    def __call__(
        self,
        loaded: LoadedModel,
        extraction: Extraction,
        plan: Plan,
        trials: Sequence[Trial],
        shares: Sequence[Share],
        stop: threading.Event | None,
    ) -> Answers:
        """The answers to `shares`, in the order in which the workers finish."""
        if shares:
            per_worker = -(-len(shares) // (CHUNKS_PER_WORKER * self._n_workers))
            portions = _portions(shares, min(rows_that_fit(loaded, plan.length), per_worker))
            job = _Job(extraction, plan, plan.questions(), tuple(trials))
            yield from self._start().answers(job, portions, stop)

    def _start(self) -> _Crew:
        if self._crew is None:
            ray = _ray()
            self._exit.enter_context(_connection(ray, self._address, self._n_workers, self._copy))
            self._crew = self._exit.enter_context(_Crew(ray, self._copy, self._n_workers))
        return self._crew


def _portions(shares: Sequence[Share], size: int) -> deque[list[Share]]:
    return deque(list(shares[first : first + size]) for first in range(0, len(shares), size))


@dataclass(frozen=True, eq=False)
class _Copy:
    """Which model a worker loads, and how."""

    source: str
    """Folder or GGUF file of the driver's model; a worker whose machine lacks it takes the model from the Hub."""
    model_id: str
    revision: str | None
    fingerprint: str
    dtype: torch.dtype
    device: str
    quantize: Quantize | None
    run_from: str
    """Folder of the quantised files that run, see `Placement.run_from`."""
    on_gpu: bool
    template_args: Mapping[str, Any]

    @classmethod
    def of(cls, loaded: LoadedModel) -> _Copy:
        return cls(
            str(loaded.source if loaded.gguf is None else loaded.gguf.path),
            loaded.model_id,
            loaded.revision,
            loaded.fingerprint,
            loaded.dtype,
            # Every worker has devices of its own, whatever the number of the driver's.
            SPREAD if loaded.placement.device == SPREAD else loaded.device.type,
            loaded.placement.quantize,
            loaded.placement.run_from,
            loaded.device.type == "cuda",
            loaded.template_args,
        )

    def load(self) -> LoadedModel:
        own = self.source if Path(self.source).exists() else "@".join(filter(None, (self.model_id, self.revision)))
        loaded = load_model(
            self.run_from or own,
            device=self.device,
            dtype=self.dtype,
            quantize=self.quantize,
            originals=own if self.run_from else None,
            template_args=self.template_args,
        )
        if loaded.fingerprint != self.fingerprint:
            raise SweepError(
                f"A worker found other weights under the name {self.model_id}. Copy the model to its machine."
            )
        return loaded


@dataclass(frozen=True, eq=False)
class _Job:
    """Everything but the model that a worker needs to answer any share."""

    extraction: Extraction
    plan: Plan
    questions: tuple[Question, ...]
    trials: tuple[Trial, ...]


class _Worker:
    """One process with one copy of the model; runs inside ray."""

    def __init__(self, copy: _Copy) -> None:
        self.copy = copy

    @cached_property
    def loaded(self) -> LoadedModel:
        return self.copy.load()  # not in __init__, where ray would hide the message of a model that cannot be read

    def answer(self, job: _Job, shares: list[Share]) -> list[tuple[Share, Answer]]:
        used = sorted({share.trial for share in shares})
        position = {trial: n for n, trial in enumerate(used)}
        variants = [trial_variant(job.trials[trial], job.extraction) for trial in used]
        own_shares = [Share(position[share.trial], share.question) for share in shares]
        batches = ask(self.loaded, variants, job.plan, job.questions, own_shares)
        answers = [answer for batch in batches for _, answer in batch]
        return list(zip(shares, answers, strict=True))


class _Crew:
    """The workers, each with at most one portion in hand; a worker starts when there is a portion for it."""

    def __init__(self, ray: Any, copy: _Copy, size: int) -> None:
        self.ray, self.copy, self.size = ray, ray.put(copy), size
        self.kind = ray.remote(_Worker).options(num_cpus=1, num_gpus=int(copy.on_gpu), max_restarts=0)
        self.idle: list[Any] = []
        self.busy: dict[Any, tuple[Any, list[Share]]] = {}

    def __enter__(self) -> _Crew:
        return self

    def __exit__(self, *_: object) -> None:
        self._dismiss()
        for worker in self.idle:
            self.ray.kill(worker)

    def _dismiss(self) -> None:
        """End the workers whose answers nobody needs any more."""
        for worker, _ in self.busy.values():
            self.ray.kill(worker)
        self.busy.clear()

    def answers(self, job: _Job, portions: deque[list[Share]], stop: threading.Event | None) -> Answers:
        """The answers to all portions, in the order in which the workers finish."""
        try:
            yield from self._answers(self.ray.put(job), portions, stop)
        finally:
            self._dismiss()

    def _answers(self, job: Any, portions: deque[list[Share]], stop: threading.Event | None) -> Answers:
        losses: Counter[Share] = Counter()
        while portions or self.busy:
            while portions and len(self.busy) < self.size:
                worker = self.idle.pop() if self.idle else self.kind.remote(self.copy)
                portion = portions.popleft()
                self.busy[worker.answer.remote(job, portion)] = worker, portion
            ready, _ = self.ray.wait(list(self.busy), num_returns=1, timeout=POLL_SECONDS)
            if stop is not None and stop.is_set():
                raise Cancelled("Stopped while the workers were answering.")
            for task in ready:
                worker, portion = self.busy.pop(task)
                try:
                    answers = self._result(task)
                except self.ray.exceptions.RayActorError as error:
                    losses[portion[0]] += 1
                    if losses[portion[0]] == MOST_LOSSES:
                        raise SweepError(
                            f"{MOST_LOSSES} workers died over the same questions, perhaps for lack of memory. Use "
                            "fewer workers; the answers so far are kept."
                        ) from error
                    portions.appendleft(portion)
                else:
                    self.idle.append(worker)
                    yield answers

    def _result(self, task: Any) -> list[tuple[Share, Answer]]:
        try:
            return list(self.ray.get(task))
        except self.ray.exceptions.RayTaskError as error:
            if isinstance(error.cause, S2EError):
                raise error.cause from None  # the worker's own message, without the text that ray puts around it
            raise


def _ray() -> Any:
    try:
        return import_module("ray")
    except ImportError:
        raise S2EError(
            "Several workers need ray, which is not installed. Run pip install ray, or work on one machine."
        ) from None


@contextmanager
def _connection(ray: Any, address: str | None, workers: int, copy: _Copy) -> Iterator[None]:
    """Connect to the cluster unless ray is connected, and disconnect only then.

    Raises SettingsError if the cluster is too small.
    """
    own = not ray.is_initialized()
    if own:
        _connect(ray, address, workers)
    try:
        kind = "GPU" if copy.on_gpu else "CPU"
        available = int(ray.cluster_resources().get(kind, 0))
        if available < workers:
            raise SettingsError(
                f"The cluster has {available} {kind}s for {workers} workers. Use at most {available} workers."
            )
        yield
    finally:
        if own:
            ray.shutdown()


def _connect(ray: Any, address: str | None, workers: int) -> None:
    quiet = {"log_to_driver": False, "logging_level": "ERROR"}
    try:
        if address is None:
            os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # a cluster of our own reports to nobody
            os.environ.setdefault("RAY_worker_niceness", "0")  # somebody waits for these workers
            ray.init(
                address="local", num_cpus=workers, object_store_memory=STORE_BYTES, include_dashboard=False, **quiet
            )
        else:
            ray.init(address=address, **quiet)
    except (ConnectionError, RuntimeError, ValueError) as error:
        raise SweepError(f"There is no ray cluster at {address or 'this machine'}: {error}") from error
