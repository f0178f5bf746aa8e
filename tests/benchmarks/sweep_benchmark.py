"""Times a sweep against one setting after the other in the same run; run by hand:

    .venv/bin/python tests/benchmarks/sweep_benchmark.py [--behavior safety] [--share 4 | --full]

The paper's grid of 125 settings, 15 steering strengths and the untouched model answer the same development prompts.
Between the batches of the sweep the other arm answers for one setting in --share, by `generate_responses` with its
defaults; its time is multiplied accordingly. Both arms throw the same dice, and their texts are compared.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from s2e_core import (
    Extraction,
    extract,
    generate_responses,
    load_behavior,
    load_model,
    sweep,
)
from s2e_core.measure import Plan, Sweep, Trial, edit_grid, steering_grid, sweep_results
from s2e_core.measure.trials import trial_variant
from s2e_core.model import LoadedModel


class OneAfterTheOther:
    """The other arm: some of the settings, each with all questions, a few of them whenever the sweep pauses."""

    def __init__(
        self,
        loaded: LoadedModel,
        extraction: Extraction,
        plan: Plan,
        trials: tuple[Trial, ...],
    ) -> None:
        self.loaded, self.extraction, self.plan, self.trials = loaded, extraction, plan, trials
        self.prompts = [str(question.row["prompt"]) for question in plan.questions()]
        self.texts: list[tuple[str, ...]] = []
        self.seconds = 0.0

    def go_on(self, done: int, total: int) -> None:
        """Called between the batches of the sweep: keep step with it."""
        while len(self.texts) < len(self.trials) * done // total:
            start = time.perf_counter()
            self.texts.append(
                generate_responses(
                    self.loaded,
                    self.prompts,
                    variant=trial_variant(self.trials[len(self.texts)], self.extraction),
                    max_new_tokens=self.plan.length,
                    temperature=self.plan.temperature,
                    seed=self.plan.seed,
                )
            )
            self.seconds += time.perf_counter() - start

    def differences(self, swept: Sweep) -> int:
        """How many of its answers are not those of the sweep."""
        of_sweep = {id(outcome.trial): outcome.answers for outcome in swept.outcomes}
        return sum(
            text != answer.text
            for trial, texts in zip(self.trials, self.texts, strict=True)
            for text, answer in zip(texts, of_sweep[id(trial)], strict=True)
        )


def compare(name: str, loaded: LoadedModel, prompts: int, every: int, share: int) -> str:
    """One row of the table."""
    behavior = load_behavior(name)
    extraction = extract(loaded, behavior.contrast)
    plan = Plan(behavior, n_attribute=prompts, n_utility=prompts)
    trials = (Trial(), *steering_grid(), *edit_grid())[::every]
    plain = OneAfterTheOther(loaded, extraction, plan, trials[::share])
    sweep(loaded, extraction, plan, trials[:2])  # warm
    start = time.perf_counter()
    swept = sweep(loaded, extraction, plan, trials, progress=plain.go_on)
    ours = time.perf_counter() - start - plain.seconds
    start = time.perf_counter()
    sweep_results(swept)
    scoring = time.perf_counter() - start
    theirs = plain.seconds * len(trials) / len(plain.trials)
    compared = len(plain.texts) * len(plain.prompts)
    tokens = sum(answer.n_tokens for outcome in swept.outcomes for answer in outcome.answers)
    return (
        f"{name:<14} {len(trials):>8} {len(trials) * len(plain.prompts):>8} {tokens:>9} {ours:>8.1f} {scoring:>8.1f} "
        f"{theirs:>10.1f} {theirs / ours:>6.2f} {plain.differences(swept):>7} of {compared}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="bundled")
    parser.add_argument("--behavior", nargs="+", default=["safety"])
    parser.add_argument("--prompts", type=int, default=60, help="of each side")
    parser.add_argument("--every", type=int, default=1, help="sweep only every n-th setting (a trial of this program)")
    parser.add_argument("--share", type=int, default=4, help="one after the other: every n-th setting, extrapolated")
    parser.add_argument("--full", action="store_true", help="one after the other: every setting")
    parser.add_argument("--threads", type=int, help="of torch; by default its own choice")
    options = parser.parse_args()
    if options.threads:
        torch.set_num_threads(options.threads)
    loaded = load_model(options.model)
    share = 1 if options.full else options.share
    print(f"{loaded.model_id}, {torch.get_num_threads()} threads; seconds; one after the other: 1 of {share} settings")
    print("behaviour      settings  answers    tokens    sweep  scoring  one by one  ratio  answers that differ")
    for name in options.behavior:
        print(compare(name, loaded, options.prompts, options.every, share), flush=True)


if __name__ == "__main__":
    main()
