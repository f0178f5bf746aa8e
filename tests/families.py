"""Tiny models with seeded weights of every causal-LM family in transformers, and a byte-level tokenizer for them.

A generic rule shrinks every size in a family's configuration; some families need their own entry in `OWN`.
"""

from __future__ import annotations

import copy
import inspect
from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors
from transformers import (
    CONFIG_MAPPING,
    MODEL_FOR_CAUSAL_LM_MAPPING,
    MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING,
    AutoModelForCausalLM,
    PreTrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerFast,
)

from s2e_core.loading.load import fingerprint
from s2e_core.model import LoadedModel, find_sites, verify_sites


def _words(names: str) -> tuple[str, ...]:
    return tuple(names.split())


SIMPLE = _words(
    """
    apertus arcee bart bert bert-generation big_bird bigbird_pegasus biogpt bitnet blenderbot blenderbot-small
    bloom camembert codegen cohere cohere2 cohere_compass_text cpmant ctrl cwm data2vec-text diffllama doge
    electra emu3 ernie ernie4_5 exaone4 falcon fuyu gemma gemma2 gemma3 gemma3_text gemma3n_text gemma4
    gemma4_text gemma4_unified gemma4_unified_text git glm glm4 got_ocr2 gpt-sw3 gpt2 gpt_bigcode gpt_neo
    gpt_neox gpt_neox_japanese gptj granite granite_swa helium hunyuan_v1_dense hyperclovax internlm3
    iquestcoder jais2 llama marian mbart megatron-bert minicpm3 ministral ministral3 mistral modernbert-decoder
    moshi moss_transcribe_diarize mpt mvp nanochat nemotron olmo olmo2 olmo3 openai-gpt
    opt pegasus persimmon phi phi3 phi4_multimodal plbart qwen2 qwen3 reformer rembert roberta
    roberta-prelayernorm roc_bert roformer seed_oss smollm3 stablelm starcoder2 trocr vaultgemma whisper xglm
    xlm-roberta xlm-roberta-xl xmod youtu
    """
)
"""Model types in which every layer has attention heads and one plain MLP."""

EXPERTS = _words(
    """
    afmoe aria_text axk1 axk2 beam cohere2_moe deepseek_v2 deepseek_v3 deepseek_v32 dots1 dots3_note dots3_note_text
    ernie4_5_moe exaone_moe flex_olmo flint glm4_moe glm4_moe_lite glm_moe_dsa gpt_oss granitemoe granitemoe_swa
    granitemoeshared hunyuan_v1_moe hy_v3 hy_v4 inkling2_text kolibri1 laguna mellum mimo_v2_flash minimax_m2
    minimax_m3_vl_text mixtral olmoe phimoe qwen2_moe qwen3_moe solar_open zaya bailing_hybrid granitemoehybrid jamba
    kimi_linear lfm2_moe minimax nemotron_h qwen3_5_moe qwen3_5_moe_text qwen3_next qwen4_exp qwen4_exp_text
    inkling_text llama4 llama4_text longcat_flash dbrx jetmoe
    """
)
"""Model types with fused experts, some of them hybrids as well."""

HYBRIDS = _words("bamba falcon_h1 lfm2 lfm3 mllama olmo_hybrid qwen3_5 qwen3_5_text recurrent_gemma zamba zamba2")
"""Model types in which some layers mix tokens without attention heads."""

SPECIAL = _words("hrm_text xlm")
"""Model types with heads and plain MLPs whose layers are not in one list."""

OTHERS = _words("blt deepseek_v4 falcon_mamba mamba mamba2 musicgen musicgen_melody prophetnet rwkv xlnet xlstm")
"""Model types without heads or a plain MLP, with look-ahead, or with tokens that are bytes or sound."""

WITH_IMAGES = _words("dots3_note emu3 llama4 mllama qwen3_5 qwen3_5_moe qwen4_exp")
"""Model types that transformers loads as text models from the folder of a model of text and images."""

NOT_BUILT = {
    "gemma3n": "it needs the packages timm and torchvision; with them, every check passes",
    "gemma4_assistant": "a draft model, which transformers 5.23 cannot build",
    "gemma4_unified_assistant": "a draft model, which transformers 5.23 cannot build",
}

