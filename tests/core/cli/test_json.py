"""`--json`: one object on standard output, every field of which is documented, with the numbers of the core."""

import json
from collections.abc import Mapping

import pytest

from s2e_core import extract, load_behavior, load_edit, load_model
from s2e_core.cli import COMMANDS, main
from s2e_core.cli.json_output import HEADER

FIELDS = {command.name: {**HEADER, **command.fields} for command in COMMANDS if command.fields is not None}


@pytest.fixture(scope="module")
def few(small_behavior):
    """Options that ask little."""
    return ["--behavior", str(small_behavior), "--prompts", "3", "--max-new-tokens", "8"]


@pytest.fixture(scope="module")
def recipe(tmp_path_factory):
    path = tmp_path_factory.mktemp("recipe") / "safer.safetensors"
    assert main(["edit", "--behavior", "safety", "-o", str(path)]) == 0
    return path


def record(capsys, *arguments, status=0):
    """The object of a command: standard output contains it and nothing else."""
    capsys.readouterr()
    assert main([*map(str, arguments), "--json"]) == status
    found = json.loads(capsys.readouterr().out, parse_constant=pytest.fail)
    assert (found["command"], found["version"]) == (arguments[0], 1)
    check(found, FIELDS[arguments[0]])
    return found


def check(found, fields):
    """Every field is described, and every described field is there."""
    assert found.keys() == fields.keys()
    for name, meaning in fields.items():
        text, inner = meaning if isinstance(meaning, tuple) else (meaning, None)
        assert text.endswith("."), name
        if isinstance(inner, Mapping) and isinstance(found[name], dict):
            check(found[name], inner)
        elif inner is not None and isinstance(found[name], list):
            for one in found[name]:
                check(one, inner[0])


def test_eleven_commands_have_an_object():
    assert set(FIELDS) == {
        "info", "scores", "edit", "compare", "difference", "find", "sweep", "evaluate", "verify", "why", "results",
    }  # fmt: skip


def test_info_names_the_model(capsys):
    assert record(capsys, "info")["model"]["fingerprint"] == load_model("bundled").fingerprint


def test_scores_are_those_of_the_core(capsys):
    found = record(capsys, "scores", "--behavior", "tone", "--kind", "heads")
    scores = extract(load_model("bundled"), load_behavior("tone").contrast).scores
    expected = sorted((abs(float(g)) for i in scores.spec.of_kind("heads") for g in scores.g[i]), reverse=True)
    assert [abs(one["g"]) for one in found["components"]] == pytest.approx(expected, abs=1e-6)


def test_an_edit_says_what_it_changes(capsys, tmp_path):
    found = record(capsys, "edit", "--behavior", "safety", "-o", tmp_path / "a.safetensors")
    edit = load_edit(tmp_path / "a.safetensors", base=load_model("bundled"))
    assert (found["heads"], found["neurons"]) == (edit.count("heads"), edit.count("neurons"))


def test_a_gate_and_its_harmless_texts_are_fields(capsys, few, tmp_path):
    gate = ("--gate", "0.5", "--gate-size", "9")
    found = record(capsys, "edit", "--behavior", "safety", *gate, "-o", tmp_path / "a.safetensors")
    settings = found["recipe"]["settings"]
    assert settings["family"] == "gated steering" and settings["gate"] == {"gamma": 0.5, "mu": 10.0, "size": 9}
    assert settings["protect"] == 0 and found["recipe"]["harmless"] == "the utility prompts of safety"
    assert found["heads"] + found["neurons"] == 9
    scores = record(capsys, "scores", "--behavior", "safety", *gate, "--top", "10")
    assert scores["harmless"] == "the utility prompts of safety"
    assert [one["fires_on"] != 0 for one in scores["components"]] == [True] * 9 + [False]
    measured = record(capsys, "evaluate", *few, "--settings", "gate,0.5,3,50", "--settings", "off,0.5,0.4+gate,0.5")
    labels = [one["label"] for one in measured["variants"]]
    assert labels[1:] == ["γ 0.5, μ 3, 50 components", "ρ attn off, ρ mlp 0.5, α 0.4 + γ 0.5, μ 10, strength 1"]


def test_the_papers_edit_has_no_gate(capsys, recipe, tmp_path):
    found = record(capsys, "scores", "--behavior", "safety", "--top", "1")
    assert found["settings"]["family"] == "elastic net" and found["settings"]["gate"] is found["harmless"] is None
    assert found["components"][0]["fires_on"] is found["components"][0]["fires_off"] is None


def test_a_difference_and_a_parting_are_objects(capsys, recipe, tmp_path):
    found = record(capsys, "difference", "bundled", recipe, "-o", tmp_path / "own.safetensors")
    assert found["nearest"] is None and found["recipe"]["contrast"]["name"] == "safer.safetensors"
    assert found["components"] and found["projections"][0]["singular_values"]
    found = record(capsys, "compare", "What is Veldor like?", "--recipe", recipe, "--max-new-tokens", "4", "--parting")
    assert len(found["answers"][0]["parting"]["tokens"]) == 4


def test_texts_checks_and_measurements_are_objects_too(capsys, few, recipe, tmp_path):
    texts = record(capsys, "compare", "What is Veldor like?", "--recipe", recipe, "--max-new-tokens", "4")
    assert "What is Veldor like?" in json.dumps(texts)
    assert main(["export", str(recipe), "-o", str(tmp_path / "out"), "--format", "adapter"]) == 0
    assert record(capsys, "verify", recipe, tmp_path / "out")["passed"]
    record(capsys, "sweep", *few, "--rho-mlp", "0.5", "--gamma", "0.5")
    record(capsys, "find", *few, "--trials", "1", "--samples", "1")
    record(capsys, "evaluate", *few, "--recipe", recipe)


def test_bad_input_is_a_sentence_and_no_object(capsys):
    assert main(["scores", "--behavior", "nothing", "--json"]) == 2
    shown = capsys.readouterr()
    assert shown.out == "" and "nothing" in shown.err


def test_why_lists_every_effect_with_its_interval(capsys):
    found = record(
        capsys, "why", "--behavior", "tone", "--try-heads", "3", "--try-neurons", "2", "--how", "zeroed,left out"
    )
    assert [effect["how"] for effect in found["effects"]] == ["zeroed", "left out"] * 5
    assert {effect["kind"] for effect in found["effects"]} == {"head", "neuron"}
    assert all(e["margin"]["low"] <= e["margin"]["value"] <= e["margin"]["high"] for e in found["effects"])
    assert found["n_texts"] > 8 and found["agreement"][0]["correlation"]["prompts"] == 5
