"""Tiny, seeded, real models of every causal-LM family in transformers, and a byte-level tokenizer to go with them.

A generic recipe shrinks whatever size attributes a family's configuration has; a few families need a line of their own.
"""

from __future__ import annotations

import inspect
from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import (
    CONFIG_MAPPING,
    MODEL_FOR_CAUSAL_LM_MAPPING,
    PreTrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    PreTrainedTokenizerFast,
)

SIMPLE = tuple(
    """
    apertus arcee bart bert bert-generation big_bird bigbird_pegasus biogpt bitnet blenderbot blenderbot-small bloom
    camembert codegen cohere cohere2 cohere_compass_text cpmant ctrl cwm data2vec-text diffllama doge electra emu3 ernie
    ernie4_5 exaone4 falcon fuyu gemma gemma2 gemma3 gemma3_text gemma3n_text gemma4 gemma4_text gemma4_unified
    gemma4_unified_text git glm glm4 got_ocr2 gpt-sw3 gpt2 gpt_bigcode gpt_neo gpt_neox gpt_neox_japanese gptj granite
    granite_swa helium hunyuan_v1_dense hyperclovax internlm3 iquestcoder jais2 llama marian mbart megatron-bert minicpm3
    ministral ministral3 mistral modernbert-decoder moshi moss_transcribe_diarize mpt musicgen musicgen_melody mvp
    nanochat nemotron olmo olmo2 olmo3 openai-gpt opt pegasus persimmon phi phi3 phi4_multimodal plbart prophetnet qwen2
    qwen3 reformer rembert roberta roberta-prelayernorm roc_bert roformer seed_oss smollm3 stablelm starcoder2 trocr
    vaultgemma whisper xglm xlm-roberta xlm-roberta-xl xmod youtu
    """.split()
)
"""Model types in which every layer has attention heads and one plain MLP."""

EXPERTS = tuple(
    """
    afmoe aria_text axk1 axk2 beam cohere2_moe deepseek_v2 deepseek_v3 deepseek_v32 dots1 dots3_note dots3_note_text
    ernie4_5_moe exaone_moe flex_olmo flint glm4_moe glm4_moe_lite glm_moe_dsa gpt_oss granitemoe granitemoe_swa
    granitemoeshared hunyuan_v1_moe hy_v3 hy_v4 inkling2_text inkling_text kolibri1 laguna llama4 llama4_text
    longcat_flash mellum mimo_v2_flash minimax_m2 minimax_m3_vl_text mixtral olmoe phimoe qwen2_moe qwen3_moe solar_open
    zaya bailing_hybrid granitemoehybrid jamba kimi_linear lfm2_moe minimax nemotron_h qwen3_5_moe qwen3_5_moe_text
    qwen3_next qwen4_exp qwen4_exp_text dbrx deepseek_v4 jetmoe
    """.split()
)
"""Model types with fused experts, some of them hybrids as well."""

OTHERS = tuple(
    """
    bamba blt falcon_h1 falcon_mamba hrm_text lfm2 lfm3 mamba mamba2 mllama olmo_hybrid qwen3_5 qwen3_5_text
    recurrent_gemma rwkv xlm xlnet xlstm zamba zamba2
    """.split()
)
"""Model types with layers that lack attention heads or an MLP, or with several stacks."""

