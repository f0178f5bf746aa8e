"""Times the core against plain implementations in the same run and prints ratios; run by hand:

    .venv/bin/python tests/benchmarks/core_benchmark.py [--model bundled] [--behavior safety]

Each arm runs once to warm up and then alternates with the other; the medians are compared.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from s2e_core import (
    ActivationMeans,
    ContrastSet,
    Edited,
    EditSettings,
    Original,
    Steered,
    build_edit,
    capture_means,
    compare,
    load_behavior,
    load_model,
    steering_directions,
)
from s2e_core.method import score_along, summarize
from s2e_core.model import LoadedModel, example_ids, prompt_ids
from s2e_core.spec import ModelSpec, Site
from s2e_core.values import Provenance


def alternate(name: str, ours: Callable[[], object], plain: Callable[[], object], runs: int) -> None:
    """Print the median times of both arms and their ratio, with the range of the pairwise ratios."""
    ours()
    plain()
    pairs = [(seconds(ours), seconds(plain)) for _ in range(runs)]
    ratios = sorted(b / a for a, b in pairs)
    ours_ms, plain_ms = (1000 * statistics.median(times) for times in zip(*pairs, strict=True))
    print(
        f"{name:<58} ours {ours_ms:9.1f} ms   plain {plain_ms:9.1f} ms   "
        f"{statistics.median(ratios):6.1f} x faster ({ratios[0]:.1f} to {ratios[-1]:.1f}, {runs} runs)"
    )


def seconds(run: Callable[[], object]) -> float:
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def plain_capture(loaded: LoadedModel, contrast: ContrastSet) -> list[list[torch.Tensor]]:
    """One example at a time through the whole model, inputs and outputs of every projection kept, then averaged."""
    kept: list[list[torch.Tensor]] = []
    for example in (*contrast.positive, *contrast.negative):
        ids, start = example_ids(loaded.tokenizer, example)
        seen: list[tuple[torch.Tensor, torch.Tensor]] = []
        modules = [loaded.model.get_submodule(site.name) for site in loaded.spec.sites]
        handles = [m.register_forward_hook(lambda m, x, y, seen=seen: seen.append((x[0], y))) for m in modules]
        with torch.inference_mode():
            loaded.model(input_ids=torch.tensor([ids]), use_cache=False)
        for handle in handles:
            handle.remove()
        kept.append([torch.cat([x[0, start - 1 : -1].mean(0), y[0, start - 1 : -1].mean(0)]) for x, y in seen])
    return [[torch.stack(column).mean(0) for column in zip(*kept, strict=True)]]


def plain_generations(loaded: LoadedModel, prompt: str, variants: list, length: int) -> None:
    for variant in variants:
        for _ in compare(loaded, prompt, [variant], max_new_tokens=length):
            pass


def edit_from_weights(loaded: LoadedModel, means: ActivationMeans, settings: EditSettings) -> None:
    extraction = score_along(loaded, means, steering_directions(loaded, means))
    summarize(extraction.scores, build_edit(extraction, settings))


class RandomWeights:
    """Weights of LLaMA-2-7B's shape, made on demand: one layer's pair of projections serves for all layers."""

    def __init__(self, layers: int = 32, heads: int = 32, width: int = 128, neurons: int = 11008) -> None:
        d_model = heads * width
        sites = []
        for layer in range(layers):
            sites.append(Site(layer, "heads", f"layers.{layer}.attention", heads, width))
            sites.append(Site(layer, "neurons", f"layers.{layer}.mlp", neurons, 1))
        self.spec = ModelSpec("llama", layers, d_model, tuple(sites))
        self.weights = [torch.randn(d_model, site.n_inputs) / 64 for site in sites[:2]]

    def weight(self, site: int) -> torch.Tensor:
        return self.weights[site % 2]

    def blocks(self, site: int) -> Iterator[torch.Tensor]:
        yield self.weight(site)

    def means(self) -> ActivationMeans:
        sides = [tuple(torch.randn(site.n_inputs) for site in self.spec.sites) for _ in range(2)]
        provenance = Provenance("random", None, "", "random", "")
        return ActivationMeans(self.spec, sides[0], sides[1], 1, 1, 1, provenance)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="bundled")
    parser.add_argument("--behavior", default="safety")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--length", type=int, default=48)
    parser.add_argument("--threads", type=int, default=1, help="the app uses one for a model as small as the bundled")
    options = parser.parse_args()
    torch.manual_seed(0)
    torch.set_num_threads(options.threads)
    loaded, behavior = load_model(options.model), load_behavior(options.behavior)
    means = capture_means(loaded, behavior.contrast)
    directions = steering_directions(loaded, means)
    extraction = score_along(loaded, means, directions)
    edit = build_edit(extraction, behavior.settings)
    print(f"{loaded.model_id}, {torch.get_num_threads()} threads, {means.n_positive + means.n_negative} examples")

    alternate(
        "extraction / one example at a time, activations kept",
        lambda: capture_means(loaded, behavior.contrast),
        lambda: plain_capture(loaded, behavior.contrast),
        options.runs,
    )
    settings = behavior.settings
    alternate(
        "re-threshold / recompute scores and edit from the weights",
        lambda: summarize(extraction.scores, build_edit(extraction, settings)),
        lambda: edit_from_weights(loaded, means, settings),
        options.runs,
    )
    large = RandomWeights()
    large_means = large.means()
    large_extraction = score_along(large, large_means, steering_directions(large, large_means))
    wide = EditSettings(rho_attn=0.02, rho_mlp=0.04, alpha=0.5)
    alternate(
        "re-threshold / recompute, LLaMA-2-7B's shape (random weights)",
        lambda: summarize(large_extraction.scores, build_edit(large_extraction, wide)),
        lambda: edit_from_weights(large, large_means, wide),
        2,
    )
    variants = [Original(), Edited(edit), Steered(directions, behavior.gamma)]
    prompt = behavior.examples[0]
    print(f"prompt of {len(prompt_ids(loaded.tokenizer, prompt))} tokens, up to {options.length} new ones")
    alternate(
        "compare, three variants / three generations one by one",
        lambda: list(compare(loaded, prompt, variants, max_new_tokens=options.length)),
        lambda: plain_generations(loaded, prompt, variants, options.length),
        options.runs,
    )


if __name__ == "__main__":
    main()
