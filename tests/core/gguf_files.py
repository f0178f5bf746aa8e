"""GGUF files of tiny models, written with the format's own package as llama.cpp's conversion writes them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from gguf import GGMLQuantizationType, GGUFWriter, quantize
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel

Q4_1, Q8_0 = GGMLQuantizationType.Q4_1, GGMLQuantizationType.Q8_0
F16, BF16, F32 = GGMLQuantizationType.F16, GGMLQuantizationType.BF16, GGMLQuantizationType.F32
NAMES = {
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
    "input_layernorm": "attn_norm",
    "post_attention_layernorm": "ffn_norm",
}


def write_gguf(
    path: Path, folder: Path, kind: GGMLQuantizationType = Q8_0, *, architecture: str = "llama", parts: int = 0
) -> Path:
    """Write the tiny llama in `folder` as a GGUF file with its matrices as `kind`; returns the path."""
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    writer = GGUFWriter(path, architecture)
    _write_sizes(writer, model)
    _write_tokenizer(writer, folder)
    if parts:
        writer.add_uint16("split.count", parts)
    for name, tensor in _tensors(model).items():
        _add(writer, name, tensor, kind if tensor.ndim > 1 else F32)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def _add(writer: GGUFWriter, name: str, tensor: np.ndarray, kind: GGMLQuantizationType) -> None:
    if kind in (F16, F32):
        writer.add_tensor(name, tensor.astype(np.float16 if kind is F16 else np.float32))
    elif kind is GGMLQuantizationType.I32:
        writer.add_tensor(name, tensor.astype(np.int32))
    else:
        writer.add_tensor(name, quantize(tensor, kind), raw_dtype=kind)


def _tensors(model: PreTrainedModel) -> dict[str, np.ndarray]:
    config = model.config
    tensors = {}
    for name, parameter in model.named_parameters():
        values = parameter.detach().numpy()
        if name.startswith("model.layers."):
            layer, _, rest = name.removeprefix("model.layers.").partition(".")
            gguf_name = f"blk.{layer}.{NAMES[rest.removesuffix('.weight')]}.weight"
            if "q_proj" in rest or "k_proj" in rest:
                heads = config.num_attention_heads if "q_proj" in rest else config.num_key_value_heads
                values = values.reshape(heads, 2, -1, values.shape[1]).swapaxes(1, 2).reshape(values.shape)
        else:
            gguf_name = {
                "model.embed_tokens.weight": "token_embd.weight",
                "model.norm.weight": "output_norm.weight",
                "lm_head.weight": "output.weight",
            }[name]
        tensors[gguf_name] = np.ascontiguousarray(values)
    return tensors


def _write_sizes(writer: GGUFWriter, model: PreTrainedModel) -> None:
    config = model.config
    writer.add_name("tiny")
    writer.add_block_count(config.num_hidden_layers)
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_key_length(config.head_dim)
    writer.add_rope_freq_base(config.rope_parameters["rope_theta"])
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_vocab_size(config.vocab_size)


def _write_tokenizer(writer: GGUFWriter, folder: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokens = sorted(tokenizer.get_vocab(), key=tokenizer.get_vocab().__getitem__)
    writer.add_tokenizer_model("gpt2")
    tokens.append("th")  # transformers needs a merge
    writer.add_token_list(tokens)
    writer.add_token_types([3 if token in tokenizer.all_special_tokens else 1 for token in tokens])
    writer.add_token_merges(["t h"])
    writer.add_bos_token_id(tokenizer.bos_token_id)
    writer.add_eos_token_id(tokenizer.eos_token_id)
    writer.add_pad_token_id(tokenizer.pad_token_id)
    writer.add_add_bos_token(True)
    writer.add_chat_template(tokenizer.chat_template)
