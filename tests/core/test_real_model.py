"""The whole chain on a real chat model, SmolLM2 135M Instruct: scores, edit, texts, and all that is taken home."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from peft import PeftModel
from torch import Tensor
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel

from s2e_core import (
    Edited,
    EditSettings,
    Extraction,
    Original,
    Steered,
    WeightEdit,
    build_edit,
    compare,
    export_adapter,
    export_checkpoint,
    extract,
    load_behavior,
    load_edit,
    save_edit,
    verify_export,
)
from s2e_core.data import CHAT_BEHAVIORS, behavior_gate_texts, choose_behaviors_folder, contrast_set
from s2e_core.generation import preview_logits
from s2e_core.measure import (
    KL_BOUND,
    N_ROLLS,
    open_screen,
    rolls,
    row_for,
    screen,
    screen_texts,
    shows,
    split_contrast,
)
from s2e_core.measure.shapes import Shape
from s2e_core.measure.suggest import strongest_within
from s2e_core.method import rho_for_count
from s2e_core.model import LoadedModel, prompt_ids
from tests.reference import token_ids

pytestmark = pytest.mark.real

PROMPT = "What is the capital of France?"
N_TOKENS = 12


@pytest.fixture(scope="module")
def extraction(smollm2: LoadedModel) -> Extraction:
    """Of the first examples of a bundled behaviour: enough to compare with a plain loop."""
    examples = load_behavior("cheerfulness", CHAT_BEHAVIORS).contrast
    few = contrast_set(examples.positive[:3], examples.negative[:3], name="few")
    return extract(smollm2, few, outliers="keep")


@pytest.fixture(scope="module")
def edit(extraction: Extraction) -> WeightEdit:
    scores = extraction.scores
    rho = {kind: rho_for_count(scores, kind, 8, 0.5) for kind in ("heads", "neurons")}
    return build_edit(extraction, EditSettings(rho["heads"], rho["neurons"], 0.5, strength=0.3))


@pytest.fixture(scope="module")
def exported(smollm2: LoadedModel, edit: WeightEdit, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return export_checkpoint(smollm2, edit, tmp_path_factory.mktemp("export") / "model")


def ids_of(loaded: LoadedModel) -> Tensor:
    return torch.tensor([prompt_ids(loaded.tokenizer, PROMPT)])


@torch.inference_mode()
def logits_of(model: PreTrainedModel, ids: Tensor) -> Tensor:
    return model(input_ids=ids, use_cache=False).logits


def test_the_model_is_a_chat_model_with_the_chat_behaviours(smollm2: LoadedModel) -> None:
    assert smollm2.spec.n_layers == 30 and smollm2.spec.n_components("heads") == 270
    assert smollm2.gguf is not None and smollm2.gguf.formats == "Q4_1 and Q8_0"
    assert choose_behaviors_folder(smollm2.source) == CHAT_BEHAVIORS
    text = smollm2.tokenizer.decode(prompt_ids(smollm2.tokenizer, PROMPT))
    assert text.endswith(f"<|im_start|>user\n{PROMPT}<|im_end|>\n<|im_start|>assistant\n")
    assert "Paris" in _texts(smollm2, [Original()])[0]


def test_scores_are_those_of_a_plain_loop(smollm2: LoadedModel, extraction: Extraction) -> None:
    examples = load_behavior("cheerfulness", CHAT_BEHAVIORS).contrast
    for index, picked in ((11, (0, 4, 8)), (31, (0, 700, 1535))):  # heads of one layer, neurons of another
        site = smollm2.spec.sites[index]
        inputs = [_mean_inputs(smollm2, site.name, side[:3]) for side in (examples.positive, examples.negative)]
        weight = smollm2.model.get_submodule(site.name).weight.detach().double()
        v, mean = weight @ (inputs[0] - inputs[1]), (inputs[0] + inputs[1]) / 2
        for i in picked:
            part = slice(i * site.width, (i + 1) * site.width)
            output = weight[:, part] @ mean[part]
            expected = sum(a * b for a, b in zip(v.tolist(), output.tolist(), strict=True))
            expected /= math.sqrt(float(v.square().sum())) * math.sqrt(float(output.square().sum()))
            assert float(extraction.scores.g[index][i]) == pytest.approx(expected, abs=1e-4)


def _mean_inputs(loaded: LoadedModel, name: str, examples: tuple) -> Tensor:
    """Mean over examples of the mean input over the positions that predict the response: (n_inputs,), fp64."""
    means: list[Tensor] = []
    for example in examples:
        ids, start = token_ids(loaded, example)

        def record(module: object, inputs: tuple[Tensor, ...], first: int = start - 1) -> None:
            means.append(inputs[0][0, first:-1].double().mean(0))

        handle = loaded.model.get_submodule(name).register_forward_pre_hook(record)
        logits_of(loaded.model, torch.tensor([ids]))
        handle.remove()
    return torch.stack(means).mean(0)


def test_an_edit_changes_what_the_model_computes(smollm2: LoadedModel, edit: WeightEdit) -> None:
    assert edit.count("heads") == 8 and edit.count("neurons") == 8
    original, edited = (preview_logits(smollm2, variant, ids_of(smollm2)) for variant in (Original(), Edited(edit)))
    assert float((original - edited).abs().max()) > 0.1
    assert all(_texts(smollm2, [Original(), Edited(edit)]))


def test_the_exported_checkpoint_says_what_the_preview_says(
    smollm2: LoadedModel, edit: WeightEdit, exported: Path
) -> None:
    assert verify_export(smollm2, edit, exported).passed
    assert "license: apache-2.0" in (exported / "README.md").read_text()
    model, tokenizer = AutoModelForCausalLM.from_pretrained(exported), AutoTokenizer.from_pretrained(exported)
    assert model.dtype == torch.float16 and model.lm_head.weight is model.model.embed_tokens.weight
    ids = ids_of(smollm2)
    chat = tokenizer.apply_chat_template([{"role": "user", "content": PROMPT}], add_generation_prompt=True)
    assert chat["input_ids"] == ids[0].tolist()
    answer = model.float().generate(ids, max_new_tokens=N_TOKENS, do_sample=False)[0, ids.shape[1] :]
    assert tokenizer.decode(answer, skip_special_tokens=True).strip() == _texts(smollm2, [Edited(edit)])[0].strip()


def test_the_adapter_computes_the_preview_through_peft(smollm2: LoadedModel, edit: WeightEdit, tmp_path: Path) -> None:
    folder = export_adapter(smollm2, edit, tmp_path / "adapter")
    assert "gguf_file='SmolLM2-135M-Instruct.Q4_1.gguf'" in (folder / "README.md").read_text()
    base = AutoModelForCausalLM.from_pretrained(smollm2.source, dtype=torch.float32)
    ids, model = ids_of(smollm2), PeftModel.from_pretrained(base, folder).eval()
    expected = preview_logits(smollm2, Edited(edit), ids)
    torch.testing.assert_close(logits_of(model, ids), expected, atol=2e-4 * float(expected.abs().max()), rtol=0)


def test_a_recipe_gives_back_the_edit(smollm2: LoadedModel, edit: WeightEdit, tmp_path: Path) -> None:
    again = load_edit(save_edit(edit, tmp_path / "recipe.safetensors"), base=smollm2)
    assert all(map(torch.equal, (*again.left, *again.right), (*edit.left, *edit.right)))


def test_a_gate_moves_the_tone_further_than_steering_at_the_same_divergence(smollm2: LoadedModel) -> None:
    """The headline in small: few examples and prompts, and likelihood alone."""
    behavior = load_behavior("cheerfulness")
    sides = behavior.contrast.positive[:25], behavior.contrast.negative[:25]
    fit, held_out = split_contrast(contrast_set(*sides, name="tone"))
    texts = behavior_gate_texts(behavior)
    few = replace(texts, on=texts.on[:8], off=texts.off[:8], probes=texts.probes[:4], answer_tokens=24)
    extraction = extract(smollm2, fit, texts=few)
    against = open_screen(smollm2, screen_texts(smollm2, held_out, few.probes))
    found = strongest_within(smollm2, extraction, Shape(mu=10.0, size=100), against, KL_BOUND)
    assert found is not None
    settings, gate = found
    steering = [screen(smollm2, [Steered(extraction.directions, g)], against)[0] for g in (0.2, 0.4, 0.8)]
    allowed = [one for one in steering if one.kl.value <= KL_BOUND]
    assert allowed, "weak steering stays below the bound"
    assert gate.margin.value > max(one.margin.value for one in allowed) > 0
    *_, (original, edited) = compare(
        smollm2, behavior.examples[0], [Original(), Edited(build_edit(extraction, settings))], max_new_tokens=24
    )
    assert original != edited


def _texts(loaded: LoadedModel, variants: list) -> list[str]:
    """Greedy answers to the prompt, one per variant."""
    *_, last = compare(loaded, PROMPT, variants, max_new_tokens=N_TOKENS, temperature=0.0)
    return list(last)


def test_the_first_question_of_tone_leaves_room_for_an_edit(smollm2: LoadedModel) -> None:
    """The page opens with it, and the first lesson asks it: where most answers are cheerful already, no push shows."""
    behavior = load_behavior("cheerfulness", CHAT_BEHAVIORS)
    prompt = behavior.examples[0]
    *_, (answers,) = rolls(smollm2, prompt, [Original()], row_for(behavior, prompt), max_new_tokens=64)
    cheerful = sum(shows(answer.verdict) for answer in answers if answer.verdict)
    assert len(answers) == N_ROLLS and 2 * cheerful <= N_ROLLS
