"""What `find` says of likelihoods: the settings that were screened, and the search by likelihood alone.

Knows the terminal and the JSON object; every computation is a function of the core.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from typing import Any

from s2e_core.data import read_harmless
from s2e_core.errors import SettingsError
from s2e_core.measure import (
    KL_BOUND,
    LikelihoodFound,
    Screened,
    find_by_likelihood,
    format_figure,
    split_fifths,
)
from s2e_core.model import LoadedModel
from s2e_core.values import ContrastSet, Extraction

from .dials import choose_texts
from .json_output import ESTIMATE, TRIAL, Fields, describe_estimate, describe_optional, describe_trial
from .terminal import ProgressLine, check_exists, extract_chosen

SCREENED: Fields = {
    "trial": ("The edit or the steering strength.", TRIAL),
    "family": 'Family of the edit, or "steering".',
    "level": "Index of the level of KL that the edit was made for, the smallest first; null for steering.",
    "margin": (
        "Rise of the mean log-likelihood of wanted over unwanted responses, in nats a token, on examples that the "
        "direction was not made from.",
        ESTIMATE,
    ),
    "wanted": ("Rise of the log-likelihood of the wanted responses alone.", ESTIMATE),
    "kl": ("KL from the untouched model on its own answers to harmless prompts, in nats a token.", ESTIMATE),
}
BY_LIKELIHOOD: Fields = {
    "kl_bound": "Largest KL that the chosen edit and steering may have.",
    "edit": ("The chosen edit on examples that played no part in the choice; null if no edit helps.", SCREENED),
    "steering": ("The same for steering.", SCREENED),
    "lead": ("Margin of the edit minus that of steering, pair by pair.", ESTIMATE),
    "fit": "Number of examples of each side that the edit was made from.",
    "chosen_by": "Number of pairs by which it was chosen.",
    "reported_on": "Number of pairs that the figures are from.",
}
RULE = "Chosen: the largest margin among those with a KL of at most {bound:g} nats a token on harmless texts."


def search_by_likelihood(
    options: argparse.Namespace, loaded: LoadedModel, contrast: ContrastSet
) -> tuple[Extraction, LikelihoodFound]:
    """The edit that own examples alone recommend, and the extraction that it is made from."""
    examples = split_fifths(contrast)
    texts = choose_texts(options, loaded, examples.fit)
    noted = replace(examples.fit, notes=contrast.notes)
    extraction = extract_chosen(options, loaded, noted, texts)
    with ProgressLine("measurements") as progress:
        found = find_by_likelihood(
            loaded, extraction, examples, texts.probes, bound=KL_BOUND if options.kl is None else options.kl,
            n_trials=options.trials, shortlist=options.shortlist, seed=options.seed, progress=progress,
        )  # fmt: skip
    return extraction, found


def check_likelihood_options(options: argparse.Namespace) -> None:
    """Raises SettingsError for options of the other kind of search. Called before a model is loaded."""
    check_exists(options.contrast, options.harmless)
    if options.harmless is not None:
        read_harmless(options.harmless)
    if options.behavior:
        wrong = [f"--{name}" for name in ("kl", "harmless") if getattr(options, name) is not None]
        reason = "is for examples without measured prompts, and the prompts of the behaviour are measured"
    else:
        names = ("output", "ray", "workers", "held_out")
        wrong = [f"--{name.replace('_', '-')}" for name in names if getattr(options, name) is not None]
        reason = "is for answers, and without a behaviour no answer is measured"
    if wrong:
        raise SettingsError(f"{wrong[0]} {reason}. Leave it out.")


def show_likelihood(found: LikelihoodFound) -> None:
    print(
        "By likelihood alone, without sampled answers; 95 % intervals over pairs of examples that nothing was chosen by"
    )
    for arm, each in (("edit", found.edit), ("steering", found.steering)):
        if each is None:
            print(f"Best {arm}: none raises the margin at a KL of at most {found.bound:g}.")
            continue
        figures = each.figures
        print(
            f"Best {arm}: {each.trial.label}\n  margin {format_figure(figures.margin)}, wanted responses alone "
            f"{format_figure(figures.wanted)}, KL {format_figure(figures.kl)} (nats a token; "
            f"{figures.margin.count} pairs, {figures.kl.count} harmless texts)"
        )
    if found.lead is not None:
        print(f"The edit's margin minus steering's, pair by pair: {format_figure(found.lead)}.")
    print(RULE.format(bound=found.bound))
    print("A larger margin is not always a better answer: compare answers too.")


def describe_screened(each: Screened) -> dict[str, Any]:
    return {
        "trial": describe_trial(each.trial),
        "family": each.family,
        "level": each.level,
        "margin": describe_estimate(each.figures.margin),
        "wanted": describe_estimate(each.figures.wanted),
        "kl": describe_estimate(each.figures.kl),
    }


def describe_likelihood(found: LikelihoodFound, contrast: ContrastSet) -> dict[str, Any]:
    examples = split_fifths(contrast)
    return {
        "kl_bound": found.bound,
        "edit": describe_optional(describe_screened, found.edit),
        "steering": describe_optional(describe_screened, found.steering),
        "lead": describe_optional(describe_estimate, found.lead),
        "fit": min(len(examples.fit.positive), len(examples.fit.negative)),
        "chosen_by": min(len(examples.choose.positive), len(examples.choose.negative)),
        "reported_on": min(len(examples.report.positive), len(examples.report.negative)),
    }