SMALL = {
    64: """hidden_size d_model n_embd dim embedding_size dim_model d_embed word_embed_proj_dim hidden_dim
        input_embedding_size output_embedding_size emb_dim""",
    96: """intermediate_size ffn_dim d_ff n_inner decoder_ffn_dim encoder_ffn_dim dim_ff dff ffn_hidden_size
        feed_forward_size""",
    32: "moe_intermediate_size shared_expert_intermediate_size kv_lora_rank q_lora_rank",
    3: "num_hidden_layers n_layer n_layers num_layers decoder_layers num_decoder_layers encoder_layers",
    4: """num_attention_heads n_head n_heads num_heads decoder_attention_heads encoder_attention_heads
        num_decoder_attention_heads num_encoder_attention_heads num_experts num_local_experts n_routed_experts""",
    2: "num_key_value_heads num_kv_heads num_experts_per_tok eos_token_id sep_token_id depth",
    512: "max_position_embeddings n_positions n_ctx max_target_positions max_source_positions",
    128: "vocab_size",
    0: "pad_token_id",
    1: "bos_token_id decoder_start_token_id num_codebooks",
    12: "v_head_dim",
    8: "qk_nope_head_dim qk_rope_head_dim rotary_dim",
}
DEFAULTS: dict[str, object] = {name: value for value, names in SMALL.items() for name in _words(names)}
DEFAULTS["is_decoder"] = True
HEAD_DIM = 24
"""Head size for families in which it does not depend on the hidden size: heads * head_dim is not the hidden size."""

