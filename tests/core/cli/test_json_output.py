"""The numbers and texts of `--json` are the core's, and its output is JSON whatever the numbers are."""

import json
import math

import pytest

from s2e_core import Edited, Original, Steered, compare, evaluate, extract, load_behavior, load_edit, load_model
from s2e_core.cli import COMMANDS, main
from s2e_core.cli.json_output import VERSION, describe_estimate, to_json
from s2e_core.measure import Plan, load_sweep, pareto_front, sweep_results

SAMPLING = ["--prompts", "3", "--max-new-tokens", "8"]


@pytest.fixture(scope="module")
def bundled():
    return load_model("bundled", device="cpu")


@pytest.fixture
def run(capsys):
    """Runs a command with --json and returns its object."""

    def run_command(*arguments, status=0):
        capsys.readouterr()
        assert main([*map(str, arguments), "--json"]) == status
        text = capsys.readouterr().out
        assert text.count("\n") == 1 and text.endswith("}\n")
        record = json.loads(text, parse_constant=pytest.fail)
        assert list(record)[:2] == ["command", "version"] and record["version"] == VERSION
        return record

    return run_command


@pytest.fixture
def recipe(tmp_path):
    path = tmp_path / "tone.safetensors"
    assert main(["edit", "--behavior", "tone", "-o", str(path)]) == 0
    return path


def as_json(value):
    return json.loads(json.dumps(value))


def test_scores_are_all_components_unless_top_is_given(run, bundled):
    record = run("scores", "--behavior", "tone")
    assert len(record["components"]) == record["n_components"] == sum(s.n_components for s in bundled.spec.sites)
    assert record["contrast"]["hash"] == load_behavior("tone").contrast.content_hash
    assert record["model"]["fingerprint"] == bundled.fingerprint
    assert len(run("scores", "--behavior", "tone", "--top", "7")["components"]) == 7
    assert run("scores", "--behavior", "tone", "--top", "0")["components"] == []


def test_the_lambda_of_every_component_is_that_of_the_recipe(run, recipe, bundled):
    edit = load_edit(recipe, base=bundled)
    by_place = {
        (site.kind.removesuffix("s"), site.layer, index): value
        for site, strengths in zip(edit.spec.sites, edit.strength, strict=True)
        for index, value in enumerate(strengths.tolist())
    }
    components = run("scores", "--behavior", "tone")["components"]
    assert {(c["kind"], c["layer"], c["index"]): c["lambda"] for c in components} == by_place


def test_an_edit_names_its_settings_and_its_recipe(run, tmp_path, bundled):
    record = run("edit", "--behavior", "tone", "--neurons", "5", "--heads", "0", "-o", tmp_path / "a.safetensors")
    edit = load_edit(tmp_path / "a.safetensors", base=bundled)
    assert (record["heads"], record["neurons"]) == (0, 5)
    assert record["recipe"]["path"] == str(tmp_path / "a.safetensors")
    assert record["recipe"]["settings"]["rho_mlp"] == edit.settings.rho_mlp
    assert record["recipe"]["settings"]["rho_attn"] is None


def test_compared_texts_are_those_of_the_core(run, recipe, bundled):
    extraction = extract(bundled, load_behavior("tone").contrast)
    variants = (Original(), Edited(load_edit(recipe, base=bundled)), Steered(extraction.directions, 0.5))
    *_, texts = compare(bundled, "How was your day?", variants, max_new_tokens=8, temperature=0.0, seed=0)
    dials = ["--recipe", recipe, "--behavior", "tone", "--gamma", "0.5", "--max-new-tokens", "8"]
    record = run("compare", "How was your day?", *dials)
    answers = dict(zip(("original", "edited", "steered"), texts, strict=True))
    assert record["answers"] == [{"prompt": "How was your day?", **answers, "parting": None}]
    bare = run("compare", "Hello", "--max-new-tokens", "2")
    assert bare["recipe"] is bare["contrast"] is bare["gamma"] is bare["answers"][0]["edited"] is None


def test_a_sweep_has_the_figures_of_its_file(run, small_behavior, bundled, tmp_path):
    grid = ["--rho-attn", "off", "--rho-mlp", "0.3,0.5", "--alpha", "0.4", "--gamma", "0.5"]
    answers = tmp_path / "mood.jsonl"
    record = run("sweep", "--behavior", small_behavior, *SAMPLING, *grid, "-o", answers)
    results = sweep_results(load_sweep(answers, bundled.spec))
    assert [r["label"] for r in record["sweep"]["results"]] == [r.trial.label for r in results]
    for one, result in zip(record["sweep"]["results"], results, strict=True):
        assert one["attribute"] == as_json(describe_estimate(result.attribute))
        assert one["utility_kept"] == as_json(describe_estimate(result.kept))
        assert one["off_topic"]["value"] == result.flaws["off-topic"].value
    assert record["pareto_front"] == list(pareto_front(results, less_is_better=False))
    assert record["answers"] == str(answers) and record["behavior"]["less_is_better"] is False
    assert record["sizes"][0] == {"heads": None, "neurons": None} and record["sizes"][1]["neurons"] > 0


