"""Directions as the authors' code saves them: steering directions and mean inputs of every projection.

Knows that one file layout (`pre` and `post`, each with `pos_mean`, `neg_mean` and `direction` per module). Scores and
edits follow from it with the loaded model's weights, and no example is needed.
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

from .checks import check_same_weights, cosine, directions_of, entries, numbers, provenance, shown, site_of
from .torch_file import load_torch_file

_MODULE = re.compile(r"model\.layers(?:\[(\d{1,5})\]|\.(\d{1,5}))\.(self_attn\.o_proj|mlp\.down_proj)")


@dataclass(frozen=True, eq=False)
class ImportedDirections:
    """What a directions file gives: `component_scores(loaded, imported.inputs, imported.directions)`."""

    directions: SteeringDirections
    inputs: MeanInputs


def load_directions(path: str | Path, loaded: LoadedModel) -> ImportedDirections:
    """Read a directions `.pt` of the authors' code: v is `post.direction`, xbar the mean of both `pre` means.

    The file has to name every projection of the loaded model that can be edited, and its directions have to follow from
    the loaded weights, v = W (pos_mean - neg_mean). Raises InteropError otherwise, and for damaged or unsafe files.
    """
    path = Path(path)
    data = entries(load_torch_file(path), path.name)
    pre, post = (entries(data.get(part), f'{path.name}: the part "{part}"') for part in ("pre", "post"))
    widths = [site.n_inputs for site in loaded.spec.sites]
    positive, negative = (_per_site(pre, f"pre.{side}_mean", widths, path, loaded) for side in ("pos", "neg"))
    vectors = _per_site(post, "post.direction", [loaded.spec.d_model] * len(widths), path, loaded)
    cosines = []
    for site, (v, one, other) in enumerate(zip(vectors, positive, negative, strict=True)):
        weight = loaded.weight(site)
        cosines.append(cosine(v, (weight @ (one - other).to(weight.device)).cpu()))
    check_same_weights(cosines, "its directions", path, loaded)
    origin = provenance(loaded, path)
    mean = tuple((one + other) / 2 for one, other in zip(positive, negative, strict=True))
    return ImportedDirections(directions_of(loaded.spec, vectors, origin), MeanInputs(loaded.spec, mean, None, origin))


def _per_site(
    part: Mapping[object, object], name: str, widths: list[int], path: Path, loaded: LoadedModel
) -> list[Tensor]:
    """The tensors of one section, such as "pre.pos_mean", per site, each (width,)."""
    where = f"{path.name}: {name}"
    found: dict[int, Tensor] = {}
    for key, value in entries(part.get(name.split(".")[1]), where).items():
        match = _MODULE.fullmatch(key) if isinstance(key, str) else None
        if match is None:
            raise InteropError(
                f'{where} has the entry "{shown(key)}". Expected names such as model.layers[0].self_attn.o_proj.'
            )
        kind: Kind = "heads" if match[3] == "self_attn.o_proj" else "neurons"
        site = site_of(loaded.spec, int(match[1] or match[2]), kind, where)
        found[site] = numbers(value, (widths[site],), f"{where} of {key}", loaded)
    missing = [i for i in range(len(widths)) if i not in found]
    if missing:
        raise InteropError(
            f"{where} lacks {len(missing)} of the {len(widths)} projections of {loaded.model_id}, the first being "
            f"{loaded.spec.sites[missing[0]].name}. Load the model it was made for, or compute all of them."
        )
    return [found[i] for i in range(len(widths))]
