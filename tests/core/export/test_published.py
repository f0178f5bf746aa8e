"""An adapter of a model whose published class nests the loaded one: both classes read it and answer the preview."""

import json

import pytest
import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM, AutoModelForImageTextToText

from s2e_core import export_adapter, load_model
from s2e_core.export.published import published_prefix
from s2e_core.generation import preview_logits
from s2e_core.values import Edited, Original
from s2e_core.verify import verify_export
from tests.core.chain import chain
from tests.families import saved_folder

NESTED = {
    "qwen3_5": ("model.", "model.language_model."),
    "qwen3_5_moe": ("model.", "model.language_model."),
}
IDS = torch.tensor([[1, 40, 41, 42, 90, 33]])


@pytest.fixture(scope="module", params=NESTED)
def case(request, tmp_path_factory):
    """(loaded, edit, folder of the base, folder of the adapter)"""
    base = saved_folder(tmp_path_factory.mktemp(request.param) / "base", request.param)
    loaded = load_model(base)
    edit = chain(loaded).edit
    return loaded, edit, base, export_adapter(loaded, edit, base.parent / "adapter")


def test_the_published_class_has_other_names(case):
    loaded, _, base, _ = case
    assert json.loads((base / "config.json").read_text())["architectures"] != [type(loaded.model).__name__]
    assert published_prefix(loaded) in NESTED.values()


@pytest.mark.parametrize("published", [AutoModelForCausalLM, AutoModelForImageTextToText])
def test_both_classes_answer_the_preview(case, published):
    loaded, edit, base, folder = case
    model = PeftModel.from_pretrained(published.from_pretrained(base, dtype=torch.float32), folder).eval()
    with torch.no_grad():
        found = model(input_ids=IDS).logits
    wanted, untouched = (preview_logits(loaded, variant, IDS) for variant in (Edited(edit), Original()))
    torch.testing.assert_close(found, wanted, atol=2e-4, rtol=2e-4)
    assert (wanted - untouched).abs().max() > 1e-2


def test_the_adapter_passes_its_own_verification(case):
    loaded, edit, _, folder = case
    assert verify_export(loaded, edit, folder).passed


def test_a_model_that_is_its_published_class_has_one_name(tmp_path):
    loaded = load_model(saved_folder(tmp_path / "llama"))
    assert published_prefix(loaded) is None
