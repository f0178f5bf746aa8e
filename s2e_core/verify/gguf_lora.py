"""Compare a written GGUF LoRA with the edit, tensor by tensor, as llama.cpp would read it. Runs nothing."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from s2e_core.errors import ExportError
from s2e_core.export import GGUF_FILE, gguf_lora_factors, gguf_lora_header, site_factors, tensor_name
from s2e_core.files import GGUFError, read_gguf
from s2e_core.model import LoadedModel
from s2e_core.values import WeightEdit

from .findings import factor_findings
from .result import Verification


def gguf_lora_findings(loaded: LoadedModel, edit: WeightEdit, folder: Path) -> Verification:
    """Compare the factors in the file with those of the edit; alpha / r B A is the change that llama.cpp adds.

    Raises ExportError if the file cannot be read, or says of itself what llama.cpp would not take for this edit.
    """
    path = folder / GGUF_FILE
    try:
        header, written = read_gguf(path.read_bytes())
    except OSError as error:
        raise ExportError(f"{path.name} cannot be read ({error.strerror}); export it again.") from error
    except GGUFError as error:
        raise ExportError(f"{path.name} cannot be read: {error}; export it again.") from error
    for key, value in gguf_lora_header(loaded, edit).items():
        if header.get(key) != value and key != "general.name":
            raise ExportError(
                f"{path.name} says {key} = {header.get(key)}, and {value} was expected; export it again with the model "
                "that the edit was made for."
            )
    return factor_findings("gguf-lora", edit, gguf_lora_factors(edit), written, _change, runs_in="llama.cpp")


def _change(edit: WeightEdit, site: int, written: dict[str, Tensor]) -> Tensor:
    """left . (llama.cpp's change of a site's weight): (r, n_inputs) in fp64; 0 if a factor is missing or misshapen."""
    left, right = (factor.double() for factor in (site_factors(edit, site).left, site_factors(edit, site).right))
    name, experts = tensor_name(edit.spec, site), max(edit.spec.sites[site].experts, 1)
    a, b = (written.get(f"{name}.{side}") for side in ("lora_a", "lora_b"))
    if a is None or b is None or a.numel() != right.numel() or b.numel() != left.numel() * experts:
        return torch.zeros_like(right)
    a3, b3 = a.double().reshape(experts, len(right), -1), b.double().reshape(experts, *left.shape)
    return torch.einsum("dk,edr,ern->ken", left, b3, a3).flatten(1)
