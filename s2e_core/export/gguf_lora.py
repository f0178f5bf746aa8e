"""Export the edit as a LoRA adapter for llama.cpp and what is built on it: one GGUF file, for a base in any format.

llama.cpp adds scale * B A to a weight as it runs, so the edit is exact on a quantised base too, and its strength is a
dial. Which model types, and under which names, was read from llama.cpp's own conversion: it leaves the output
projections of attention and MLP as they are, while it permutes and splits others. Knows nothing of the base's file.
"""

from __future__ import annotations

from pathlib import Path

from torch import Tensor

from s2e_core.errors import ExportError
from s2e_core.files import encode_gguf
from s2e_core.model import LoadedModel
from s2e_core.progress import Progress
from s2e_core.spec import ModelSpec
from s2e_core.values import WeightEdit

from .adapter import check_edit
from .adapter_folder import with_companions, write_adapter_folder
from .factors import rank_of, site_factors
from .how_to_load import GGUF_FILE

_SAME_NAME = (
    "apertus arcee bloom cohere2 ernie4_5 exaone4 falcon gemma gemma2 glm4 gpt2 granite granitemoe lfm2 llama mpt olmo "
    "olmo2 olmoe phi3 phimoe qwen2 qwen3 seed_oss smollm3 starcoder2"
)
ARCHITECTURES = {name: name for name in _SAME_NAME.split()} | {
    "cohere": "command-r",
    "deepseek_v2": "deepseek2",
    "deepseek_v3": "deepseek2",
    "ernie4_5_moe": "ernie4_5-moe",
    "gemma3_text": "gemma3",
    "glm4_moe": "glm4moe",
    "gpt_bigcode": "starcoder",
    "gpt_neox": "gptneox",
    "gpt_oss": "gpt-oss",
    "granitemoeshared": "granitemoe",
    "iquestcoder": "llama",
    "lfm2_moe": "lfm2moe",
    "llama4_text": "llama4",
    "mistral": "llama",
    "mixtral": "llama",
    "olmo3": "olmo2",
    "phi": "phi2",
    "qwen2_moe": "qwen2moe",
    "qwen3_5_moe_text": "qwen35moe",
    "qwen3_5_text": "qwen35",
    "qwen3_moe": "qwen3moe",
    "qwen3_next": "qwen3next",
}
"""Name of the architecture in llama.cpp, by the model type of transformers."""


def export_gguf_lora(
    loaded: LoadedModel, edit: WeightEdit, folder: str | Path, *, progress: Progress | None = None
) -> Path:
    """Write the edit as a GGUF LoRA with its model card and recipe; `folder` must be new or empty.

    Raises ExportError if the edit is empty or belongs to another model, if llama.cpp is not known to keep the edited
    projections of this model type as they are, or if the folder cannot be written; then nothing is left behind.
    """
    return write_adapter_folder(loaded, edit, "gguf-lora", _own_files(loaded, edit), folder, progress)


def gguf_lora_files(loaded: LoadedModel, edit: WeightEdit) -> dict[str, bytes]:
    """Every file of the folder, by name; see `with_companions`."""
    return with_companions(loaded, edit, "gguf-lora", _own_files(loaded, edit))


def _own_files(loaded: LoadedModel, edit: WeightEdit) -> dict[str, bytes]:
    check_edit(loaded, edit)
    _check_llama_cpp(edit)
    return {GGUF_FILE: encode_gguf(gguf_lora_header(loaded, edit), gguf_lora_factors(edit))}


def gguf_lora_header(loaded: LoadedModel, edit: WeightEdit) -> dict[str, str | int | float]:
    """What the file says of itself, by llama.cpp's keys."""
    return {
        "general.type": "adapter",
        "general.architecture": ARCHITECTURES[edit.spec.model_type],
        "general.name": f"{edit.provenance.contrast_name}, an edit of {loaded.model_id}",
        "adapter.type": "lora",
        "adapter.lora.alpha": float(rank_of(edit)),  # llama.cpp multiplies by alpha / r
    }


def gguf_lora_factors(edit: WeightEdit) -> dict[str, Tensor]:
    """llama.cpp's tensors for every edited projection: `.lora_a` (r, n_inputs) and `.lora_b` (d, r).

    For fused experts (experts, r, n) and (experts, d, r).
    """
    tensors: dict[str, Tensor] = {}
    for i in edit.edited_sites():
        factors, experts = site_factors(edit, i), edit.spec.sites[i].experts
        a, b = factors.right, factors.left
        if experts:
            a, b = factors.by_expert(experts), b.expand(experts, *b.shape)
        name = tensor_name(edit.spec, i)
        tensors |= {f"{name}.lora_a": a.contiguous(), f"{name}.lora_b": b.contiguous()}
    return tensors


def tensor_name(spec: ModelSpec, site: int) -> str:
    """llama.cpp's name of the weight of a site, by its index in `spec.sites`."""
    here = spec.sites[site]
    if here.kind == "heads":
        part = "attn_output"
    elif here.experts:
        part = "ffn_down_exps"
    elif any(other.layer == here.layer and other.experts for other in spec.sites):
        part = "ffn_down_shexp"  # a plain MLP beside experts is the one that all tokens share
    else:
        part = "ffn_down"
    return f"blk.{here.layer}.{part}.weight"


def _check_llama_cpp(edit: WeightEdit) -> None:
    """Raise ExportError if the edit cannot be carried to llama.cpp."""
    spec = edit.spec
    if spec.model_type not in ARCHITECTURES:
        raise ExportError(
            f"No GGUF LoRA can be written for the model type {spec.model_type}: it is not known that llama.cpp keeps "
            "its output projections as they are. Export the checkpoint or the PEFT adapter instead."
        )
    for site in (spec.sites[i] for i in edit.edited_sites()):
        if site.also_at:
            raise ExportError(
                f"llama.cpp cannot adapt {site.name}, because later layers use the same weight; export the checkpoint "
                "instead."
            )
    names = [tensor_name(spec, i) for i in edit.edited_sites()]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise ExportError(
            f"llama.cpp has one tensor ({twice[0]}) where this model has several projections; export the checkpoint "
            "instead."
        )
