"""Tests of evaluate.sh beside an export: its words, its runs, and the steering vectors that lm-eval adds."""

import json
import shlex
import subprocess
from dataclasses import replace

import pytest
import torch
from torch.nn.functional import normalize

from s2e_core import (
    ExportError,
    Steered,
    SteeringDirections,
    export_adapter,
    export_checkpoint,
    load_behavior,
    load_model,
    save_edit,
    verify_export,
)
from s2e_core.cli import main
from s2e_core.export import EVALUATE_FILE, RUNS, STEERING_FILE, steering_vectors
from s2e_core.export.evaluating import evaluation_files
from s2e_core.generation import preview_logits
from tests.core.edits import IDS, random_edit
from tests.families import saved_folder


@pytest.fixture(scope="module")
def bundled():
    return load_model("bundled")


def steering(loaded, gamma=0.5):
    generator = torch.Generator().manual_seed(3)
    spec = loaded.spec
    unit = tuple(normalize(torch.randn(spec.d_model, generator=generator), dim=0) for _ in spec.sites)
    norm = 1 + torch.rand(len(spec.sites), generator=generator)
    return Steered(SteeringDirections(spec, unit, norm, loaded.provenance("mood", "c0ffee")), gamma)


def script(loaded, edit, kind, steered=None):
    return evaluation_files(loaded, edit, kind, steered)[EVALUATE_FILE].decode()


def commands(text):
    """The words of every lm_eval command, by the name of its run; the shell's own reading of the file."""
    words = shlex.split(text.replace(" \\\n", " "), comments=True)
    starts = [i for i, word in enumerate(words) if word == "lm_eval"]
    found = [words[i:end] for i, end in zip(starts, [*starts[1:], None], strict=True)]
    return {value(one, "--output_path").removeprefix("$RESULTS/"): one for one in found}


def value(words, option):
    return words[words.index(option) + 1]


def args_of(words):
    return json.loads(value(words, "--model_args"))


def tone_edit(loaded):
    contrast = load_behavior("tone").contrast
    return replace(random_edit(loaded), provenance=loaded.provenance("tone", contrast.content_hash))


def test_the_four_runs_of_an_adapter(bundled):
    base = replace(bundled, base_name='/models/it\'s, a "model" $HOME')
    text = script(base, tone_edit(base), "adapter", steering(base))
    runs = commands(text)
    model = {"pretrained": base.base_name, "dtype": "float32"}
    assert list(runs) == list(RUNS)
    assert args_of(runs["original"]) == args_of(runs["prompt"]) == model
    assert args_of(runs["steered"]) == {**model, "steer_path": STEERING_FILE}
    assert args_of(runs["edited"]) == {**model, "peft": "."}
    assert [value(words, "--model") for words in runs.values()] == ["hf", "hf", "steered", "hf"]
    assert value(runs["prompt"], "--system_instruction") == load_behavior("tone").system_prompt
    assert [run for run, words in runs.items() if "--system_instruction" in words] == ["prompt"]
    for words in runs.values():
        assert value(words, "--tasks") == "$TASKS" and "--apply_chat_template" in words
    assert "\nTASKS=truthfulqa_mc2,gsm8k,ifeval,mmlu\n" in text


def test_the_shell_passes_every_word_on(bundled, tmp_path):
    """The script itself runs, from another folder, with a program in lm_eval's place that writes down its words."""
    program = tmp_path / "bin" / "lm_eval"
    program.parent.mkdir()
    program.write_text('#!/bin/bash\n{ pwd -P; printf "%s\\n" "$@"; } > "${@: -1}.words"\n')
    program.chmod(0o755)
    folder, caller = tmp_path / "an export's folder", tmp_path / "caller"
    folder.mkdir()
    caller.mkdir()
    base = replace(bundled, base_name='/models/it\'s, a "model" $HOME `x`')
    (folder / EVALUATE_FILE).write_text(script(base, tone_edit(base), "adapter", steering(base)))
    command = ["bash", str(folder / EVALUATE_FILE), "my results"]
    done = subprocess.run(command, cwd=caller, env={"PATH": f"{program.parent}:/usr/bin:/bin"}, capture_output=True)
    assert done.returncode == 0, done.stderr
    assert {path.stem for path in (caller / "my results").iterdir()} == set(RUNS)
    for run in RUNS:
        where, *words = (caller / "my results" / f"{run}.words").read_text().splitlines()
        assert where == str(folder.resolve())
        assert args_of(words)["pretrained"] == base.base_name
        assert value(words, "--output_path") == str((caller / "my results").resolve() / run)


def test_a_checkpoint_is_read_from_the_folder_of_the_script(bundled):
    runs = commands(script(bundled, tone_edit(bundled), "checkpoint"))
    assert args_of(runs["edited"]) == {"pretrained": ".", "dtype": "float32"}
    assert list(runs) == ["original", "prompt", "edited"]


@pytest.mark.parametrize(
    ("name", "content_hash"), [("tone", "c0ffee"), ("mood", None), ("../tone", None)], ids=["hash", "name", "path"]
)
def test_other_examples_have_no_run_with_a_system_prompt(bundled, name, content_hash):
    known = load_behavior("tone").contrast.content_hash
    edit = replace(random_edit(bundled), provenance=bundled.provenance(name, content_hash or known))
    text = script(bundled, edit, "adapter")
    assert list(commands(text)) == ["original", "edited"]
    assert "# Left out: no bundled behaviour" in text and "# Left out: a recipe has no steering vectors" in text


