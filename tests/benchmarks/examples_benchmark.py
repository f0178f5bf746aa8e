"""How many examples a contrast set needs; run by hand:

    .venv/bin/python tests/benchmarks/examples_benchmark.py [--model bundled] [--behavior safety tone] [--effect 3]

Every draw splits a behaviour's examples into two random halves. Directions and scores from n examples a side of the one
half are compared with those of the whole other half, which shares no example with them; the last row, a half against a
half, is therefore the ceiling. `--weak D` also asks `reliability` D times about n examples a side, about as many with
their labels shuffled, and with 30 % of them on the wrong side. `--effect D` measures edits made from n examples.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from statistics import mean

import torch
from torch import Tensor

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from s2e_core import (
    Behavior,
    Edited,
    Example,
    build_edit,
    evaluate,
    extract,
    list_behaviors,
    load_behavior,
    load_model,
)
from s2e_core.data import choose_behaviors_folder, contrast_set
from s2e_core.measure import Plan
from s2e_core.method import reliability
from s2e_core.method.capture import tokenize_examples, weighted_sums
from s2e_core.method.scores import score_site
from s2e_core.model import LoadedModel
from s2e_core.spec import KINDS, Kind

COUNTS = (4, 8, 16, 32, 64)
DRAWS = 20
SHARES: dict[Kind, float] = {"heads": 0.1, "neurons": 0.01}
"""The strongest components, as many as an edit might select."""
WRONG = 0.3
PROMPTS = 60
"""Attribute and utility prompts each, to measure the effect of an edit."""
NEUTRAL = 4
"""Texts for figures that are not shown here."""

Pair = tuple[Tensor, Tensor]


@dataclass(frozen=True, eq=False)
class Likeness:
    """How like the estimate of a few examples is that of others, and what it is worth on those others."""

    cosine: float
    """Of the directions, the mean over the sites."""
    overlap: dict[Kind, float]
    """Share of the strongest components that are the same."""
    accuracy: Tensor
    """(sites,) balanced: share of the other half's examples on the right side of the midpoint."""


def means_of_examples(loaded: LoadedModel, behavior: Behavior) -> list[Pair]:
    """Per site the mean inputs of every positive and every negative example, (examples, n_inputs) each."""
    sides = [
        tokenize_examples(loaded, side, behavior.name)
        for side in (behavior.contrast.positive, behavior.contrast.negative)
    ]
    n = len(sides[0])
    every, _ = weighted_sums(loaded, [*sides[0], *sides[1]], torch.eye(n + len(sides[1])))
    return [(x[:n] / s.runs, x[n:] / s.runs) for x, s in zip(every, loaded.spec.sites, strict=True)]


def likeness(loaded: LoadedModel, few: Sequence[Pair], others: Sequence[Pair]) -> Likeness:
    """Per site and side (examples, n_inputs): of the few that an estimate comes from, and of others."""
    cosines, accuracies = [], []
    g: dict[Kind, list[Pair]] = {kind: [] for kind in KINDS}
    for index, (site, one, other) in enumerate(zip(loaded.spec.sites, few, others, strict=True)):
        weight = loaded.weight(index)
        estimates = [estimate(weight, half, site.width) for half in (one, other)]
        cosines.append(float(estimates[0][0] @ estimates[1][0]))
        g[site.kind].append((estimates[0][1], estimates[1][1]))
        accuracies.append(accuracy(weight, one, other))
    overlap = {kind: shared(values, SHARES[kind]) for kind, values in g.items() if values}
    return Likeness(mean(cosines), overlap, torch.tensor(accuracies))


def estimate(weight: Tensor, sides: Pair, width: int) -> Pair:
    """The unit direction (d,) and the scores (n_components,)."""
    positive, negative = (side.mean(dim=0).float() for side in sides)
    unit = torch.nn.functional.normalize(weight @ (positive - negative), dim=0)
    return unit, score_site(weight, (positive + negative) / 2, unit, width)[0]


def accuracy(weight: Tensor, few: Pair, others: Pair) -> float:
    centres = [side.mean(dim=0).float() for side in few]
    reader = weight.T @ (weight @ (centres[0] - centres[1]))
    middle = reader @ (centres[0] + centres[1]) / 2
    right = [(others[0].float() @ reader > middle).float().mean(), (others[1].float() @ reader < middle).float().mean()]
    return float(sum(right)) / 2


def shared(g: Sequence[Pair], share: float) -> float:
    """Share of the strongest components by |g| that both estimates have, over all sites of a kind."""
    one, other = (torch.cat([values[k] for values in g]).abs() for k in (0, 1))
    k = max(1, round(share * len(one)))
    return len(set(one.topk(k).indices.tolist()) & set(other.topk(k).indices.tolist())) / k


