"""The paper's formulas as slow, plain loops: the reference results for the core.

They take one unpadded example and one head or neuron at a time, in float64. They share no code with the core and use
only the modules at the sites of the loaded model.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from s2e_core import Example
from s2e_core.model import LoadedModel
from s2e_core.spec import Site
from tests.plain_weights import expert_activations, matrices


@dataclass(frozen=True, eq=False)
class ReferenceSite:
    """What the paper computes for one projection, in float64."""

    positive: Tensor
    """Mean input over the positive examples: (n_inputs,)."""
    negative: Tensor
    """Mean input over the negative examples: (n_inputs,)."""
    v: Tensor
    """Direction: (d,)."""
    g: list[float]
    """Alignment of every component."""
    keys: list[Tensor]
    """Key of every component: (width,) each."""
    weights: list[Tensor]
    """Block of the weight of every component: (d, width) each."""


def reference(loaded: LoadedModel, positive: Sequence[Example], negative: Sequence[Example]) -> list[ReferenceSite]:
    """Means, direction, alignment and keys (README, steps 1 to 3) for every site of a model."""
    plus = [_example_means(loaded, example) for example in positive]
    minus = [_example_means(loaded, example) for example in negative]
    return [
        _site(loaded, site, [p[site.name] for p in plus], [m[site.name] for m in minus]) for site in loaded.spec.sites
    ]


def elastic_net(g: float, rho: float, alpha: float) -> float:
    """The strength by its definition: the best of zero and of the maxima of the two smooth branches."""

    def gain(strength: float) -> float:
        return g * strength - rho * (alpha * abs(strength) + (1 - alpha) / 2 * strength**2)

    right = max(0.0, (g - rho * alpha) / (rho * (1 - alpha)))  # stationary point for lambda > 0
    left = min(0.0, (g + rho * alpha) / (rho * (1 - alpha)))  # and for lambda < 0
    return max((0.0, right, left), key=gain)


def cosine(a: Tensor, b: Tensor) -> float:
    product = sum(x * y for x, y in zip(a.tolist(), b.tolist(), strict=True))
    lengths = length(a) * length(b)
    return product / lengths if lengths else 0.0


def length(a: Tensor) -> float:
    return math.sqrt(sum(x**2 for x in a.tolist()))


def unit(a: Tensor) -> Tensor:
    return a / length(a) if length(a) else a


def token_ids(loaded: LoadedModel, example: Example) -> tuple[list[int], int]:
    """Token ids of prompt and response, and the number of those of the prompt."""
    tokenizer = loaded.tokenizer
    if tokenizer.chat_template:
        messages = [{"role": "user", "content": example.prompt}]
        text = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
        prompt = tokenizer(text, add_special_tokens=False)["input_ids"]
        return prompt + tokenizer(example.response, add_special_tokens=False)["input_ids"], len(prompt)
    prompt = tokenizer(example.prompt)["input_ids"]
    whole = tokenizer(example.prompt + example.response)["input_ids"]
    assert whole[: len(prompt)] == prompt, "the reference needs responses that start a new token"
    return whole, len(prompt)


def _example_means(loaded: LoadedModel, example: Example) -> dict[str, tuple[Tensor, Tensor]]:
    """By site name, mean input and mean output over the positions that predict the response."""
    ids, start = token_ids(loaded, example)
    activations: dict[str, list[tuple[Tensor, Tensor]]] = {}
    handles = []
    for site in loaded.spec.sites:
        if site.experts:
            continue

        def record(module: object, inputs: tuple[Tensor, ...], output: Tensor, name: str = site.name) -> None:
            activations.setdefault(name, []).append((inputs[0].clone(), output.clone()))

        handles += [loaded.model.get_submodule(place).register_forward_hook(record) for place in site.places]
    with torch.no_grad():
        loaded.model(input_ids=torch.tensor([ids]))
    for handle in handles:
        handle.remove()
    means = {}
    for name, runs in activations.items():
        spans = [(_span_mean(x, start, len(ids)), _span_mean(y, start, len(ids))) for x, y in runs]
        means[name] = (sum(x for x, _ in spans) / len(runs), sum(y for _, y in spans) / len(runs))
    fused = [site for site in loaded.spec.sites if site.experts]
    if fused:
        rows = expert_activations(loaded.model, fused, torch.tensor([ids]), range(start - 1, len(ids) - 1))
        means |= {name: (x.double().mean(dim=0), y.double().mean(dim=0)) for name, (x, y) in rows.items()}
    return means


def _span_mean(activations: Tensor, start: int, end: int) -> Tensor:
    """Mean over the positions start-1 .. end-2 of one example's activations: (1, T, n) or (T, n)."""
    rows = activations.reshape(-1, activations.shape[-1]).double()
    return sum(rows[position] for position in range(start - 1, end - 1)) / (end - start)


def _site(
    loaded: LoadedModel, site: Site, positive: list[tuple[Tensor, Tensor]], negative: list[tuple[Tensor, Tensor]]
) -> ReferenceSite:
    pre_positive, post_positive = (sum(means) / len(positive) for means in zip(*positive, strict=True))
    pre_negative, post_negative = (sum(means) / len(negative) for means in zip(*negative, strict=True))
    v = post_positive - post_negative
    mean_input = (pre_positive + pre_negative) / 2
    weight = torch.cat([matrix.double() for matrix in matrices(loaded.model, site)], dim=1)
    g, keys, weights = [], [], []
    for i in range(site.n_components):
        block = weight[:, i * site.width : (i + 1) * site.width]
        weights.append(block)
        keys.append(unit(block.T @ v))
        g.append(cosine(v, block @ mean_input[i * site.width : (i + 1) * site.width]))
    return ReferenceSite(pre_positive, pre_negative, v, g, keys, weights)
