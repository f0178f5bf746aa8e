"""Whether a model that runs in fewer bits is the one in the full-precision files that are scored and exported for it.

Told by sizes, by the weights of all sites, and by the embedding, which quantising leaves as it is. Knows two loaded
models; loads nothing.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from s2e_core.errors import ModelLoadError
from s2e_core.model import embedding, is_quantized, site_weight, whole_weight
from s2e_core.spec import ModelSpec

from .files import ModelFiles

if TYPE_CHECKING:
    from transformers import PreTrainedModel

MOST_LOSS = 0.7
"""Of a weight's norm: 4 bits lose a tenth, a third where few numbers are far larger than the rest; another weight
differs by 1.4."""
ROUNDING = 2.0**-7
"""Of a number: two casts to bf16."""
OTHER_ROWS = 0.01
"""Share of the embedding's rows that may differ: those of tokens that were added, or that nobody uses."""
ROWS_AT_ONCE = 4096


def check_originals(files: ModelFiles, originals: ModelFiles) -> None:
    """Raise ModelLoadError unless the first are quantised files and the others full-precision ones."""
    if files.method is None:
        raise ModelLoadError(
            f"The files of {files.model_id} are not quantised: they are scored and exported themselves. Leave "
            "--originals out."
        )
    if originals.method is not None:
        raise ModelLoadError(
            f"{originals.model_id} is quantised, too ({originals.method}). Give --originals the full-precision model "
            f"that {files.model_id} was made from."
        )


def same_sites(running: ModelSpec, full: ModelSpec) -> ModelSpec | None:
    """The sites as the full-precision files have them, with what the running model showed of them; None for others."""
    if running.model_type != full.model_type or not running.same_sites(full):
        return None
    pairs = zip(running.sites, full.sites, strict=True)
    return replace(full, sites=tuple(replace(own, post_norm=seen.post_norm) for seen, own in pairs))


@torch.no_grad()
def difference(running: PreTrainedModel, spec: ModelSpec, precise: PreTrainedModel, full: ModelSpec) -> str | None:
    """What of the running model is not the other's in fewer bits, as a clause; None where all is.

    `spec` and `full` are the sites as the two models have them; one pair of weights at a time.
    """
    for site, own in zip(spec.sites, full.sites, strict=True):
        exact = site_weight(precise, own)
        change, size = float((site_weight(running, site).to(exact.device) - exact).norm()), float(exact.norm())
        if not change <= MOST_LOSS * size:
            return f"the weight of {site.name} differs by {change / max(size, 1e-30):.0%}, more than fewer bits explain"
    other = _other_rows(*(_plain_embedding(model) for model in (running, precise)))
    return None if other <= OTHER_ROWS else f"{other:.0%} of the embedding's rows differ, which quantising leaves alone"


def _plain_embedding(model: PreTrainedModel) -> Tensor | None:
    """(vocabulary, d) as plain numbers; None where it is quantised, or the model does not say which module it is."""
    module = embedding(model)
    return None if module is None or is_quantized(module.get_parameter("weight")) else whole_weight(module, "weight")


def _other_rows(held: Tensor | None, exact: Tensor | None) -> float:
    """Share of the rows that differ by more than rounding, rows that one of the two lacks included."""
    if held is None or exact is None:
        return 0.0
    if held.shape[1:] != exact.shape[1:]:
        return 1.0
    pairs = zip(held.split(ROWS_AT_ONCE), exact.split(ROWS_AT_ONCE), strict=False)
    same = sum(_same_rows(a.cpu().float(), b.cpu().float()) for a, b in pairs)
    return 1 - same / max(len(held), len(exact))


def _same_rows(a: Tensor, b: Tensor) -> int:
    rows = min(len(a), len(b))
    return int(torch.isclose(a[:rows], b[:rows], rtol=ROUNDING, atol=1e-7).all(dim=1).sum())
