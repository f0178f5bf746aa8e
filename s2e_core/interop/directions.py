"""Reader for the authors' directions files: steering directions and mean inputs of every projection.

Knows only this file layout (`pre` and `post`, each with `pos_mean`, `neg_mean` and `direction` per module). Scores and
edits follow from it and the loaded model's weights, without any examples.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from s2e_core.errors import InteropError
from s2e_core.model import LoadedModel
from s2e_core.spec import Kind
from s2e_core.values import MeanInputs, SteeringDirections

from .checks import (
    build_directions,
    check_dictionary,
    check_numbers,
    check_same_weights,
    cosine,
    file_provenance,
    find_site,
    printable,
)
from .torch_file import load_torch_file

_MODULE = re.compile(r"model\.layers(?:\[(\d{1,5})\]|\.(\d{1,5}))\.(self_attn\.o_proj|mlp\.down_proj)")


@dataclass(frozen=True, eq=False)
class ImportedDirections:
    """The content of a directions file, for `component_scores(loaded, imported.inputs, imported.directions)`."""

    directions: SteeringDirections
    inputs: MeanInputs


def load_directions(path: str | Path, loaded: LoadedModel) -> ImportedDirections:
    """Read a directions `.pt` file of the authors' code: v is `post.direction`, xbar the mean of the two `pre` means.

    The file must name every projection of the loaded model that can be edited, and its directions must follow from the
    loaded weights: v = W (pos_mean - neg_mean). Raises InteropError otherwise, or if the file is damaged or unsafe.
    """
    path = Path(path)
    data = check_dictionary(load_torch_file(path), path.name)
    pre, post = (check_dictionary(data.get(part), f'{path.name}: the part "{part}"') for part in ("pre", "post"))
    widths = [site.n_inputs for site in loaded.spec.sites]
    positive, negative = (_per_site(pre, f"pre.{side}_mean", widths, path, loaded) for side in ("pos", "neg"))
    vectors = _per_site(post, "post.direction", [loaded.spec.d_model] * len(widths), path, loaded)
    cosines = []
    for site, (v, one, other) in enumerate(zip(vectors, positive, negative, strict=True)):
        weight = loaded.weight(site)
        cosines.append(cosine(v, (weight @ (one - other).to(weight.device)).cpu()))
    check_same_weights(cosines, "its directions", path, loaded)
    provenance = file_provenance(loaded, path)
    mean = tuple((one + other) / 2 for one, other in zip(positive, negative, strict=True))
    directions = build_directions(loaded.spec, vectors, provenance)
    return ImportedDirections(directions, MeanInputs(loaded.spec, mean, None, provenance))


def _per_site(
    part: Mapping[object, object], section: str, widths: list[int], path: Path, loaded: LoadedModel
) -> list[Tensor]:
    """The tensors of one section, such as "pre.pos_mean", per site, each (width,)."""
    name = f"{path.name}: {section}"
    tensors: dict[int, Tensor] = {}
    for key, value in check_dictionary(part.get(section.split(".")[1]), name).items():
        match = _MODULE.fullmatch(key) if isinstance(key, str) else None
        if match is None:
            raise InteropError(
                f'{name} has the entry "{printable(key)}". Expected names such as model.layers[0].self_attn.o_proj.'
            )
        kind: Kind = "heads" if match[3] == "self_attn.o_proj" else "neurons"
        site = find_site(loaded.spec, int(match[1] or match[2]), kind, name)
        tensors[site] = check_numbers(value, (widths[site],), f"{name} of {key}", loaded)
    missing = [i for i in range(len(widths)) if i not in tensors]
    if missing:
        raise InteropError(
            f"{name} lacks {len(missing)} of the {len(widths)} projections of {loaded.model_id}, first "
            f"{loaded.spec.sites[missing[0]].name}. Load the model that the file was made for, or compute all of them."
        )
    return [tensors[i] for i in range(len(widths))]