def halves(n: tuple[int, int], dice: Random) -> tuple[list[list[int]], list[list[int]]]:
    """Two random disjoint halves of the places of both sides."""
    orders = [dice.sample(range(size), size) for size in n]
    return [order[: len(order) // 2] for order in orders], [order[len(order) // 2 :] for order in orders]


def stability_rows(loaded: LoadedModel, behavior: Behavior, draws: int) -> Iterator[str]:
    every = means_of_examples(loaded, behavior)
    n = (len(every[0][0]), len(every[0][1]))
    most = min(n) // 2
    for count in (*(count for count in COUNTS if count < most), most):
        found = []
        for draw in range(draws):
            one, other = halves(n, Random(draw))
            few = [(p[one[0][:count]], q[one[1][:count]]) for p, q in every]
            found.append(likeness(loaded, few, [(p[other[0]], q[other[1]]) for p, q in every]))
        overlaps = "".join(
            f"{mean(f.overlap[kind] for f in found):>9.0%}" if kind in found[0].overlap else f"{'-':>9}"
            for kind in KINDS
        )
        middle = mean(float(f.accuracy.median()) for f in found)
        best = mean(float(f.accuracy.quantile(0.75)) for f in found)
        cosine = mean(f.cosine for f in found)
        yield f"{behavior.name:<14}{count:>5}{cosine:>9.2f}{overlaps}{middle:>9.0%}{best:>9.0%}"


def drawn(behavior: Behavior, count: int, dice: Random) -> tuple[list[Example], list[Example]]:
    return dice.sample(behavior.contrast.positive, count), dice.sample(behavior.contrast.negative, count)


def spoilt(sides: tuple[list[Example], list[Example]], how: str, dice: Random) -> tuple[list[Example], list[Example]]:
    """The examples as they are, with some on the wrong side, or dealt out at random."""
    positive, negative = sides
    if how == "wrong":
        k = round(WRONG * len(positive))
        return negative[:k] + positive[k:], positive[:k] + negative[k:]
    if how == "shuffled":
        both = dice.sample([*positive, *negative], len(positive) + len(negative))
        return both[: len(positive)], both[len(positive) :]
    return sides


def weak_rows(loaded: LoadedModel, behavior: Behavior, draws: int) -> Iterator[str]:
    """How often `reliability` says that the data is weak."""
    for count in (c for c in COUNTS if c <= min(len(behavior.contrast.positive), len(behavior.contrast.negative))):
        said = {how: 0 for how in ("good", "wrong", "shuffled")}
        for how in said:
            for draw in range(draws):
                dice = Random(f"{how} {draw}")
                made = contrast_set(*spoilt(drawn(behavior, count, dice), how, dice), name=how)
                said[how] += reliability(loaded, made).is_weak
        yield f"{behavior.name:<14}{count:>5}" + "".join(f"{n:>8} of {draws}" for n in said.values())


def effect_rows(loaded: LoadedModel, behavior: Behavior, draws: int) -> Iterator[str]:
    """Attribute and utility of the suggested edit, made from n examples; the untouched model first."""
    untouched, *_ = measured(loaded, behavior, [])
    yield f"{behavior.name:<14}{0:>5}{untouched[0]:>11.2f}{untouched[1]:>9.2f}"
    most = min(len(behavior.contrast.positive), len(behavior.contrast.negative))
    for count in (*(count for count in COUNTS if count < most), most):
        made = [drawn(behavior, count, Random(draw)) for draw in range(draws if count < most else 1)]
        found = measured(loaded, behavior, made)[1:]
        attributes = [attribute for attribute, _ in found]
        yield (
            f"{behavior.name:<14}{count:>5}{mean(attributes):>11.2f}{mean(u for _, u in found):>9.2f}"
            f"{min(attributes):>9.2f} to {max(attributes):.2f}"
        )


def measured(
    loaded: LoadedModel, behavior: Behavior, sets: Sequence[tuple[list[Example], list[Example]]]
) -> list[tuple[float, float]]:
    """(attribute, utility) of the untouched model and of the edit from each set, on the test prompts."""
    variants = []
    for positive, negative in sets:
        extraction = extract(loaded, contrast_set(positive, negative, name=behavior.name))
        variants.append(Edited(build_edit(extraction, behavior.settings)))
    found = evaluate(
        loaded, Plan(behavior, "test", PROMPTS, PROMPTS), variants,
        labels=[f"set {number}" for number in range(len(variants))], n_neutral=NEUTRAL,
    )  # fmt: skip
    return [(one.result.attribute.value, one.result.utility.value) for one in found]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="bundled")
    parser.add_argument("--behavior", nargs="+", help="by default those that fit the model")
    parser.add_argument("--draws", type=int, default=DRAWS)
    parser.add_argument("--weak", type=int, default=0, metavar="D", help="draws for the rates of weak data")
    parser.add_argument("--effect", type=int, default=0, metavar="D", help="draws for the effect of the edit")
    options = parser.parse_args()
    loaded = load_model(options.model)
    behaviors = [
        load_behavior(name) for name in options.behavior or list_behaviors(choose_behaviors_folder(loaded.source))
    ]
    print(f"{loaded.model_id}; {options.draws} draws, each against a half without common examples")
    print("behaviour      a side   cosine    heads  neurons   median  quarter")
    for behavior in behaviors:
        print("\n".join(stability_rows(loaded, behavior, options.draws)), flush=True)
    for draws, rows, head in (
        (options.weak, weak_rows, "said to be weak: as they are, 30 % on the wrong side, labels shuffled"),
        (options.effect, effect_rows, "behaviour      a side  attribute  utility  (held-out prompts; 0: untouched)"),
    ):
        if draws:
            print(f"\n{head}")
            for behavior in behaviors:
                print("\n".join(rows(loaded, behavior, draws)), flush=True)


if __name__ == "__main__":
    main()
