"""A base and its LoRA adapter: as PEFT merges it, and what is no such adapter."""

from __future__ import annotations

import copy
import json

import pytest
import torch
from peft import LoraConfig, get_peft_model

from s2e_core.errors import InteropError
from s2e_core.model import site_weight
from s2e_core.why import open_adapter, weight_difference
from tests.families import in_memory, tiny_model


@pytest.fixture(scope="module", params=[False, True], ids=["lora", "rslora"])
def adapted(request, llama, tmp_path_factory):
    """The folder of an adapter of rank 3 for two kinds of projections, and the model with it merged by PEFT."""
    config = LoraConfig(r=3, lora_alpha=8, target_modules=["o_proj", "q_proj"], use_rslora=request.param)
    wrapped = get_peft_model(copy.deepcopy(llama.model), config)
    with torch.no_grad():
        for name, parameter in wrapped.named_parameters():
            if "lora_B" in name:
                parameter.normal_(std=0.1)
    folder = tmp_path_factory.mktemp("adapter")
    wrapped.save_pretrained(folder)
    return folder, wrapped.merge_and_unload()


def test_the_weights_are_those_that_peft_merges(llama, adapted):
    folder, merged = adapted
    found = open_adapter(llama, folder)
    for index, site in enumerate(llama.spec.sites):
        torch.testing.assert_close(found.weight(index), site_weight(merged, site).detach(), atol=1e-5, rtol=1e-4)
    assert found.elsewhere == tuple(f"model.layers.{n}.self_attn.q_proj" for n in range(3))


def test_a_lora_of_rank_three_shows_its_rank(llama, adapted):
    found = weight_difference(llama, open_adapter(llama, adapted[0]))
    for index, site in enumerate(llama.spec.sites):
        large = int((found.spectrum[index] > 1e-4).sum())
        assert large == (3 if site.kind == "heads" else 0)
    assert 0 < found.shared < 0.9


@pytest.mark.parametrize(
    ("change", "message"),
    [({"use_dora": True}, "DoRA"), ({"r": None}, "no rank"), ({"rank_pattern": {"o_proj": 2}}, "rank_pattern")],
)
def test_other_adapters_are_refused(llama, adapted, tmp_path, change, message):
    for file in adapted[0].iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    config = json.loads((tmp_path / "adapter_config.json").read_text())
    (tmp_path / "adapter_config.json").write_text(json.dumps(config | change))
    with pytest.raises(InteropError, match=message):
        open_adapter(llama, tmp_path)


def test_a_folder_without_an_adapter_is_refused(llama, gpt2, adapted, tmp_path):
    with pytest.raises(InteropError, match="not a readable LoRA adapter"):
        open_adapter(llama, tmp_path)
    with pytest.raises(InteropError, match="this model does not have"):
        open_adapter(gpt2, adapted[0])


def test_factors_of_another_size_are_refused(adapted):
    wider = in_memory(tiny_model("llama", vocab_size=320, hidden_size=96))
    with pytest.raises(InteropError, match="own base model"):
        open_adapter(wider, adapted[0])
