"""Finding heads and neurons: unusual shapes, what is refused and why, and the check by a forward pass."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from s2e_core import UnsupportedModelError
from s2e_core.model import find_sites, verify_sites
from s2e_core.model import probe as site_check
from s2e_core.spec import ModelSpec
from tests.families import saved, tiny_model


def checked(model: PreTrainedModel) -> ModelSpec:
    return verify_sites(model, find_sites(model))


def shapes(spec: ModelSpec, kind: str) -> list[tuple[int, int]]:
    return [(spec.sites[i].n_components, spec.sites[i].width) for i in spec.of_kind(kind)]


def test_a_llama_has_its_sites_in_layer_order_heads_before_neurons():
    spec = checked(tiny_model("llama"))
    assert [site.name for site in spec.sites[:3]] == [
        "model.layers.0.self_attn.o_proj",
        "model.layers.0.mlp.down_proj",
        "model.layers.1.self_attn.o_proj",
    ]
    assert (spec.model_type, spec.n_layers, spec.d_model, spec.unreachable) == ("llama", 3, 64, ())
    assert (spec.n_components("heads"), spec.n_components("neurons")) == (12, 288)


def test_heads_are_query_heads_when_keys_and_values_are_shared():
    assert shapes(checked(tiny_model("llama", num_key_value_heads=2)), "heads") == [(4, 16)] * 3
    assert shapes(checked(tiny_model("llama", num_key_value_heads=1)), "heads") == [(4, 16)] * 3
    assert shapes(checked(tiny_model("gpt_bigcode", multi_query=True)), "heads") == [(4, 16)] * 3


def test_the_head_size_need_not_be_the_hidden_size_over_the_heads():
    for head_dim in (8, 40):
        assert shapes(checked(tiny_model("llama", head_dim=head_dim)), "heads") == [(4, head_dim)] * 3


def test_the_head_size_may_differ_between_layers_and_the_configuration_refuse_to_name_one():
    model = tiny_model("gemma4_text")
    with pytest.raises(RuntimeError):
        _ = model.config.head_dim
    assert shapes(checked(model), "heads") == [(4, 24), (4, 512), (4, 512)]


def test_a_conv1d_is_found_as_stored_in_by_out_although_its_attention_projection_is_square():
    assert all(site.transposed for site in checked(tiny_model("gpt2")).sites)
    assert not any(site.transposed for site in checked(tiny_model("gpt_bigcode")).sites)


@pytest.mark.parametrize(
    ("model_type", "options"),
    [
        ("llama", {"attention_bias": True, "mlp_bias": True}),
        ("stablelm", {"use_parallel_residual": True}),
        ("falcon", {"new_decoder_architecture": True, "num_kv_heads": 2}),
        ("falcon", {"parallel_attn": False, "alibi": True, "multi_query": False, "num_kv_heads": 4, "bias": True}),
        ("gpt_neox", {"use_parallel_residual": False}),
        ("opt", {"do_layer_norm_before": False}),
        ("minicpm3", {"q_lora_rank": 16}),
    ],
)
def test_published_variants_with_biases_and_parallel_blocks_pass_the_check(model_type, options):
    assert shapes(checked(tiny_model(model_type, **options)), "neurons") == [(96, 1)] * 3


def test_a_vision_tower_of_the_same_depth_is_not_taken_for_the_text_decoder():
    spec = checked(tiny_model("git"))
    assert all(site.name.startswith("git.encoder.layer.") for site in spec.sites)
    assert "image_encoder" in spec.unreachable[0]


def test_a_decoder_of_another_depth_than_its_encoder_is_found():
    assert checked(tiny_model("whisper", decoder_layers=2, encoder_layers=5)).n_layers == 2


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_passes_the_check(dtype, tmp_path):
    spec = checked(saved(tiny_model("llama", intermediate_size=256), tmp_path, dtype))
    assert shapes(spec, "neurons") == [(256, 1)] * 3


def packed(weight: Tensor) -> Tensor:
    class PackedParameter(nn.Parameter):
        """As quantisation libraries do: a parameter that reports a float matrix and holds something else."""

    return PackedParameter(weight)


@pytest.mark.parametrize(
    "stored",
    [
        packed,
        lambda weight: nn.Parameter(weight.to(torch.int8), requires_grad=False),
        lambda weight: nn.Parameter(weight.to(torch.float8_e4m3fn), requires_grad=False),
    ],
)
def test_a_quantised_weight_is_refused(stored):
    model = tiny_model("llama")
    projection = model.model.layers[1].mlp.down_proj
    projection.weight = stored(projection.weight.data)
    with pytest.raises(
        UnsupportedModelError, match="model.layers.1.mlp.down_proj is not a plain float matrix.*unquantised"
    ):
        find_sites(model)


def test_a_projection_of_a_foreign_class_is_refused_and_named():
    class QuantLinear(nn.Module):
        """Packed weights without a matrix."""

    model = tiny_model("llama")
    model.model.layers[2].self_attn.o_proj = QuantLinear()
    with pytest.raises(UnsupportedModelError, match=r"layer 2 .* no attention output .*o_proj \(QuantLinear\)"):
        find_sites(model)


def test_weights_that_are_not_in_memory_are_refused():
    with pytest.raises(UnsupportedModelError, match="neither in memory nor offloaded"):
        find_sites(tiny_model("llama").to("meta"))


def test_a_weight_that_is_used_for_something_else_as_well_is_refused():
    model = tiny_model("llama")
    model.model.layers[0].self_attn.q_proj.weight = model.model.layers[2].self_attn.o_proj.weight
    with pytest.raises(
        UnsupportedModelError, match="layers.0.self_attn.q_proj.* and .*layers.2.self_attn.o_proj.* one and the"
    ):
        find_sites(model)


def test_a_layer_without_heads_or_without_an_mlp_is_refused_by_its_number():
    model = tiny_model("llama")
    model.model.layers[1].self_attn = nn.Identity()
    with pytest.raises(UnsupportedModelError, match="layer 1 .* has no attention output projection"):
        find_sites(model)
    model = tiny_model("llama")
    model.model.layers[2].mlp = nn.Linear(64, 64)
    with pytest.raises(UnsupportedModelError, match="layer 2 .* has no MLP down projection"):
        find_sites(model)


def test_a_second_mlp_in_a_layer_is_refused():
    model = tiny_model("llama")
    model.model.layers[0].second_mlp = copy.deepcopy(model.model.layers[0].mlp)
    with pytest.raises(
        UnsupportedModelError, match="layer 0 .* more than one MLP down projection .*second_mlp.down_proj"
    ):
        find_sites(model)


def test_a_shared_expert_does_not_hide_the_experts_beside_it():
    spec = checked(tiny_model("qwen2_moe"))
    assert shapes(spec, "neurons") == [(32, 1), (128, 1)] * 3
    assert [site.experts for site in spec.sites[:3]] == [0, 0, 4]
    assert spec.unreachable == ()


def test_a_head_size_that_contradicts_the_head_count_is_refused():
    model = tiny_model("llama")
    model.model.layers[1].self_attn.head_dim = 8
    with pytest.raises(UnsupportedModelError, match="layer 1 has 64 inputs, which are not 4 heads of size 8"):
        find_sites(model)


class Scaled(nn.Linear):
    """A linear layer by class and weight whose output is something else."""

    def forward(self, x: Tensor) -> Tensor:
        return 1.01 * super().forward(x)


@pytest.mark.parametrize("name", ["self_attn.o_proj", "mlp.down_proj"])
def test_a_projection_that_does_not_output_weight_times_input_fails_the_check(name):
    model = tiny_model("llama")
    model.model.layers[1].get_submodule(name).__class__ = Scaled
    spec = find_sites(model)
    with pytest.raises(UnsupportedModelError, match=f"layers.1.{name} does not output its weight times its input"):
        verify_sites(model, spec)


def test_the_check_is_as_strict_where_outputs_are_small():
    model = tiny_model("llama").to(torch.bfloat16)
    model.model.layers[1].self_attn.o_proj.weight.data.mul_(0.01)
    spec = find_sites(model)
    verify_sites(model, spec)
    model.model.layers[1].self_attn.o_proj.register_forward_hook(lambda module, inputs, output: 1.1 * output)
    with pytest.raises(UnsupportedModelError, match="layers.1.self_attn.o_proj does not output its weight"):
        verify_sites(model, spec)


def test_weights_with_a_nan_fail_the_check():
    model = tiny_model("llama")
    model.model.layers[0].mlp.down_proj.weight.data[3, 4] = float("nan")
    with pytest.raises(UnsupportedModelError, match="layers.0.mlp.down_proj writes numbers that are not finite"):
        checked(model)


def test_a_layer_that_never_runs_or_runs_twice_fails_the_check():
    model = tiny_model("llama")
    model.model.layers[2].forward = lambda hidden_states, **_: hidden_states
    with pytest.raises(UnsupportedModelError, match="layers.2.self_attn.o_proj ran 0 times"):
        checked(model)
    model = tiny_model("llama")
    mlp = model.model.layers[0].mlp
    once = mlp.forward
    mlp.forward = lambda x: once(once(x))
    with pytest.raises(UnsupportedModelError, match="layers.0.mlp.down_proj ran 2 times"):
        checked(model)


def test_a_model_that_needs_more_than_token_ids_gets_a_sentence():
    model = tiny_model("llama")

    def needy(**_: object) -> None:
        raise ValueError("pixel_values are missing")

    model.forward = needy
    with pytest.raises(UnsupportedModelError, match="a forward pass over 8 token ids fails .pixel_values are missing"):
        checked(model)


def test_a_post_norm_behind_the_attention_alone_is_told_from_none_behind_the_mlp():
    model = tiny_model("gemma2")
    for layer in model.model.layers:
        layer.post_feedforward_layernorm = nn.Identity()
    assert [site.post_norm for site in checked(model).sites] == [True, False] * 3


def test_a_tensor_changed_in_place_before_the_norm_is_not_the_projections_output():
    model = tiny_model("olmo2")
    for layer in model.model.layers:
        layer.mlp.register_forward_hook(lambda module, inputs, output: output.add_(1.0))
    assert [site.post_norm for site in checked(model).sites] == [True, False] * 3


def test_the_check_gives_the_same_verdict_in_small_pieces(monkeypatch):
    monkeypatch.setattr(site_check, "COLUMNS_AT_ONCE", 20)
    checked(tiny_model("gpt2"))
    model = tiny_model("llama")
    model.model.layers[0].mlp.down_proj.__class__ = Scaled
    with pytest.raises(UnsupportedModelError):
        checked(model)


def test_the_check_leaves_no_hook_and_no_changed_bit_behind():
    model = tiny_model("llama")
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    spec = find_sites(model)
    verify_sites(model, spec)
    model.model.layers[1].mlp.down_proj.__class__ = Scaled
    with pytest.raises(UnsupportedModelError):
        verify_sites(model, spec)
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