SMALL = {
    64: """hidden_size d_model n_embd dim embedding_size dim_model d_embed word_embed_proj_dim hidden_dim
        input_embedding_size output_embedding_size emb_dim""",
    96: """intermediate_size ffn_dim d_ff n_inner decoder_ffn_dim encoder_ffn_dim dim_ff dff ffn_hidden_size
        feed_forward_size""",
    32: "moe_intermediate_size shared_expert_intermediate_size global_head_dim kv_lora_rank q_lora_rank",
    3: "num_hidden_layers n_layer n_layers num_layers decoder_layers num_decoder_layers encoder_layers",
    4: """num_attention_heads n_head n_heads num_heads decoder_attention_heads encoder_attention_heads
        num_decoder_attention_heads num_encoder_attention_heads num_experts num_local_experts n_routed_experts""",
    2: "num_key_value_heads num_kv_heads num_experts_per_tok eos_token_id sep_token_id depth",
    128: "vocab_size max_position_embeddings n_positions n_ctx max_target_positions max_source_positions",
    0: "pad_token_id",
    1: "bos_token_id decoder_start_token_id num_codebooks",
    12: "v_head_dim",
    8: "qk_nope_head_dim qk_rope_head_dim rotary_dim",
}
DEFAULTS: dict[str, object] = {name: value for value, names in SMALL.items() for name in names.split()}
DEFAULTS["is_decoder"] = True
HEAD_DIM = 24
"""Where a family fixes the head size whatever the hidden size, so that heads * head_dim is not the hidden size."""

ROPE = {"rope_type": "default", "rope_theta": 10000.0}
OWN: dict[str, dict[str, object]] = {
    "cohere_compass_text": {"rope_parameters": {"full_attention": ROPE, "sliding_attention": ROPE}},
    "gpt_neo": {"attention_types": [[["global", "local"], 1], [["global"], 1]]},
    "gemma3n_text": {"num_hidden_layers": 3, "num_kv_shared_layers": 0, "vocab_size_per_layer_input": 128},
    "gemma4": {"vocab_size_per_layer_input": 128, "num_kv_shared_layers": 0},
    "gemma4_text": {"vocab_size_per_layer_input": 128, "num_kv_shared_layers": 0},
    "hunyuan_v1_dense": {"head_dim": HEAD_DIM},
    "helium": {"head_dim": 16},
    "ministral": {"head_dim": HEAD_DIM},
    "minicpm3": {"num_key_value_heads": 4},
    "youtu": {"num_key_value_heads": 4},
    "reformer": {"axial_pos_embds_dim": (32, 32), "axial_pos_shape": (8, 16)},
    "roc_bert": {"enable_pronunciation": False, "enable_shape": False, "concat_input": False},
    "xmod": {"languages": ("en_XX",), "default_language": "en_XX"},
    "xglm": {"attention_heads": 4},
    "cpmant": {"dim_head": HEAD_DIM, "segment_types": 4, "prompt_types": 4, "prompt_length": 4},
}


def tiny_config(model_type: str, **overrides: object) -> PreTrainedConfig:
    """Hidden size 64, 3 layers, 4 heads, vocabulary 128, whatever the family calls them."""
    return _shrunk(CONFIG_MAPPING[model_type], OWN.get(model_type, {}) | overrides)


def _shrunk(config_class: type[PreTrainedConfig], overrides: dict[str, object]) -> PreTrainedConfig:
    known = inspect.signature(config_class.__init__).parameters
    options = {name: value for name, value in DEFAULTS.items() if name in known}
    if isinstance(getattr(known.get("head_dim"), "default", None), int):
        options["head_dim"] = HEAD_DIM
    parts = [name for name in config_class.sub_configs if name in known]
    usual = config_class() if parts else None
    for name in parts:
        part = getattr(usual, name)
        if part is not None:
            options[name] = _shrunk(type(part), {k: v for k, v in overrides.items() if name == "text_config"})
    return config_class(**options | {k: v for k, v in overrides.items() if k in known})


def tiny_model(model_type: str, seed: int = 0, **overrides: object) -> PreTrainedModel:
    """A model with random weights in which every component matters: biases are not 0, norms not 1; in eval mode."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        config = tiny_config(model_type, **overrides)
        model = MODEL_FOR_CAUSAL_LM_MAPPING[type(config)](getattr(config, "decoder", config)).eval()
        with torch.no_grad():
            for parameter in model.parameters():
                if parameter.dim() > 1:
                    parameter.normal_(std=0.15)
                else:
                    parameter.add_(torch.randn_like(parameter), alpha=0.2)
    return model
