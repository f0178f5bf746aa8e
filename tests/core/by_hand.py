"""Reference answers from a plain loop: one row, no cache, the whole text through the model for every token."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from s2e_core import Variant
from s2e_core.generation import preview_logits
from s2e_core.generation.ends import ends_of
from s2e_core.model import LoadedModel


def answer_by_hand(
    loaded: LoadedModel,
    variant: Variant,
    prompt: Sequence[int],
    length: int,
    *,
    seed: int = 0,
    temperature: float = 0.0,
) -> list[int]:
    """Token ids up to the end of text: the argmax of logits / temperature plus Gumbel noise from the random seed."""
    generator = torch.Generator().manual_seed(seed)
    ids = list(prompt)
    for _ in range(length):
        logits = preview_logits(loaded, variant, torch.tensor([ids]))[0, -1]
        if temperature:
            logits = logits / temperature - torch.empty(len(logits)).exponential_(generator=generator).log()
        token = int(logits.argmax())
        if token in ends_of(loaded).tokens:
            break
        ids.append(token)
    return ids[len(prompt) :]


def inputs_by_hand(loaded: LoadedModel, ids: Sequence[int]) -> list[torch.Tensor]:
    """Inputs of every plain site for one unpadded text, all activations kept. Per site: (positions, n_inputs)."""
    kept: dict[str, torch.Tensor] = {}
    handles = [
        loaded.model.get_submodule(site.name).register_forward_hook(
            lambda module, x, y, name=site.name: kept.update({name: x[0].clone()})
        )
        for site in loaded.spec.sites
    ]
    with torch.no_grad():
        loaded.model(input_ids=torch.tensor([list(ids)]))
    for handle in handles:
        handle.remove()
    return [kept[site.name].reshape(len(ids), -1) for site in loaded.spec.sites]
