"""The command line, from a behaviour to a verified export, on the bundled model."""

import csv
import io
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from transformers import AutoModelForCausalLM

from s2e_core.cli import COMMANDS, main, take_home

ROOT = Path(__file__).parents[3]
DIALS = ["--behavior", "tone", "--rho-mlp", "0.5", "--alpha", "0.4"]


@pytest.fixture
def recipe(tmp_path):
    path = tmp_path / "recipe.safetensors"
    assert main(["edit", *DIALS, "-o", str(path)]) == 0
    return path


def test_info_says_what_the_model_is(capsys):
    assert main(["info"]) == 0
    out = capsys.readouterr().out
    assert "llama" in out and "heads" in out and "fingerprint" in out and "safety" in out


@pytest.mark.parametrize("command", ["compare Hello", "data a.jsonl", "sweep", "find", "evaluate"])
@pytest.mark.parametrize("seed", ["-1", "2147483648", "1.5", "x"])
def test_a_seed_that_the_dice_do_not_take_is_a_sentence(capsys, command, seed):
    with pytest.raises(SystemExit):
        main([*command.split(), f"--seed={seed}"])
    assert f'"{seed}" is no seed. Write a whole number from 0 to 2147483647' in capsys.readouterr().err


def test_scores_are_a_ranked_table(capsys):
    assert main(["scores", *DIALS, "--kind", "heads", "--top", "5"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 6
    strengths = [abs(float(line.split()[3])) for line in lines[1:]]
    assert strengths == sorted(strengths, reverse=True)


def test_scores_as_csv_hold_every_component(capsys):
    assert main(["scores", *DIALS, "--csv", "-"]) == 0
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert {row["kind"] for row in rows} == {"head", "neuron"}
    assert all(-1 <= float(row["g"]) <= 1 for row in rows)
    assert any(float(row["lambda"]) for row in rows)


def test_counts_choose_that_many_components(tmp_path, capsys):
    arguments = ["edit", "--behavior", "tone", "--heads", "3", "--neurons", "20", "--alpha", "0.4"]
    assert main([*arguments, "-o", str(tmp_path / "a.safetensors")]) == 0
    assert capsys.readouterr().out.startswith("3 heads and 20 neurons")


def test_compare_shows_all_variants(recipe, capsys):
    arguments = ["compare", "How was your day?", "--recipe", str(recipe), "--behavior", "tone", "--gamma", "0.5"]
    assert main([*arguments, "--max-new-tokens", "8"]) == 0
    out = capsys.readouterr().out
    assert all(label in out for label in ("> How was", "[original]", "[edited]", "[steered]"))


def test_compare_says_where_the_texts_part(recipe, capsys):
    arguments = ["compare", "How was your day?", "--recipe", str(recipe), "--parting", "--max-new-tokens", "8"]
    assert main(arguments) == 0
    line = next(line for line in capsys.readouterr().out.splitlines() if line.startswith("[parting]"))
    assert main([*arguments, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)["answers"][0]
    tokens, first = found["parting"]["tokens"], found["parting"]["first"]
    assert "".join(one["token"] for one in tokens).strip() == found["original"].strip()
    assert found["parting"]["mean_kl"] == pytest.approx(sum(one["kl"] for one in tokens) / len(tokens))
    differing = [n for n, one in enumerate(tokens) if one["original"][0]["token"] != one["edited"][0]["token"]]
    assert first == (differing[0] if differing else None)
    assert (f"token {first + 1} of {len(tokens)}" if differing else "nowhere") in line
    assert f"KL {found['parting']['mean_kl']:.3f}" in line and len(found["parting"]["moved"]) == 6
    assert main(["compare", "Hi", "--parting"]) == 2
    assert "Give --recipe too" in capsys.readouterr().err


def test_scores_say_whether_they_could_be_luck(capsys):
    arguments = ["scores", *DIALS, "--kind", "heads", "--json"]
    assert main(arguments) == 0
    plain = json.loads(capsys.readouterr().out)["components"]
    assert all(row["band"] is None and row["p"] is None for row in plain)
    assert main([*arguments, "--chance"]) == 0
    rows = json.loads(capsys.readouterr().out)["components"]
    assert [row["g"] for row in rows] == [row["g"] for row in plain]
    assert all(row["low"] <= row["g"] + 1e-4 and row["g"] - 1e-4 <= row["high"] for row in rows)
    assert all(0 < row["p"] <= 1 and 0 < row["band"] < 1 for row in rows)
    assert main(["scores", *DIALS, "--kind", "heads", "--chance", "--top", "1"]) == 0
    head, row = capsys.readouterr().out.splitlines()
    assert head.split()[-5:] == ["low", "high", "p", "band", "name"]
    assert f"{rows[0]['band']:.4f}" in row


@pytest.mark.parametrize("kind", ["stored", "float32", "adapter"])
def test_an_export_is_verified_and_verifies_again(recipe, tmp_path, capsys, kind):
    folder = tmp_path / "out"
    assert main(["export", str(recipe), "-o", str(folder), "--format", kind]) == 0
    assert main(["verify", str(recipe), str(folder)]) == 0
    if kind != "adapter":
        AutoModelForCausalLM.from_pretrained(folder)


def test_verify_fails_for_a_folder_that_does_not_hold_the_edit(recipe, tmp_path):
    other = tmp_path / "other.safetensors"
    assert main(["edit", "--behavior", "tone", "--rho-mlp", "0.3", "--alpha", "0.2", "-o", str(other)]) == 0
    assert main(["export", str(other), "-o", str(tmp_path / "out")]) == 0
    assert main(["verify", str(recipe), str(tmp_path / "out")]) == 1


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["info", "--model", "/no/such/model"], "does not exist"),
        (["scores"], "--behavior NAME or --contrast FILE"),
        (["scores", "--behavior", "nothing"], "no behaviour named"),
        (["scores", "--contrast", "gone.jsonl"], "gone.jsonl does not exist"),
        (["scores", "--behavior", "tone", "--alpha", "1.5"], "alpha is 1.5"),
        (["scores", "--behavior", "tone", "--rho-mlp", "-1"], "rho_mlp is -1"),
        (["scores", "--behavior", "tone", "--rho-mlp", "1", "--neurons", "3"], "Give one of them"),
        (["compare", "Hi", "--recipe", "gone.safetensors"], "gone.safetensors"),
        (["info", "--device", "toaster"], "toaster"),
        (["info", "--device", "cuda:99"], "cuda:99"),
    ],
)
def test_bad_input_ends_with_one_sentence_and_a_status(arguments, said, capsys):
    assert main(arguments) == 2
    error = capsys.readouterr().err
    assert said in error and "Traceback" not in error


