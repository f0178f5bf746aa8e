"""Check that a quantised model was made from the full-precision files that are scored and exported for it.

Compares the sizes, the weights of all sites, and the embedding, which quantising leaves as it is. Knows two loaded
models; loads nothing.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from s2e_core.errors import ModelLoadError
from s2e_core.model import embedding, is_quantized, read_parameter, site_weight
from s2e_core.spec import ModelSpec

from .files import ModelFiles

if TYPE_CHECKING:
    from transformers import PreTrainedModel

MAX_LOSS = 0.7
"""Largest relative difference |Wq - W| / |W| still attributed to quantisation.

4 bits lose a tenth, or a third if a few numbers are far larger than the rest; an unrelated weight differs by 1.4.
"""
ROUNDING = 2.0**-7
"""Relative difference of one number that two casts to bf16 may cause."""
MAX_OTHER_ROWS = 0.01
"""Largest share of embedding rows that may differ: rows of tokens that were added, or that are unused."""
ROWS_AT_ONCE = 4096


def check_originals(files: ModelFiles, originals: ModelFiles) -> None:
    """Raise ModelLoadError unless `files` are quantised and `originals` are not."""
    if files.method is None:
        raise ModelLoadError(
            f"The files of {files.model_id} are not quantised: they are scored and exported themselves. Leave out "
            "--originals."
        )
    if originals.method is not None:
        raise ModelLoadError(
            f"{originals.model_id} is quantised too ({originals.method}). Give --originals the full-precision model "
            f"that {files.model_id} was made from."
        )


def merge_specs(running: ModelSpec, full: ModelSpec) -> ModelSpec | None:
    """Return `full` with what was measured on the running model; None if the two differ in type or sites."""
    if running.model_type != full.model_type or not running.same_sites(full):
        return None
    pairs = zip(running.sites, full.sites, strict=True)
    return replace(full, sites=tuple(replace(site, post_norm=measured.post_norm) for measured, site in pairs))


@torch.no_grad()
def describe_difference(
    running: PreTrainedModel, spec: ModelSpec, full_precision: PreTrainedModel, full_spec: ModelSpec
) -> str | None:
    """Say as a clause how `running` differs by more than quantisation; None if it does not.

    `spec` and `full_spec` are the sites of the two models. One pair of weights is read at a time.
    """
    for site, full_site in zip(spec.sites, full_spec.sites, strict=True):
        exact = site_weight(full_precision, full_site)
        change, size = float((site_weight(running, site).to(exact.device) - exact).norm()), float(exact.norm())
        if not change <= MAX_LOSS * size:
            return f"the weight of {site.name} differs by {change / max(size, 1e-30):.0%}, more than fewer bits explain"
    share = _share_of_other_rows(*(_plain_embedding(model) for model in (running, full_precision)))
    if share <= MAX_OTHER_ROWS:
        return None
    return f"{share:.0%} of the embedding's rows differ, which quantising leaves alone"


def _plain_embedding(model: PreTrainedModel) -> Tensor | None:
    """Return the embedding, (vocabulary, d); None if it is quantised or the model does not name it."""
    module = embedding(model)
    return None if module is None or is_quantized(module.get_parameter("weight")) else read_parameter(module, "weight")


def _share_of_other_rows(running: Tensor | None, exact: Tensor | None) -> float:
    """Return the share of rows that differ by more than rounding, including rows that one of the two lacks."""
    if running is None or exact is None:
        return 0.0
    if running.shape[1:] != exact.shape[1:]:
        return 1.0
    pairs = zip(running.split(ROWS_AT_ONCE), exact.split(ROWS_AT_ONCE), strict=False)
    same = sum(_count_same_rows(a.cpu().float(), b.cpu().float()) for a, b in pairs)
    return 1 - same / max(len(running), len(exact))


def _count_same_rows(a: Tensor, b: Tensor) -> int:
    rows = min(len(a), len(b))
    return int(torch.isclose(a[:rows], b[:rows], rtol=ROUNDING, atol=1e-7).all(dim=1).sum())