ROPE = {"rope_type": "default", "rope_theta": 10000.0}
SLIDING = {"swa_num_attention_heads": 4, "swa_num_key_value_heads": 2, "swa_head_dim": HEAD_DIM}
INDEXER = {
    "hc_lowrank": 8,
    "ngram_vocab_size_base": 128,
    "indexer_compress_ratio": 2,
    "indexer_n_heads": 2,
    "indexer_kv_heads": 1,
    "indexer_head_dim": HEAD_DIM,
    "indexer_budget": 8,
}
GATED_DELTA = {
    "layer_types": ["linear_attention", "full_attention", "linear_attention"],
    "linear_num_key_heads": 2,
    "linear_num_value_heads": 4,
    "linear_key_head_dim": 16,
    "linear_value_head_dim": 16,
}
DENSE_FIRST = {"num_key_value_heads": 4, "first_k_dense_replace": 1, "mlp_layer_types": ["dense", "sparse", "sparse"]}
PER_LAYER_INPUT = {
    "vocab_size_per_layer_input": 320,
    "hidden_size_per_layer_input": 16,
    "num_kv_shared_layers": 0,
    "layer_types": ["sliding_attention", "full_attention", "full_attention"],
}
TOWER = {"hidden_size": 64, "num_attention_heads": 4, "adapter_out_dim": 64}
DOTS3 = {
    **{"num_key_value_heads": 4, "index_head_dim": 16, "index_n_heads": 2, "n_routed_experts": 4, "head_dim": 16},
    **{"swa_num_attention_heads": 2, "swa_num_key_value_heads": 2, "swa_q_lora_rank": 32, "swa_kv_lora_rank": 32},
    **{
        "shared_experts_intermediate_size": 32,
        "swa_head_dim": HEAD_DIM,
        "swa_qk_nope_head_dim": 16,
        "swa_v_head_dim": 20,
    },
    "layer_types": ["indexed_attention", "sliding_attention", "indexed_attention"],
}
CONV_FIRST = {"layer_types": ["conv", "full_attention", "full_attention"], "num_dense_layers": 1}
MAMBA_FIRST = {"layers_block_type": ["mamba", "hybrid", "hybrid"], "layer_types": ["mamba", "hybrid", "hybrid"]}
MAMBA_SMALL = {"mamba_d_state": 16, "mamba_d_head": 16, "mamba_chunk_size": 16}
LINEAR_FIRST = ["linear_attention", "full_attention", "linear_attention"]
ONE_GROUP = {"n_group": 1, "topk_group": 1}
OWN: dict[str, dict[str, object]] = {
    **dict.fromkeys(("deepseek_v3", "deepseek_v32", "glm_moe_dsa"), DENSE_FIRST | ONE_GROUP),
    **dict.fromkeys(_words("axk1 axk2 deepseek_v2 glm4_moe_lite"), {"num_key_value_heads": 4} | ONE_GROUP),
    **dict.fromkeys(_words("gemma3n_text gemma4 gemma4_text gemma4_unified gemma4_unified_text"), PER_LAYER_INPUT),
    **dict.fromkeys(_words("qwen3_5 qwen3_5_text qwen3_5_moe qwen3_5_moe_text qwen3_next"), GATED_DELTA),
    **dict.fromkeys(("qwen4_exp", "qwen4_exp_text"), GATED_DELTA | INDEXER),
    **dict.fromkeys(("hunyuan_v1_dense", "hunyuan_v1_moe", "ministral"), {"head_dim": HEAD_DIM}),
    **dict.fromkeys(("inkling_text", "inkling2_text"), SLIDING),
    **dict.fromkeys(("lfm2", "lfm2_moe"), CONV_FIRST),
    **dict.fromkeys(("minicpm3", "youtu"), {"num_key_value_heads": 4}),
    "zamba": MAMBA_FIRST,
    "zamba2": MAMBA_FIRST | {"time_step_min": 1e-6},  # transformers uses it for whole texts, but not token by token
    "bamba": MAMBA_SMALL | {"attn_layer_indices": [1], "mamba_n_heads": 8},
    "bailing_hybrid": DENSE_FIRST | ONE_GROUP | {"head_dim": 16, "layer_types": LINEAR_FIRST},
    "beam": DENSE_FIRST | ONE_GROUP | {"num_key_value_heads": 2},
    "blt": {"vocab_size": 260, "encoder_hash_byte_group_vocab": 100},
    "cohere_compass_text": {"rope_parameters": {"full_attention": ROPE, "sliding_attention": ROPE}},
    "cpmant": {"dim_head": HEAD_DIM, "segment_types": 4, "prompt_types": 4, "prompt_length": 4},
    "dbrx": {"attn_config": {"rope_theta": 10000.0, "kv_n_heads": 2, "clip_qkv": 8.0}},
    "dots3_note": DOTS3
    | {
        "text_config": {"hidden_size": 64},
        "vision_config": TOWER | {"mlp_layer_types": ["dense"] * 3, "adapter_in_dim": 64},
        "audio_config": TOWER | {"adapter_input_size": 64},
    },
    "dots3_note_text": DOTS3,
    "dots1": {"n_routed_experts": 4, "n_shared_experts": 1, "num_experts_per_tok": 2},
    "emu3": {
        "vocabulary_map": {"<image>": 8, "<|image token 0|>": 9, "<|extra_200|>": 10},
        "vq_config": {"base_channels": 32, "channel_multiplier": [1, 1], "num_res_blocks": 1, "attn_resolutions": [2]},
    },
    "falcon_h1": MAMBA_SMALL | {"mamba_d_ssm": 64, "mamba_n_heads": 4},
    "gemma3n": PER_LAYER_INPUT | {"vision_config": {"hidden_size": 64}},
    "got_ocr2": {"vision_config": {"mlp_dim": 96, "output_channels": 32, "image_size": 64}},
    "gpt_neo": {"attention_types": [[["global", "local"], 1], [["global"], 1]]},
    "helium": {"head_dim": 16},
    "hrm_text": {"num_layers_per_stack": 3, "num_hidden_layers": 24},
    "granitemoehybrid": MAMBA_SMALL | {"mamba_n_heads": 8, "layer_types": ["mamba", "attention", "mamba"]},
    "jamba": {"attn_layer_period": 2, "attn_layer_offset": 1},
    "kimi_linear": DENSE_FIRST | {"linear_head_dim": 16, "linear_num_heads": 4, "layer_types": LINEAR_FIRST},
    "longcat_flash": {
        **{"expert_ffn_hidden_size": 32, "zero_expert_num": 2, "num_key_value_heads": 4},
        **{"head_dim": 8, "qk_head_dim": 16, "moe_topk": 2},
    },
    "mamba2": {"num_heads": 8, "head_dim": 16},
    "mllama": {"cross_attention_layers": [1]},
    "phi4_multimodal": {
        "vision_config": {"image_size": 56, "crop_size": 56},
        "audio_config": {"num_blocks": 1, "ext_pw_out_channel": 64, "nemo_conv_channels": 64, "nemo_final_size": 10},
    },
    "reformer": {"axial_pos_embds_dim": (32, 32), "axial_pos_shape": (16, 32)},
    "roc_bert": {"enable_pronunciation": False, "enable_shape": False, "concat_input": False, "shape_vocab_size": 64},
    "xglm": {"attention_heads": 4},
    "xlm": {"causal": True},
    "xmod": {"languages": ("en_XX",), "default_language": "en_XX"},
    "zaya": {"num_experts_per_tok": 1},
}


