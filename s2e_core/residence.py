"""What a loaded model runs on and in how many bits, and what that means for texts, scores and exports, as sentences.

Knows loaded models; loads and changes nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from .errors import ModelLoadError
from .memory import dtype_name, gigabytes
from .placement import bytes_by_place
from .site_weight import site_weight
from .spec import ModelSpec
from .types import LoadedModel

if TYPE_CHECKING:
    from transformers import PreTrainedModel

MOST_LOSS = 0.7
"""Of a weight's norm: 4 bits lose a tenth, a third where few numbers are far larger than the rest; another weight
differs by 1.4."""


def residence(loaded: LoadedModel) -> str:
    """Dtype and device or devices, in a few words."""
    places = dict.fromkeys([str(loaded.device), *bytes_by_place(loaded.model)])
    bits = loaded.placement.quantize or loaded.stored_quantized
    where = " and ".join("the disk" if place == "disk" else place for place in places)
    return f"{dtype_name(loaded.dtype)} on {where}{f', quantised ({bits})' if bits else ''}"


def memory_held(loaded: LoadedModel) -> str:
    """The weights' size, by place where there are several."""
    places = bytes_by_place(loaded.model)
    if len(places) == 1:
        return f"{gigabytes(sum(places.values()))} of weights"
    return ", ".join(f"{gigabytes(n)} on {'the disk' if place == 'disk' else place}" for place, n in places.items())


def residence_warnings(loaded: LoadedModel) -> tuple[str, ...]:
    """What a person should know about where and how a model runs."""
    return tuple(filter(None, (_spread(loaded), _quantized(loaded), _stored_quantized(loaded))))


def _spread(loaded: LoadedModel) -> str | None:
    places = bytes_by_place(loaded.model)
    if "disk" in places:
        return (
            f"{gigabytes(places['disk'])} of {gigabytes(sum(places.values()))} of weights stay on the disk and are "
            "read again for every token: expect answers to be slow. More memory, a smaller dtype or fewer bits help."
        )
    if len(places) > 1:
        return f"The weights are spread: {memory_held(loaded)}."
    return None


def _quantized(loaded: LoadedModel) -> str | None:
    if loaded.precise is None:
        return None
    return (
        f"The model runs in fewer bits than its files have ({loaded.placement.quantize}): the texts here are a little "
        "different from those of the full model. Scores, recipes and exports use the files' own weights."
    )


def _stored_quantized(loaded: LoadedModel) -> str | None:
    if not loaded.stored_quantized:
        return None
    return (
        f"The model's files are quantised ({loaded.stored_quantized}): an edit can be tried here and taken home as a "
        "recipe or an adapter, not as a checkpoint. For a checkpoint, load the full-precision model, with "
        "--quantize int8 or int4 where memory is short."
    )


@torch.no_grad()
def check_quantized(running: PreTrainedModel, spec: ModelSpec, precise: PreTrainedModel, full: ModelSpec) -> None:
    """Raise ModelLoadError unless every site's weight in fewer bits is close to the one in the files.

    `spec` and `full` are the sites as the two models have them; one pair of weights at a time.
    """
    for site, own in zip(spec.sites, full.sites, strict=True):
        exact = site_weight(precise, own)
        change, size = float((site_weight(running, site).to(exact.device) - exact).norm()), float(exact.norm())
        if not change <= MOST_LOSS * size:
            raise ModelLoadError(
                f"Quantising changed the weight of {site.name} by {change / max(size, 1e-30):.0%}, which is more than "
                "fewer bits explain. Load the model without --quantize."
            )
