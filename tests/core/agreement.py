"""Compare the core's means, directions, scores and an edit of one model with those of the plain loops.

Knows nothing of model families.
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
        assert_close(means.positive[i], expected.positive)
        assert_close(means.negative[i], expected.negative)
        assert_close(directions.unit[i] * directions.norm[i], expected.v)
        assert_close(scores.g[i], expected.g)
        assert_close(scores.keys[i], torch.stack(expected.keys))
        rho = settings.rho(loaded.spec.sites[i].kind)
        strengths = [elastic_net(g, rho, settings.alpha) for g in expected.g]
        gain = 1.0 if rho is None else max(1.0, 1 / (rho * (1 - settings.alpha)))  # multiplies the rounding of g
        assert_close(edit.strength[i], strengths, gain)
        blocks = [s * torch.outer(unit(expected.v), k) for s, k in zip(strengths, expected.keys, strict=True)]
        assert_close(torch.outer(edit.left[i], edit.right[i]), torch.cat(blocks, dim=1), gain)


def assert_close(actual: Tensor, expected: Tensor | list[float], gain: float = 1.0) -> None:
    target = torch.as_tensor(expected).double()
    assert (actual.double() - target).abs().max() <= gain * 1e-5 * target.abs().max().clamp_min(1)