def tiny_config(model_type: str, **overrides: object) -> PreTrainedConfig:
    """A configuration with hidden size 64, 3 layers, 4 heads and 128 tokens, under the family's own names."""
    return _shrink(CONFIG_MAPPING[model_type], OWN.get(model_type, {}) | overrides)


def _shrink(config_class: type[PreTrainedConfig], own: dict[str, object]) -> PreTrainedConfig:
    """The family's configuration with small sizes; keys that the outer configuration lacks go to the text part."""
    overrides = dict(own)
    parameters = inspect.signature(config_class.__init__).parameters
    options = {name: value for name, value in DEFAULTS.items() if name in parameters}
    if isinstance(getattr(parameters.get("head_dim"), "default", None), int):
        options["head_dim"] = HEAD_DIM
    parts = [name for name in config_class.sub_configs if name in parameters]
    default = config_class(**{name: overrides[name] for name in parts if name in overrides}) if parts else None
    for name in parts:
        part = getattr(default, name)
        own = overrides.get(name, {})
        if name in ("text_config", "decoder"):
            own = own | {k: overrides.pop(k) for k in set(overrides) - set(parameters)}
        if part is not None:
            options[name] = _shrink(type(part), own)
    return config_class(**options | {k: v for k, v in overrides.items() if k not in parts})


def tiny_model(model_type: str, seed: int = 0, *, whole: bool = False, **overrides: object) -> PreTrainedModel:
    """A model in eval mode whose random weights make every component matter: biases are not 0 and norms not 1.

    `whole` gives the model of text and images of a type in WITH_IMAGES.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        config = tiny_config(model_type, **overrides)
        model = (MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING[type(config)](config) if whole else _build(config)).eval()
        with torch.no_grad():
            for parameter in model.parameters():
                if parameter.dim() > 1:
                    parameter.normal_(std=0.15)
                else:
                    parameter.add_(torch.randn_like(parameter), alpha=0.2)
    return model


def _build(config: PreTrainedConfig) -> PreTrainedModel:
    decoder = getattr(config, "decoder", None)
    if isinstance(decoder, PreTrainedConfig):
        return MODEL_FOR_CAUSAL_LM_MAPPING[type(config)](decoder)
    return AutoModelForCausalLM.from_config(config)


def saved(model: PreTrainedModel, folder: Path, dtype: torch.dtype | None = None, **options: object) -> PreTrainedModel:
    """Save a model to `folder` in a dtype, and load it from there with plain transformers.

    Loading, unlike a cast in memory, leaves the rotary buffers in fp32.
    """
    dtype = dtype or model.dtype
    cast = model if model.dtype == dtype else copy.deepcopy(model).to(dtype)
    cast.save_pretrained(folder, **options)
    return AutoModelForCausalLM.from_pretrained(folder, dtype=dtype).eval()


CHAT_TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}<{{ message.role }}>{{ message.content }}</{{ message.role }}>"
    "{% endfor %}{% if add_generation_prompt %}<assistant>{% endif %}"
)
VOCABULARY = 320
"""Vocabulary size of models that read text; the tokenizer has 259 tokens."""


def tiny_tokenizer(chat: bool = True) -> PreTrainedTokenizerFast:
    """A tokenizer with <pad>, <s>, </s> (0, 1, 2) and one token per byte; plain text begins with <s> as for Llama."""
    special = ["<pad>", "<s>", "</s>"]
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE({token: i for i, token in enumerate(special + alphabet)}, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="<pad>",
        bos_token="<s>",
        eos_token="</s>",
        chat_template=CHAT_TEMPLATE if chat else None,
    )


def saved_folder(
    folder: Path,
    model_type: str = "llama",
    *,
    chat: bool = True,
    dtype: torch.dtype = torch.float32,
    **overrides: object,
) -> Path:
    """Save a tiny model and its tokenizer to a folder that `load_model` can read; returns the folder."""
    whole = model_type in WITH_IMAGES
    saved(tiny_model(model_type, whole=whole, **{"vocab_size": VOCABULARY} | overrides), folder, dtype)
    tiny_tokenizer(chat).save_pretrained(folder)
    return folder


def in_memory(model: PreTrainedModel, chat: bool = True) -> LoadedModel:
    """Wrap a model that has no files in the value that `load_model` returns."""
    spec = verify_sites(model, find_sites(model))
    return LoadedModel(
        model, tiny_tokenizer(chat), spec, f"tiny {spec.model_type}", None, Path(), fingerprint(model, spec)
    )