def test_several_edits_have_their_system_prompts_one_after_the_other(bundled):
    safety = load_behavior("safety")
    other = replace(random_edit(bundled), provenance=bundled.provenance("safety", safety.contrast.content_hash))
    runs = commands(script(bundled, replace(tone_edit(bundled), also=(other,)), "adapter"))
    expected = f"{load_behavior('tone').system_prompt}\n\n{safety.system_prompt}"
    assert value(runs["prompt"], "--system_instruction") == expected


def test_a_hub_model_has_its_revision_and_a_local_one_a_path_to_fill_in(bundled):
    edit = random_edit(bundled)
    text = script(replace(bundled, model_id="somebody/model", revision="abc", base_name=""), edit, "checkpoint")
    runs = commands(text)
    assert args_of(runs["original"]) == {"pretrained": "somebody/model", "dtype": "float32", "revision": "abc"}
    assert args_of(runs["edited"]) == {"pretrained": ".", "dtype": "float32"} and "path/to/" not in text
    assert "# Put the folder" in script(replace(bundled, base_name=""), edit, "checkpoint")


def test_the_arguments_of_the_chat_template_reach_lm_eval(bundled):
    chosen = {"enable_thinking": False}
    runs = commands(script(replace(bundled, template_args=chosen), random_edit(bundled), "checkpoint"))
    assert all(args_of(words)["chat_template_args"] == chosen for words in runs.values())


@pytest.mark.parametrize("family", ["llama", "gpt2", "gemma3"])
def test_hooks_with_the_written_vectors_compute_the_preview(family, tmp_path):
    """What lm-eval does with the file: a hook on every module below `base_model` adds vector times coefficient."""
    loaded = load_model(saved_folder(tmp_path / "model", family, dtype=torch.float32), device="cpu")
    steered = steering(loaded)
    content = evaluation_files(loaded, random_edit(loaded), "adapter", steered)[STEERING_FILE]
    path = tmp_path / "steering.pt"
    path.write_bytes(content)
    entries = torch.load(path, weights_only=True)
    assert len(entries) == sum(len(site.places) for site in loaded.spec.sites)
    handles = []
    for name, module in loaded.model.base_model.named_modules():
        if name in entries:
            change = entries[name]["steering_vector"] * entries[name]["steering_coefficient"]
            assert entries[name]["action"] == "add"
            handles.append(module.register_forward_hook(lambda module, inputs, output, change=change: output + change))
    assert len(handles) == len(entries)
    with torch.inference_mode():
        logits = loaded.model(input_ids=IDS, use_cache=False).logits
    for handle in handles:
        handle.remove()
    torch.testing.assert_close(logits, preview_logits(loaded, steered, IDS), atol=1e-5, rtol=0)
    with torch.inference_mode():
        assert not torch.allclose(loaded.model(input_ids=IDS, use_cache=False).logits, logits, atol=1e-2)


def test_fused_experts_are_not_steered(tmp_path):
    loaded = load_model(saved_folder(tmp_path / "model", "mixtral"), device="cpu")
    assert any(site.experts for site in loaded.spec.sites)
    files = evaluation_files(loaded, random_edit(loaded), "checkpoint", steering(loaded))
    assert files.keys() == {EVALUATE_FILE}
    assert b"# Left out: lm-eval cannot add these directions" in files[EVALUATE_FILE]


def test_directions_of_another_model_are_refused(bundled, tmp_path):
    other = load_model(saved_folder(tmp_path / "model", "llama"), device="cpu")
    with pytest.raises(ExportError, match="another model"):
        steering_vectors(other, steering(bundled))


@pytest.mark.parametrize("export", [export_adapter, export_checkpoint])
def test_an_export_with_the_new_files_is_verified(export, tmp_path):
    loaded = load_model(saved_folder(tmp_path / "model", "llama", dtype=torch.float32), device="cpu")
    edit = random_edit(loaded)
    folder = export(loaded, edit, tmp_path / "out", steered=steering(loaded))
    subprocess.run(["bash", "-n", folder / EVALUATE_FILE], check=True)
    assert (folder / STEERING_FILE).is_file()
    assert verify_export(loaded, edit, folder).passed


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--steer", "0.5"], "--steer needs the recipe's examples"),
        (["--behavior", "tone"], "--behavior and --contrast are for --steer"),
        (["--steer", "1", "--behavior", "tone", "--format", "mlx"], "only a checkpoint or an adapter for PEFT has"),
        (["--steer", "1", "--behavior", "safety"], "The recipe was not made from safety"),
    ],
    ids=["no examples", "no strength", "no script", "other examples"],
)
def test_the_command_refuses_steering_that_is_not_of_the_recipe(bundled, tmp_path, capsys, options, sentence):
    recipe = save_edit(tone_edit(bundled), tmp_path / "tone.safetensors")
    assert main(["export", str(recipe), "-o", str(tmp_path / "out"), *options]) == 2
    assert sentence in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
