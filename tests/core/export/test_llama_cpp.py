"""llama.cpp itself runs the GGUF LoRA: with an F32 base, greedy answers are those of the preview, at every strength."""

from dataclasses import replace
from importlib.util import find_spec

import pytest
import torch

from s2e_core import Edited, EditSettings, Original, build_edit, compare, extract, load_behavior, load_model
from s2e_core.data import CHAT_BEHAVIORS, contrast_set
from s2e_core.export import GGUF_FILE, export_gguf_lora
from s2e_core.generation import preview_logits
from s2e_core.method import rho_for_count
from s2e_core.model import prompt_ids
from tests.core.edits import merged, random_edit
from tests.core.llama_cpp import greedy, write_base
from tests.families import saved_folder

pytestmark = pytest.mark.skipif(find_spec("xllamacpp") is None, reason="the package xllamacpp is not installed")
NEAR_TIE = 0.02
"""Of logits. In 20 prompts of a real model one such tie was met, of 0.006."""
IDS = [[1, 40, 77, 12], [1, 9, 8, 7, 6], [1, 33, 21, 4, 90]]


def scaled(edit, factor):
    return replace(edit, right=tuple(factor * right for right in edit.right))


@torch.inference_mode()
def plain(model, prompts, length):
    """Greedy answers of plain transformers, without the token that ends one."""
    answers = []
    for prompt in prompts:
        out = model.generate(
            torch.tensor([prompt]), max_new_tokens=length, do_sample=False, repetition_penalty=1.0, pad_token_id=0
        )
        answers.append(out[0, len(prompt) :].tolist())
    return answers


def without_end(answers, end):
    return [answer[: answer.index(end)] if end in answer else answer for answer in answers]


@pytest.mark.parametrize(("model_type", "architecture"), [("llama", "llama"), ("qwen3_moe", "qwen3moe")])
def test_scale_is_the_strength_and_0_the_untouched_model(model_type, architecture, tmp_path):
    """Experts as well, whose factors are stacks; llama.cpp always normalises the shares of a token's experts."""
    options = {"norm_topk_prob": True} if "moe" in model_type else {}
    loaded = load_model(saved_folder(tmp_path / "model", model_type, **options), device="cpu")
    edit = random_edit(loaded, 0.3)
    folder, base = (
        export_gguf_lora(loaded, edit, tmp_path / "out"),
        write_base(tmp_path / "b.gguf", loaded, architecture),
    )
    answers = greedy(base, folder / GGUF_FILE, IDS, length=8, scales=(1, 0.5, 0))
    end = loaded.tokenizer.eos_token_id
    expected = [
        without_end(plain(merged(loaded, scaled(edit, scale), torch.float32), IDS, 8), end) for scale in (1, 0.5, 0)
    ]
    assert [without_end(some, end) for some in answers] == expected
    assert expected[0] != expected[1] != expected[2] != expected[0]


def texts_of(loaded, answers):
    return [loaded.tokenizer.decode(ids, skip_special_tokens=True) for ids in answers]


def previews(loaded, variants, prompts, length):
    """The texts of the page: for each variant those of all prompts."""
    rows = [list(compare(loaded, prompt, variants, max_new_tokens=length))[-1] for prompt in prompts]
    return [list(texts) for texts in zip(*rows, strict=True)]


def test_the_bundled_models_texts_are_those_of_the_page(tmp_path):
    loaded, behavior = load_model("bundled", device="cpu"), load_behavior("safety")
    edit = build_edit(extract(loaded, behavior.contrast), behavior.settings)
    folder, base = export_gguf_lora(loaded, edit, tmp_path / "out"), write_base(tmp_path / "b.gguf", loaded, "llama")
    prompts = [row["prompt"] for row in behavior.attribute if row["split"] == "development"][:20]
    ids = [prompt_ids(loaded.tokenizer, prompt) for prompt in prompts]
    answers = greedy(base, folder / GGUF_FILE, ids, length=24, scales=(1, 0))
    assert len(prompts) == 20 and answers[0] != answers[1]
    expected = previews(loaded, (Edited(edit), Original()), prompts, 24)
    assert [texts_of(loaded, some) for some in answers] == expected


def assert_tie(loaded, variant, prompt, answer):
    """Two tokens of nearly the same logit, of which either program takes the other: fp32 adds up in another order."""
    logits = preview_logits(loaded, variant, torch.tensor([prompt + answer]))[0, len(prompt) - 1 : -1]
    gaps = [float(row.max() - row[token]) for row, token in zip(logits, answer, strict=True)]
    assert 0 < max(gaps) < NEAR_TIE, gaps


@pytest.mark.real
def test_a_real_chat_model_with_an_f32_base_and_with_its_own_4_bit_file(smollm2, tmp_path):
    examples, behavior = (
        load_behavior("cheerfulness", CHAT_BEHAVIORS).contrast,
        load_behavior("refusal", CHAT_BEHAVIORS),
    )
    few = extract(smollm2, contrast_set(examples.positive[:3], examples.negative[:3], name="few"), outliers="keep")
    rho = {kind: rho_for_count(few.scores, kind, 8, 0.5) for kind in ("heads", "neurons")}
    edit = build_edit(few, EditSettings(rho["heads"], rho["neurons"], 0.5))
    folder, base = export_gguf_lora(smollm2, edit, tmp_path / "out"), write_base(tmp_path / "b.gguf", smollm2, "llama")
    prompts = sorted((row["prompt"] for row in behavior.attribute), key=len)[:20]
    ids = [prompt_ids(smollm2.tokenizer, prompt) for prompt in prompts]
    (answers,) = greedy(base, folder / GGUF_FILE, ids, length=3)
    edited, original = previews(smollm2, (Edited(edit), Original()), prompts, 3)
    for prompt, answer, text in zip(ids, answers, edited, strict=True):
        if texts_of(smollm2, [answer]) != [text]:
            assert_tie(smollm2, Edited(edit), prompt, answer)
    assert texts_of(smollm2, answers) != original
    quantised = greedy(smollm2.gguf.path, folder / GGUF_FILE, ids[:4], length=3, scales=(1, 0))
    assert quantised[0] != quantised[1]