def test_a_search_has_the_figures_of_its_files_and_the_recipe(run, small_behavior, bundled, tmp_path):
    folder, recipe = tmp_path / "search", tmp_path / "mood.safetensors"
    options = ["--trials", "2", "--samples", "1", "--floor", "0.5", "-o", folder, "--recipe", recipe]
    record = run("find", "--behavior", small_behavior, *SAMPLING, *options)
    for part, name in (("development", "development"), ("finals", "finals"), ("held_out", "test")):
        results = sweep_results(load_sweep(folder / f"{name}.jsonl", bundled.spec))
        assert [r["utility_kept"] for r in record[part]["results"]] == [
            as_json(describe_estimate(result.kept)) for result in results
        ]
    edit = load_edit(recipe, base=bundled)
    assert record["recipe"]["settings"] == record["edit"]["settings"]
    assert record["edit"]["settings"]["rho_mlp"] == edit.settings.rho_mlp
    assert record["edit"]["label"] in [r["label"] for r in record["held_out"]["results"]]
    by_arm = {r["arm"]: r["utility_kept"]["value"] >= 0.5 for r in record["held_out"]["results"]}
    assert record["keeps_floor"] == {arm: by_arm.get(arm) for arm in ("edit", "steering")}
    assert set(record["lead"]) == {"value", "low", "high", "prompts"}


def test_an_evaluation_has_every_figure_of_the_core(run, small_behavior, recipe, bundled):
    behavior = load_behavior(small_behavior.name, small_behavior.parent)
    plan = Plan(behavior, "test", 3, 3, max_new_tokens=8)
    evaluations = evaluate(bundled, plan, [Edited(load_edit(recipe, base=bundled))], labels=[recipe.name])
    record = run("evaluate", "--behavior", small_behavior, *SAMPLING, "--recipe", recipe)
    assert [v["label"] for v in record["variants"]] == ["original", recipe.name]
    for variant, evaluation in zip(record["variants"], evaluations, strict=True):
        figures = {figure["name"]: figure for figure in variant["figures"]}
        assert all(figure.pop("how") for figure in figures.values())
        assert {name: figure["value"] for name, figure in figures.items()} == pytest.approx(
            {name: figure.value for name, figure in evaluation.figures().items()}
        )
        assert all(figure["low"] <= figure["value"] <= figure["high"] for figure in figures.values())
    assert record["variants"][0]["recipe"] is None and record["variants"][1]["recipe"]["path"] == str(recipe)


def test_a_folder_without_the_edit_does_not_pass(run, recipe, tmp_path):
    other = tmp_path / "other.safetensors"
    assert main(["edit", "--behavior", "safety", "-o", str(other)]) == 0
    assert main(["export", str(other), "-o", str(tmp_path / "out")]) == 0
    record = run("verify", recipe, tmp_path / "out", status=1)
    assert record["passed"] is False and record["warnings"]
    assert record["logits"]["difference"] > record["logits"]["tolerance"]
    record = run("verify", other, tmp_path / "out")
    assert record["passed"] is True and record["not_checked"] is None
    assert record["logits"]["difference"] <= record["logits"]["tolerance"]
    assert record["tensors"]["changed"] == record["tensors"]["intended"]


def test_whatever_a_library_prints_stays_out_of_the_object(run, monkeypatch):
    from s2e_core.cli import terminal

    monkeypatch.setattr(terminal, "load_model", lambda *_, **__: print("loading!") or load_model("bundled"))
    assert run("info")["command"] == "info"


def test_numbers_that_are_not_finite_are_null():
    text = to_json("info", {"values": (math.nan, math.inf, 0.5), "inner": {"x": -math.inf}})
    assert json.loads(text) == {
        "command": "info",
        "version": VERSION,
        "values": [None, None, 0.5],
        "inner": {"x": None},
    }


@pytest.mark.parametrize("command", ["scores", "sweep", "evaluate"])
def test_csv_and_json_exclude_each_other(command, capsys):
    assert main([command, "--behavior", "tone", "--csv", "-", "--json"]) == 2
    shown = capsys.readouterr()
    assert shown.out == "" and "Both --csv and --json were given" in shown.err


def test_workers_without_ray_are_refused(capsys):
    assert main(["sweep", "--behavior", "tone", "--workers", "3"]) == 2
    assert "Give --ray too" in capsys.readouterr().err


@pytest.mark.parametrize("command", [c for c in COMMANDS if c.fields], ids=lambda command: command.name)
def test_help_describes_every_field(command, capsys):
    with pytest.raises(SystemExit) as left:
        main([command.name, "--json", "--help"])
    assert left.value.code == 0
    text = capsys.readouterr().out
    assert all(f"\n  {name}: " in text for name in ("command", "version", *command.fields))
    with pytest.raises(SystemExit):
        main([command.name, "--help"])
    assert "schema version" not in capsys.readouterr().out
