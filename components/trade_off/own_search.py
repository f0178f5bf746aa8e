"""Find a good edit for a visitor's own examples, by likelihood alone: a `Lab` that grows, in the end with the result.

Knows the store and the core's search; no page. The search makes its direction from three fifths of the examples, so
that the choice and the reported figures rest on pairs that it has not seen.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import closing

from components.shared.gate_prompts import gate_texts
from components.shared.session import Session
from components.shared.store import ModelStore
from components.shared.work import Work
from s2e_core import SettingsError
from s2e_core.cache import extract_cached
from s2e_core.data import GateTexts
from s2e_core.measure import Fifths, LikelihoodFound, SearchBudget, find_by_likelihood, split_fifths
from s2e_core.model import LoadedModel
from s2e_core.progress import Progress, Stages

from .lab import Lab, OwnSearch, Place
from .run import STATUS_SECONDS

READ_PERCENT, SEARCH_PERCENT = 10, 90
"""Share of the progress that the reading of the examples gets, and share of the search."""


def search_own(store: ModelStore, session: Session, budget: SearchBudget) -> Iterator[Lab]:
    """The lab as it grows, in the end with what was found. Closing the iterator stops the model.

    Raises ContrastDataError for fewer than ten examples a side, SettingsError if the model can answer no prompt.
    """
    examples, loaded = split_fifths(session.scored.contrast), store.model(session.model)
    texts = gate_texts(loaded, examples.fit, None)
    if texts is None:
        raise SettingsError("The model can answer none of your prompts: they are empty or too long. Change them.")
    lab = Lab(
        Place.of(session), "trade-off", OwnSearch(budget.n_trials), store.work, total=READ_PERCENT + SEARCH_PERCENT
    )
    work = Work(lambda progress: _find(store, loaded, examples, texts, budget, progress))
    began, shown = time.monotonic(), 0.0
    with closing(work.ticks()) as ticks:
        for done, _ in ticks:
            now = time.monotonic()
            if now - shown > STATUS_SECONDS:
                shown = now
                yield lab.changed(done=done, seconds=now - began)
    yield lab.changed(state="done", found=work.result, done=lab.total, seconds=time.monotonic() - began)


def _find(
    store: ModelStore, loaded: LoadedModel, examples: Fifths, texts: GateTexts, budget: SearchBudget, progress: Progress
) -> LikelihoodFound:
    """The long part, in a thread of its own; `progress` counts percent and raises Cancelled to stop it."""
    stages = Stages(progress, read=READ_PERCENT, search=SEARCH_PERCENT)
    extraction = extract_cached(
        loaded, examples.fit, texts=texts, outliers=store.outliers, cache=store.cache,
        progress=_in_percent(stages.of("read"), READ_PERCENT),
    )  # fmt: skip
    return find_by_likelihood(
        loaded, extraction, examples, texts.probes, n_trials=budget.n_trials, shortlist=budget.shortlist,
        progress=_in_percent(stages.of("search"), SEARCH_PERCENT),
    )  # fmt: skip


def _in_percent(progress: Progress, share: int) -> Progress:
    return lambda done, total: progress(share * done // max(total, 1), share)
