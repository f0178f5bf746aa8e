"""The race of a behaviour, and everything else that is measured for its record, part by part.

Knows the plans, of which the real model's are smaller; what becomes of a record is in `writing.py`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from s2e_core import Behavior, extract
from s2e_core.data import ProbeRow, behavior_gate_texts
from s2e_core.measure import PAPER_GAMMA, SearchPlan, run_race
from s2e_core.model import LoadedModel

from .answers import first_answers
from .greedy import greedy_record
from .likelihood import likelihood_record, run_likelihood
from .probes import probe_record
from .records import Headline, Record, race_record
from .tables import headline_sentence

FLOOR = 0.97
BUNDLED, REAL = "bundled", "smollm2"
PLANS: Mapping[str, Mapping[str, Any]] = {
    BUNDLED: {"n_trials": 300, "shortlist": 48, "finalists": 4, "prompts": 60, "gammas": PAPER_GAMMA},
    REAL: {
        "n_trials": 24,
        "shortlist": 12,
        "finalists": 2,
        "prompts": 36,
        "samples": 2,
        "gammas": (0.2, 0.4, 0.6, 0.8, 1.1),
    },
}
"""How much is tried: less on the real model, whose answers take far longer."""
LONG_ANSWER = 200
"""Longest answer, in tokens, from which on the real model answers each prompt once and not twice."""
NEUTRAL = {BUNDLED: 60, REAL: 20}
"""Harmless texts on which KL is measured."""


def race_behavior(loaded: LoadedModel, behavior: Behavior, model: str, work: Path) -> Headline:
    """The race of one behaviour; its files go to `work`, from where a run resumes."""
    extraction = extract(loaded, behavior.contrast, texts=behavior_gate_texts(behavior))
    work.mkdir(parents=True, exist_ok=True)
    race = run_race(loaded, extraction, search_plan(behavior, model), path=work, n_neutral=NEUTRAL[model])
    return Headline(behavior, race, extraction)


def search_plan(behavior: Behavior, model: str) -> SearchPlan:
    """How much is tried for a behaviour of a model."""
    plan = SearchPlan(behavior, floor=FLOOR, **PLANS[model])
    is_long = model == REAL and behavior.max_new_tokens >= LONG_ANSWER
    return replace(plan, samples=1) if is_long else plan


def measure_parts(
    loaded: LoadedModel, headline: Headline, model: str, probes: Sequence[ProbeRow], turns: Sequence[int]
) -> Iterator[Record]:
    """All that is recorded of a behaviour, part by part; of the real model also answers, probes and likelihoods."""
    behavior, race = headline.behavior, headline.race
    record = race_record(headline)
    print(f"{behavior.name}: {headline_sentence(behavior.name, record)}", flush=True)
    yield record
    if model == REAL:
        yield {"answers": first_answers(loaded, behavior, race)}
        variants = {arm: evaluation.variant for arm, evaluation in race.arms.items()}
        yield {"greedy": greedy_record(loaded, behavior, variants, race.best)}
    if probes:
        yield {"probes": probe_record(loaded, behavior, race, probes)}
    if turns:
        yield {"by likelihood": likelihood_record(run_likelihood(loaded, behavior, turns))}
