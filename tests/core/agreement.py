"""The core's numbers for one model held against the plain loops: means, directions, scores, and an edit.

Knows the chain from examples to an edit and the oracle; nothing of any family.
"""

from __future__ import annotations

import torch
from torch import Tensor

from s2e_core import (
    ContrastSet,
    EditSettings,
    Extraction,
    build_edit,
    extract,
)
from s2e_core.model import LoadedModel
from tests.reference import elastic_net, reference, unit


def chain_of(loaded: LoadedModel, contrast: ContrastSet) -> Extraction:
    return extract(loaded, contrast)


def assert_plain_loops_agree(
    loaded: LoadedModel, contrast: ContrastSet, extraction: Extraction, settings: EditSettings
) -> None:
    means, directions, scores = extraction.means, extraction.directions, extraction.scores
    edit = build_edit(extraction, settings)
    for i, expected in enumerate(reference(loaded, contrast.positive, contrast.negative)):
        close(means.positive[i], expected.positive)
        close(means.negative[i], expected.negative)
        close(directions.unit[i] * directions.norm[i], expected.v)
        close(scores.g[i], expected.g)
        close(scores.keys[i], torch.stack(expected.keys))
        rho = settings.rho(loaded.spec.sites[i].kind)
        strengths = [elastic_net(g, rho, settings.alpha) for g in expected.g]
        close(edit.strength[i], strengths)
        blocks = [s * torch.outer(unit(expected.v), k) for s, k in zip(strengths, expected.keys, strict=True)]
        close(torch.outer(edit.left[i], edit.right[i]), torch.cat(blocks, dim=1))


def close(actual: Tensor, expected: Tensor | list[float]) -> None:
    wanted = torch.as_tensor(expected).double()
    assert (actual.double() - wanted).abs().max() <= 1e-5 * wanted.abs().max().clamp_min(1)
