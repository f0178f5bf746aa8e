"""A base model with a LoRA adapter on top, as weights to compare: W + scale * B A, one projection at a time.

Knows the files of a PEFT adapter; nothing is merged into the base, and PEFT is not needed.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from s2e_core.errors import InteropError
from s2e_core.export import CONFIG_FILE, PREFIX, WEIGHTS_FILE, published_prefix
from s2e_core.model import LoadedModel

from .on_base import OnBase

_A = ".lora_A.weight"
"""End of the names of the factors A."""
REFUSED = {"use_dora": "DoRA", "rank_pattern": "rank_pattern", "alpha_pattern": "alpha_pattern"}
"""Settings under which the change is not scale * B A with one scale."""
MOST = 1_000_000
"""Ranks and lora_alpha beyond it are mistakes."""


@dataclass(frozen=True, eq=False)
class WithAdapter(OnBase):
    """The weights of a base model as an adapter would change them."""

    factors: dict[int, tuple[Tensor, Tensor]]
    """B (d, r), with the scale, and A (r, n_inputs), by the index of the site."""
    elsewhere: tuple[str, ...] = field(default=())
    """Modules that the adapter changes and that write nothing to the residual stream, such as q_proj."""

    def blocks(self, site: int) -> Iterator[Tensor]:
        """Blocks (d, n) of the weight, fp32; see `WeightSource.blocks`."""
        for block in self.base.blocks(site):
            if site not in self.factors:
                yield block
                continue
            b, a = (factor.to(block) for factor in self.factors[site])
            yield block + b @ a


def open_adapter(base: LoadedModel, source: str | Path) -> WithAdapter:
    """Read a LoRA adapter for `base`: a folder, or its safetensors file alone, whose lora_alpha is then its rank.

    A configuration beside that file is read, too. Raises InteropError if it is no adapter, or is for another model.
    """
    path = Path(source)
    folder, file = (path, path / WEIGHTS_FILE) if path.is_dir() else (path.parent, path)
    tensors = _read_tensors(file, folder.name if path.is_dir() else file.name)
    alone = not path.is_dir() and not (folder / CONFIG_FILE).is_file()
    config = _usual_config(tensors) if alone else _read_config(folder)
    return _with_factors(base, config, tensors)


def is_adapter(names: Iterable[str]) -> bool:
    """Whether a file with tensors of these names contains the factors of a LoRA adapter."""
    return any(name.endswith(_A) for name in names)


def _with_factors(base: LoadedModel, config: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> WithAdapter:
    for name, label in REFUSED.items():
        if config.get(name):
            raise InteropError(
                f"This adapter uses {label}, which cannot be compared. Merge it and give the checkpoint."
            )
    rank, alpha = config.get("r"), config.get("lora_alpha")
    if not isinstance(rank, int) or not 1 <= rank <= MOST or not isinstance(alpha, int | float) or abs(alpha) > MOST:
        raise InteropError(
            f"{CONFIG_FILE} names no rank and no lora_alpha that can be right. Give the folder of a LoRA adapter."
        )
    scale = alpha / (rank**0.5 if config.get("use_rslora") else rank)
    sites = {place: i for i, site in enumerate(base.spec.sites) for place in site.places if not site.experts}
    factors: dict[int, tuple[Tensor, Tensor]] = {}
    elsewhere: list[str] = []
    for key in sorted(name for name in tensors if name.endswith(_A)):
        module = key.removeprefix(PREFIX).removesuffix(_A)
        other = f"{key.removesuffix(_A)}.lora_B.weight"
        if module not in sites:
            elsewhere.append(module)
        elif other in tensors:
            a, b = tensors[key].float(), tensors[other].float() * scale
            factors[sites[module]] = _checked(base, sites[module], b, a)
    modules = {name for name, _ in base.model.named_modules()}
    prefix = published_prefix(base) if any(name not in modules for name in elsewhere) else None
    if prefix is not None:  # the same factors once more, under the names of the published class
        elsewhere = [name for name in elsewhere if not name.startswith(prefix[1])]
    if strangers := [name for name in elsewhere if name not in modules]:
        raise InteropError(
            f"The adapter changes {strangers[0]}, which this model does not have. Open its own base model."
        )
    if not factors and not elsewhere:
        raise InteropError(f"{WEIGHTS_FILE} has no LoRA factors. Give the folder of a LoRA adapter.")
    return WithAdapter(base, factors, tuple(elsewhere))


def _checked(base: LoadedModel, index: int, b: Tensor, a: Tensor) -> tuple[Tensor, Tensor]:
    site = base.spec.sites[index]
    if b.dim() != 2 or a.dim() != 2 or (len(b), a.shape[1]) != (base.spec.d_model, site.n_inputs):
        raise InteropError(
            f"The adapter changes {site.name} by {len(b)} x {a.shape[-1]} numbers, where this model has "
            f"{base.spec.d_model} x {site.n_inputs}. Open the adapter's own base model."
        )
    if not bool(b.isfinite().all() and a.isfinite().all()):
        raise InteropError(f"The adapter's change of {site.name} contains values that are not finite. Save it again.")
    return b, a


def _usual_config(tensors: Mapping[str, Tensor]) -> dict[str, Any]:
    """The configuration of an adapter that came without one: lora_alpha is the rank, so that the scale is 1."""
    ranks = [len(tensor) for name, tensor in tensors.items() if name.endswith(_A)]
    return {"r": ranks[0], "lora_alpha": ranks[0]} if ranks else {}


def _read_tensors(file: Path, name: str) -> dict[str, Tensor]:
    try:
        return load_file(file)
    except (OSError, ValueError, SafetensorError) as error:
        raise InteropError(_unreadable(name)) from error


def _read_config(folder: Path) -> dict[str, Any]:
    try:
        config = json.loads((folder / CONFIG_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise InteropError(_unreadable(folder.name)) from error
    if not isinstance(config, dict):
        raise InteropError(f"{CONFIG_FILE} of {folder.name} is not a JSON object. Give the folder of a LoRA adapter.")
    return config


def _unreadable(name: str) -> str:
    return f"{name} is not a readable LoRA adapter. It should contain {CONFIG_FILE} and {WEIGHTS_FILE}."
