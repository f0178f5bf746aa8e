"""Say what a loaded model runs on, in how many bits, and what that means for texts, scores and exports.

Knows loaded models; loads and changes nothing.
"""

from __future__ import annotations

from s2e_core.model import LoadedModel, bytes_by_device
from s2e_core.text import dtype_name, readable_size


def residence(loaded: LoadedModel) -> str:
    """Describe dtype and devices in a few words."""
    places = dict.fromkeys([str(loaded.device), *bytes_by_device(loaded.model)])
    bits = loaded.placement.quantize or loaded.source_quantization
    devices = " and ".join("the disk" if place == "disk" else place for place in places)
    return f"{dtype_name(loaded.dtype)} on {devices}{f', quantised ({bits})' if bits else ''}"


def describe_weights_size(loaded: LoadedModel) -> str:
    """Describe the size of the weights, per device if there are several."""
    places = bytes_by_device(loaded.model)
    if len(places) == 1:
        return f"{readable_size(sum(places.values()))} of weights"
    return ", ".join(f"{readable_size(n)} on {'the disk' if place == 'disk' else place}" for place, n in places.items())


def residence_warnings(loaded: LoadedModel) -> tuple[str, ...]:
    """Return sentences about where and how a model runs that a person should know."""
    return tuple(filter(None, (_describe_gguf(loaded), _warn_of_spread(loaded), _warn_of_quantization(loaded))))


def _describe_gguf(loaded: LoadedModel) -> str | None:
    return None if loaded.gguf is None else loaded.gguf.sentence()


def _warn_of_spread(loaded: LoadedModel) -> str | None:
    places = bytes_by_device(loaded.model)
    if "disk" in places:
        return (
            f"{readable_size(places['disk'])} of {readable_size(sum(places.values()))} of weights stay on the disk and "
            "are read again for every token, so answers are slow. More memory, a smaller dtype or fewer bits help."
        )
    if len(places) > 1:
        return f"The weights are spread: {describe_weights_size(loaded)}."
    return None


def _warn_of_quantization(loaded: LoadedModel) -> str | None:
    bits = loaded.placement.quantize or loaded.source_quantization
    if loaded.full_precision is not None:
        return (
            f"The model runs in fewer bits ({bits}) than its full-precision files: texts here differ a little from "
            f"those of the full model. Scores, recipes and exports use the weights in {loaded.model_id}."
        )
    if loaded.source_quantization:
        return (
            f"The model's files are quantised ({bits}): an edit can be tried here and taken home as a recipe or an "
            "adapter. For a checkpoint, name the full-precision model that they were made from (a folder or a Hub id) "
            "with --originals: this model then runs, and that one is scored and exported."
        )
    return None
