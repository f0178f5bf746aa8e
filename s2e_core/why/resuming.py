"""Run only the upper layers of a model: what an intervention in one layer cannot change is computed once.

Knows the list of decoder layers and how a layer is called; no intervention and no figure. Whether a model can be
resumed is tried out, not guessed: where the result differs, every pass runs all layers.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from s2e_core.model import LoadedModel

_LAYERS = re.compile(r"^(.*?)\.\d+\.")
"""Path of the list of layers in the path of a projection inside it."""


class Reached(Exception):
    """Ends a forward pass at the layer whose input is wanted."""


def decoder_layers(loaded: LoadedModel) -> tuple[nn.Module, ...]:
    """All decoder layers in the order in which they run, each once; none if the model is not such a stack."""
    sites = loaded.spec.sites
    lists = {match[1] for site in sites for place in site.places if (match := _LAYERS.match(place))}
    if len(lists) != 1 or any(site.runs > 1 for site in sites):
        return ()
    layers = loaded.model.get_submodule(lists.pop())
    found = tuple(layers.children()) if isinstance(layers, nn.ModuleList) else ()
    return found if len(found) == loaded.spec.n_layers else ()


def resumable_layers(loaded: LoadedModel, ids: Tensor, mask: Tensor) -> tuple[nn.Module, ...]:
    """The layers of `decoder_layers` if a pass that is resumed half way gives the same logits, else none.

    `ids` and `mask` are (B, T). The caller holds `loaded.lock`.
    """
    layers = decoder_layers(loaded)
    middle = len(layers) // 2
    if not middle:
        return ()
    inputs = {"input_ids": ids, "attention_mask": mask, "use_cache": False}
    try:
        whole = loaded.model(**inputs).logits
        hidden = hidden_at(loaded, layers, middle, inputs)
        with resume_at(layers, middle, hidden):
            resumed = loaded.model(**inputs).logits
    except (
        TypeError,
        ValueError,
        IndexError,
        KeyError,
        AttributeError,
        RuntimeError,
    ):  # other ideas of what a layer is
        return ()
    real = mask.bool()
    return layers if torch.allclose(whole[real].float(), resumed[real].float(), rtol=1e-3, atol=1e-3) else ()


def hidden_at(loaded: LoadedModel, layers: Sequence[nn.Module], index: int, inputs: dict[str, Any]) -> Tensor:
    """Input (B, T, d) of one layer, without running those from it on."""
    kept: list[Tensor] = []

    def keep(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        kept.append(args[0] if args else kwargs["hidden_states"])
        raise Reached

    handle = layers[index].register_forward_pre_hook(keep, with_kwargs=True)
    try:
        loaded.model(**inputs)
    except Reached:
        pass
    finally:
        handle.remove()
    return kept[0]


@contextmanager
def resume_at(layers: Sequence[nn.Module], index: int, hidden: Tensor | None) -> Iterator[None]:
    """While the context lasts, the layers below `index` are skipped, and layer `index` reads `hidden` (B, T, d)."""
    skipped = layers[:index] if hidden is not None else []
    previous = [layer.__dict__.get("forward") for layer in skipped]

    def forward(*args: Any, **kwargs: Any) -> Tensor | None:
        return hidden

    try:
        for layer in skipped:
            layer.forward = forward
        yield
    finally:
        for layer, own in zip(skipped, previous, strict=True):
            if own is None:
                layer.__dict__.pop("forward", None)
            else:
                layer.forward = own
