"""Find a good edit by likelihood alone, where there are examples but no prompts with a score.

Knows how the examples are divided, what is chosen and what is reported; how shapes are tried is in `shortlist.py`.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from s2e_core.errors import SettingsError
from s2e_core.model import LoadedModel
from s2e_core.progress import Progress, Stages
from s2e_core.values import ContrastSet, Example, Extraction

from .choosing import ARMS
from .estimates import Estimate, mean
from .evaluate import stoppable
from .screening import (
    HELD_OUT_EVERY,
    Screen,
    ScreenTexts,
    check_enough,
    open_screen,
    pick_examples,
    screen,
    screen_texts,
)
from .shapes import scaled
from .shortlist import Screened, count_measurements, margin_at, screen_shapes
from .suggest import KL_BOUND, next_strength
from .trials import Arm, Trial, trial_variant

LEAST_EXAMPLES = 2 * HELD_OUT_EVERY
"""Fewest examples of each side: two of them are reported on, the fewest that have an interval."""
SHARES_OF_BOUND = (0.04, 0.2, 0.9)
"""Levels of KL at which edits are tried, as shares of the bound: what is silent elsewhere may be too strong at it."""
STEERING_PROBES = 4
"""Further measurements of steering, to come near the bound."""
CONTENDERS = 6
"""Number of edits, those that promise the largest margins at the bound, that are brought near it."""
CORRECTIONS = 3
"""Most times that the strength of one of them is corrected."""
AIM = 0.95
"""Share of the bound that steering and edits are brought to."""
REPORT_TOKENS = 10_000
"""Most tokens of the examples that are reported on: they are read three times, those of the choice a hundred times."""
ENOUGH = 0.85
"""Share of the bound from which nothing is corrected any more."""


@dataclass(frozen=True, eq=False)
class Fifths:
    """Examples divided by what they are for."""

    fit: ContrastSet
    """Three fifths, which the edit is made from."""
    choose: ContrastSet
    """One fifth, by which the settings are chosen."""
    report: ContrastSet
    """One fifth, which plays no part in the choice: the figures to report."""


@dataclass(frozen=True, eq=False)
class LikelihoodFound:
    """The edit and the steering strength with the largest margin under a bound of KL, with what is reported of them."""

    bound: float
    """KL from the untouched model on harmless texts, in nats a token, that neither exceeds there."""
    edit: Screened | None
    """The chosen edit with its figures on the reported examples; None if no edit under the bound raises the margin."""
    steering: Screened | None
    """The same for steering."""
    lead: Estimate | None
    """Margin of the edit minus that of steering, pair by pair; None unless there are both."""
    pairs: int
    """Number of reported pairs."""
    screened: tuple[Screened, ...]
    """All that was measured on the examples of the choice."""


def split_fifths(contrast: ContrastSet, turn: int = 0) -> Fifths:
    """The examples for the fit, the choice and the report; over the turns 0 to 4 each is reported on once.

    Raises ContrastDataError for fewer than ten a side.
    """
    check_enough(contrast, LEAST_EXAMPLES, "of which a fifth is kept for the choice and a fifth for the report")
    *first, choose, report = ((turn + part) % HELD_OUT_EVERY for part in range(HELD_OUT_EVERY))
    return Fifths(*(pick_examples(contrast, remainders) for remainders in (first, [choose], [report])))


def find_by_likelihood(
    loaded: LoadedModel,
    extraction: Extraction,
    examples: Fifths,
    probes: Sequence[Example],
    *,
    bound: float = KL_BOUND,
    n_trials: int = 60,
    shortlist: int = 12,
    seed: int = 0,
    progress: Progress | None = None,
    stop: threading.Event | None = None,
) -> LikelihoodFound:
    """The edit with the largest margin among those with a KL of at most `bound`, and steering under the same bound.

    `extraction` is made of `examples.fit`, with texts, and gives the very edit that is reported; `probes` are harmless
    prompts that no gate was fitted on. No answer is sampled but those to the probes. `progress` counts measurements.
    Raises SettingsError for a bound that is not positive or an extraction without texts, Cancelled if `stop` is set or
    `progress` raises it.
    """
    if not 0 < bound < float("inf") or extraction.token_inputs is None:
        raise SettingsError(
            "The search by likelihood needs a bound of KL above 0 and an extraction with texts. Extract with texts."
        )
    steps = count_measurements(n_trials, shortlist)
    extra = STEERING_PROBES + CONTENDERS * CORRECTIONS
    stages = Stages(progress, texts=len(probes), shapes=steps, bound=extra, report=len(probes) + 2)

    def step(stage: str) -> Progress:
        return stoppable(stop, stages.of(stage))

    against = open_screen(loaded, screen_texts(loaded, examples.choose, probes, progress=step("texts")))
    screened = screen_shapes(
        loaded, extraction, extraction, against, n_shapes=n_trials, most=shortlist, seed=seed,
        levels=[bound * share for share in SHARES_OF_BOUND],
        progress=step("shapes"),
    )  # fmt: skip
    bench = _Bench(loaded, extraction, against, bound, step("bound"))
    screened = (*screened, *_nearer_steering(bench, screened), *_nearer_edits(bench, screened))
    chosen = [_choose(screened, arm, bound) for arm in ARMS]
    texts = screen_texts(loaded, examples.report, probes, most_tokens=REPORT_TOKENS, progress=step("report"))
    edit, steering = _report(bench, chosen, texts)
    stages.finish()
    return LikelihoodFound(bound, edit, steering, _lead(edit, steering), len(texts.wanted), screened)


@dataclass(frozen=True, eq=False)
class _Bench:
    """What trials are measured with."""

    loaded: LoadedModel
    extraction: Extraction
    against: Screen
    bound: float
    progress: Progress

    def measure(self, trial: Trial) -> Screened:
        (figures,) = screen(self.loaded, [trial_variant(trial, self.extraction)], self.against)
        self.progress(0, 0)  # a stop is noticed after every measurement
        return Screened(trial, figures)


def _nearer_steering(bench: _Bench, screened: Sequence[Screened]) -> list[Screened]:
    """Steering at strengths that come near the bound."""
    points = [(each.trial.gamma or 0.0, each.figures.kl.value) for each in screened if each.family == "steering"]
    found = []
    for _ in range(STEERING_PROBES):
        gamma = float(f"{next_strength(points, AIM * bench.bound):.4g}")
        if gamma in dict(points):
            break
        found.append(bench.measure(Trial(gamma=gamma)))
        points.append((gamma, found[-1].figures.kl.value))
    return found


def _nearer_edits(bench: _Bench, screened: Sequence[Screened]) -> list[Screened]:
    """The edits that promise most at the bound, as strong as it allows."""
    edits = [each for each in screened if each.shape is not None]
    edits.sort(key=lambda each: margin_at(each.figures, bench.bound), reverse=True)
    best_of = {each.shape: each for each in reversed(edits)}
    contenders = [each for each in edits if best_of[each.shape] is each][:CONTENDERS]
    return [nearer for each in contenders for nearer in _nearer_edit(bench, each)]


def _nearer_edit(bench: _Bench, edit: Screened) -> Iterator[Screened]:
    """One edit at other strengths, until its KL is just under the bound."""
    settings, points = edit.trial.settings, [(1.0, edit.figures.kl.value)]
    for _ in range(CORRECTIONS):
        if settings is None or ENOUGH * bench.bound <= points[-1][1] <= bench.bound:
            return
        factor = next_strength(points, AIM * bench.bound)
        nearer = replace(bench.measure(Trial(scaled(settings, factor))), shape=edit.shape)
        points.append((factor, nearer.figures.kl.value))
        yield nearer


def _choose(screened: Sequence[Screened], arm: Arm, bound: float) -> Trial | None:
    """The trial of an arm with the largest margin under the bound; None if none raises the margin."""
    allowed = [each for each in screened if each.trial.arm == arm and each.figures.kl.value <= bound]
    best = max(allowed, key=_margin, default=None)
    return best.trial if best is not None and _margin(best) > 0 else None


def _report(bench: _Bench, chosen: Sequence[Trial | None], texts: ScreenTexts) -> list[Screened | None]:
    """What was chosen, on the examples that played no part in the choice; the harmless texts are the same."""
    reporting = replace(bench, against=open_screen(bench.loaded, texts))
    return [None if trial is None else reporting.measure(trial) for trial in chosen]


def _lead(edit: Screened | None, steering: Screened | None) -> Estimate | None:
    if edit is None or steering is None:
        return None
    pairs = zip(edit.figures.margins, steering.figures.margins, strict=True)
    return mean([ours - theirs for ours, theirs in pairs])


def _margin(each: Screened) -> float:
    return each.figures.margin.value
