"""Compare a written MLX adapter with the edit, tensor by tensor, as mlx-lm would read it. Runs nothing."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from s2e_core.errors import ExportError
from s2e_core.export import CONFIG_FILE, MLX_FILE, mlx_config, mlx_factors, site_factors
from s2e_core.values import WeightEdit

from .findings import factor_findings
from .result import Verification


def mlx_findings(edit: WeightEdit, folder: Path) -> Verification:
    """Compare the factors in the file with those of the edit.

    Raises ExportError if a file cannot be read, or if the configuration is not that of this edit.
    """
    try:
        written = load_file(folder / MLX_FILE)
        config = json.loads((folder / CONFIG_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError, SafetensorError) as error:
        raise ExportError(f"The MLX adapter in {folder.name} cannot be read ({error}); export it again.") from error
    if config != mlx_config(edit):
        raise ExportError(f"{CONFIG_FILE} in {folder.name} does not describe this edit for MLX; export it again.")
    return factor_findings("mlx", edit, mlx_factors(edit), written, _change, runs_in="MLX")


def _change(edit: WeightEdit, site: int, written: dict[str, Tensor]) -> Tensor:
    """left . (the change of a site's weight that MLX adds): (r, n_inputs) in fp64; 0 if a factor is unfit."""
    left, right = (factor.double() for factor in (site_factors(edit, site).left, site_factors(edit, site).right))
    a, b = (written.get(f"{edit.spec.sites[site].name}.{side}") for side in ("lora_a", "lora_b"))
    if a is None or b is None or a.shape != right.T.shape or b.shape != left.T.shape:
        return torch.zeros_like(right)
    return left.T @ b.double().T @ a.double().T