@pytest.mark.parametrize(
    "arguments",
    [
        ["scores", "--contrast", "gone"],
        ["edit", "--contrast", "gone", "-o", "made.safetensors"],
        ["edit", "--behavior", "tone", "-o", "gone/made.safetensors"],
        ["compare", "Hi", "--recipe", "gone"],
        ["compare", "Hi", "--contrast", "gone", "--gamma", "1"],
        ["export", "gone", "-o", "made"],
        ["verify", "gone", "made"],
        ["import", "gone"],
        ["evaluate", "--behavior", "tone", "--recipe", "gone"],
    ],
    ids=lambda arguments: " ".join(arguments),
)
def test_a_file_that_is_not_there_is_said_before_a_model_is_looked_for(arguments, capsys):
    assert main([*arguments, "--model", "no-such-model"]) == 2
    said = capsys.readouterr().err
    assert "gone" in said and "no-such-model" not in said


def test_every_command_has_help():
    for command in COMMANDS:
        shown = subprocess.run(
            [sys.executable, "-m", "s2e_core", command.name, "--help"], capture_output=True, text=True, check=True
        )
        assert command.help in " ".join(shown.stdout.split())
        break  # importing torch for each takes seconds; the parser builds all of them at once
    for command in COMMANDS:
        with pytest.raises(SystemExit) as left:
            main([command.name, "--help"])
        assert left.value.code == 0


def test_unknown_arguments_are_refused():
    with pytest.raises(SystemExit) as left:
        main(["scores", "--nonsense"])
    assert left.value.code == 2


def test_a_folder_that_holds_files_is_refused_before_the_model_is_loaded(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(take_home, "load_chosen_model", lambda options: pytest.fail("a model was loaded"))
    (tmp_path / "recipe.safetensors").touch()
    assert main(["export", str(tmp_path / "recipe.safetensors"), "-o", str(tmp_path)]) == 2
    assert "already contains files" in capsys.readouterr().err


STANDS_STILL = """
import runpy, signal, time
from s2e_core.files import copying

signal.signal(signal.SIGINT, signal.default_int_handler)  # tests that run in the background of a shell ignore it

def stand_still(meter, n_bytes):
    print("in the middle", flush=True)
    time.sleep(600)

copying.Meter.add = stand_still
runpy.run_module("s2e_core", run_name="__main__")
"""


@pytest.mark.parametrize("ending", [signal.SIGINT, signal.SIGTERM])
def test_an_export_that_is_ended_from_outside_cleans_up_and_says_so(recipe, tmp_path, ending):
    (tmp_path / "place").mkdir()
    command = [sys.executable, "-c", STANDS_STILL, "export", str(recipe), "-o", str(tmp_path / "place" / "out")]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(command, cwd=ROOT, env=os.environ | {"OMP_NUM_THREADS": "1"}, text=True, **pipes) as process:
        assert process.stdout.readline() == "in the middle\n" and list((tmp_path / "place").iterdir())
        process.send_signal(ending)
        _, said = process.communicate(timeout=60)
    assert process.returncode == 130 and said.endswith("Stopped.\n")
    assert not list((tmp_path / "place").iterdir())
