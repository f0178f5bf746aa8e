"""llama.cpp itself, from its wheel: a base as an F32 GGUF file, and greedy answers of a base with a LoRA adapter.

llama.cpp ends its whole process where a file does not suit it, so it runs in one of its own.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from gguf import MODEL_ARCH_NAMES, GGUFWriter, get_tensor_name_map
from transformers import AutoModelForCausalLM, PreTrainedModel

from s2e_core.model import LoadedModel

PERMUTED = ("llama",)
"""Architectures whose rotary halves llama.cpp interleaves: rows of q and k change places."""
SERVER = Path(__file__).with_name("llama_cpp_server.py")
_ARCHITECTURES = {name: architecture for architecture, name in MODEL_ARCH_NAMES.items()}


def write_base(path: Path, loaded: LoadedModel, architecture: str) -> Path:
    """Write a model without biases as an F32 GGUF file; texts cannot be encoded with it, token ids can be answered."""
    model = AutoModelForCausalLM.from_pretrained(loaded.source, dtype=torch.float32)
    writer = GGUFWriter(path, architecture)
    _write_sizes(writer, model)
    _write_tokens(writer, loaded, model.config.vocab_size)
    names = get_tensor_name_map(_ARCHITECTURES[architecture], model.config.num_hidden_layers)
    for name, tensor in _tensors(model, architecture).items():
        found = names.get_name(name, try_suffixes=(".weight", ".bias"))
        assert found is not None, name
        found += "" if found.endswith((".weight", ".bias")) else ".weight"
        writer.add_tensor(found, np.ascontiguousarray(tensor.numpy()))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def greedy(
    base: Path, lora: Path, prompts: Sequence[Sequence[int]], *, length: int, scales: Sequence[float] = (1.0,)
) -> list[list[list[int]]]:
    """The answers of `length` tokens at most, as ids: one list of answers for each strength of the adapter."""
    job = {"base": str(base), "lora": str(lora), "prompts": list(map(list, prompts)), "length": length}
    job["scales"] = list(scales)
    run = subprocess.run([sys.executable, SERVER], input=json.dumps(job), capture_output=True, text=True, timeout=300)
    assert run.returncode == 0, run.stderr[-2000:]
    answers: list[list[list[int]]] = json.loads(run.stdout.splitlines()[-1])
    return answers


def _tensors(model: PreTrainedModel, architecture: str) -> dict[str, torch.Tensor]:
    config, tensors = model.config, {}
    for name, parameter in model.named_parameters():
        values = parameter.detach()
        if name.endswith("mlp.experts.gate_up_proj"):
            gate, up = values.chunk(2, dim=1)
            stem = name.removesuffix("gate_up_proj")
            tensors |= {f"{stem}gate_proj.weight": gate, f"{stem}up_proj.weight": up}
            continue
        if architecture in PERMUTED and name.endswith(("q_proj.weight", "k_proj.weight")):
            heads = config.num_attention_heads if "q_proj" in name else config.num_key_value_heads
            values = values.view(heads, 2, -1, values.shape[1]).transpose(1, 2).reshape(values.shape)
        tensors[name] = values
    return tensors


def _write_sizes(writer: GGUFWriter, model: PreTrainedModel) -> None:
    config = model.config
    writer.add_block_count(config.num_hidden_layers)
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    head_dim = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    writer.add_key_length(head_dim)
    writer.add_value_length(head_dim)
    writer.add_rope_dimension_count(head_dim)
    writer.add_rope_freq_base(config.rope_parameters["rope_theta"])
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_vocab_size(config.vocab_size)
    if experts := getattr(config, "num_experts", None):
        writer.add_expert_count(experts)
        writer.add_expert_used_count(config.num_experts_per_tok)
        writer.add_expert_feed_forward_length(config.moe_intermediate_size)


def _write_tokens(writer: GGUFWriter, loaded: LoadedModel, count: int) -> None:
    by_id = {i: token for token, i in loaded.tokenizer.get_vocab().items()}
    special = set(loaded.tokenizer.all_special_ids)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("default")
    writer.add_token_list([by_id.get(i, f"[unused{i}]") for i in range(count)])
    writer.add_token_types([3 if i in special else 1 for i in range(count)])
    writer.add_token_merges(["t h"])
    writer.add_bos_token_id(loaded.tokenizer.bos_token_id)
    writer.add_eos_token_id(loaded.tokenizer.eos_token_id)
    writer.add_add_bos_token(False)
