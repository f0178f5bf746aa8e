"""The commands that measure, on the bundled model with few prompts: their files, tables, recommendation and errors."""

import csv
import io
import json
import os
import signal
from pathlib import Path

import pytest

from s2e_core import load_edit, load_model
from s2e_core.cli import COMMANDS, main, terminal
from s2e_core.measure import EVALUATION_COLUMNS, SWEEP_COLUMNS, load_sweep


@pytest.fixture(scope="module")
def few(small_behavior):
    """Options that ask little."""
    return ["--behavior", str(small_behavior), "--prompts", "3", "--max-new-tokens", "8"]


@pytest.fixture(scope="module")
def grid(few):
    return ["sweep", *few, "--rho-attn", "0.3,off", "--rho-mlp", "0.5", "--alpha", "0.4", "--gamma", "0.5"]


@pytest.fixture(scope="module")
def swept(grid, tmp_path_factory):
    path = tmp_path_factory.mktemp("sweep") / "mood.jsonl"
    assert main([*grid, "-o", str(path)]) == 0
    return path


def test_a_sweep_writes_the_file_that_the_page_reads(swept):
    loaded = load_model("bundled")
    made = load_sweep(swept, loaded.spec)
    assert [outcome.trial.arm for outcome in made.outcomes] == ["original", "edit", "edit", "steering"]
    assert made.outcomes[2].trial.settings.rho_attn is None
    assert made.outcomes[1].trial.settings.strength != 1.0  # what is not given is the suggested value
    assert len(made.questions) == 6 and made.split == "development"


def test_the_same_command_goes_on_from_its_file_and_shows_the_table(grid, swept, capsys):
    before = swept.read_bytes()
    assert main([*grid, "-o", str(swept)]) == 0
    assert swept.read_bytes() == before
    lines = capsys.readouterr().out.splitlines()
    rows = [line for line in lines if "[" in line]
    assert len(rows) == 4 and any(line.startswith("*") for line in rows)
    assert any("95 % intervals over 3 attribute and 3 utility prompts" in line for line in lines)
    assert sum("best edit" in line or "best steering" in line for line in lines) == 2


def test_figures_as_csv_have_the_columns_of_the_page(grid, swept, capsys):
    assert main([*grid, "-o", str(swept), "--csv", "-"]) == 0
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert tuple(rows[0]) == SWEEP_COLUMNS and len(rows) == 4
    assert [row["arm"] for row in rows] == ["original", "edit", "edit", "steering"]
    assert int(rows[1]["heads"]) > 0 and int(rows[2]["heads"]) == 0 and rows[3]["gamma"] == "0.5"
    assert all(float(row["attribute_low"]) <= float(row["attribute"]) for row in rows)


def test_another_sweep_does_not_go_on_in_the_file(grid, swept, capsys):
    assert main([*grid, "--seed", "5", "-o", str(swept)]) == 2
    assert "contains another sweep" in capsys.readouterr().err


def test_ctrl_c_says_how_to_go_on_and_keeps_the_answers(grid, tmp_path, monkeypatch, capsys):
    def interrupt(self, done, total):
        if done and "answers" in self.label:
            raise KeyboardInterrupt

    path = tmp_path / "tone.jsonl"
    with monkeypatch.context() as patch:
        patch.setattr(terminal.ProgressLine, "show", interrupt)
        assert main([*grid, "-o", str(path)]) == 130
    assert "the same command resumes" in capsys.readouterr().err
    kept = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    assert sum("t" in line for line in kept) > 0
    assert main([*grid, "-o", str(path)]) == 0


def test_find_recommends_saves_its_files_and_the_recipe(few, tmp_path, capsys):
    folder, recipe = tmp_path / "found", tmp_path / "found.safetensors"
    asked = ["find", *few, "--trials", "2", "--samples", "1", "--floor", "0.5", "-o", str(folder)]
    assert main([*asked, "--recipe", str(recipe)]) == 0
    out = capsys.readouterr().out
    assert "Best edit that " in out and "Best steering" in out and "On held-out prompts the" in out
    assert "The edit's attribute minus steering's, prompt by prompt: " in out and "Not checked" not in out
    assert {path.name for path in folder.iterdir()} == {
        "screen.json",
        "development.jsonl",
        "finals.jsonl",
        "test.jsonl",
    }
    loaded = load_model("bundled")
    held_out = load_sweep(folder / "test.jsonl", loaded.spec)
    edit = load_edit(recipe, base=loaded)
    assert edit.settings.rho_mlp == held_out.outcomes[1].trial.settings.rho_mlp


def test_find_says_where_nothing_is_held_out(few, tmp_path, capsys):
    source, folder = Path(few[1]), tmp_path / "mood"
    folder.mkdir()
    for path in source.iterdir():
        rows = path.read_text(encoding="utf-8").replace('"split": "development"', '"kept": 1')
        (folder / path.name).write_text(rows.replace('"split": "test"', '"kept": 1'), encoding="utf-8")
    asked = ["--prompts", "3", "--max-new-tokens", "8", "--trials", "0", "--samples", "1", "--floor", "0.1"]
    assert main(["find", "--behavior", str(folder), *asked]) == 0
    out = capsys.readouterr().out
    assert "Not checked on held-out prompts" in out and "On held-out prompts the" not in out


def test_evaluate_shows_every_figure_of_every_variant_and_how_it_is_made(few, tmp_path, capsys):
    recipe = tmp_path / "tone.safetensors"
    assert main(["edit", "--behavior", "tone", "-o", str(recipe)]) == 0
    capsys.readouterr()
    variants = ["--recipe", str(recipe), "--settings", "off,0.5,0.4", "--gamma", "0.5"]
    assert main(["evaluate", *few, *variants]) == 0
    out = capsys.readouterr().out
    header = out.splitlines()[0]
    for label in ("original", "tone.safetensors", "ρ attn off", "steering γ = 0.5"):
        assert label in header
    assert "next-token KL: Mean divergence" in out and "perplexity" in out
    assert header.endswith("prompts") and "95 % intervals" in out
    assert {line.split()[-1] for line in out.splitlines() if line.startswith(("attribute ", "utility "))} == {"3"}


def test_evaluate_takes_the_suggested_settings_where_nothing_is_named(few, capsys):
    assert main(["evaluate", *few, "--csv", "-"]) == 0
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert tuple(rows[0]) == EVALUATION_COLUMNS
    assert len({row["variant"] for row in rows}) == 3
    assert all(row["how"] and int(row["prompts"]) > 0 for row in rows)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["sweep", "--behavior", "nothing"], "no behaviour named"),
        (["sweep", "--split", "nowhere"], "nowhere"),
        (["sweep", "--alpha", "2"], "alpha is 2"),
        (["sweep", "--samples", "2", "--temperature", "0"], "temperature 0"),
        (["sweep", "--rho-attn", "off", "--rho-mlp", "off", "--gamma", "off"], "nothing to try"),
        (["sweep", "--gamma", "nan"], "strength is nan"),
        (["sweep", "--csv", "gone/figures.csv"], "gone/figures.csv cannot be written"),
        (["evaluate", "--csv", "gone/figures.csv"], "gone/figures.csv cannot be written"),
        (["find", "--recipe", "gone/found.safetensors"], "gone/found.safetensors cannot be written"),
        (["evaluate", "--settings", "suggested", "--settings", "suggested"], "same name"),
        (["evaluate", "--recipe", "gone.safetensors"], "gone.safetensors"),
    ],
)
def test_bad_input_ends_with_one_sentence(few, arguments, said, capsys):
    command, *others = arguments
    assert main([command, *few, *others]) == 2
    error = capsys.readouterr().err
    assert said in error and "Traceback" not in error
    assert "answers" not in error  # nobody waits for an error that could be known before


@pytest.mark.parametrize("option", [["--prompts", "0"], ["--settings", "1"], ["--gamma", "much"], ["--samples", "0"]])
def test_options_that_are_no_numbers_or_too_small_are_refused(option):
    with pytest.raises(SystemExit) as left:
        main(["evaluate", "--behavior", "tone", *option])
    assert left.value.code == 2


@pytest.mark.parametrize("command", ["sweep", "find"])
@pytest.mark.parametrize("floor", ["0", "97", "nan"])
def test_a_floor_that_is_no_share_is_refused(command, floor, capsys):
    with pytest.raises(SystemExit):
        main([command, "--behavior", "tone", "--floor", floor])
    assert f"{floor} is not above 0 and at most 1" in capsys.readouterr().err


def test_all_three_commands_are_known():
    assert {"sweep", "find", "evaluate"} <= {command.name for command in COMMANDS}


def ray_workers():
    """Process ids of our ray workers on this machine, the busy ones first: ray writes what they do into the title."""
    titles = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            titles[int(folder.name)] = (folder / "cmdline").read_bytes().decode(errors="replace")
        except OSError:  # the process has ended
            continue
    workers = [number for number, title in titles.items() if title.startswith("ray::_Worker")]
    return sorted(workers, key=lambda number: "answer" not in titles[number])


def test_the_workers_of_a_ray_cluster_give_the_same_sweep_though_one_is_killed(tmp_path, monkeypatch):
    pytest.importorskip("ray", reason="ray is optional")
    killed = []

    def kill_a_worker(self, done, total):
        workers = ray_workers()
        if done and workers and not killed:
            killed.append(workers[0])
            os.kill(workers[0], signal.SIGKILL)

    asked = ["sweep", "--behavior", "tone", "--prompts", "4", "--gamma", "0.5", "--max-new-tokens", "8"]
    assert main([*asked, "--csv", str(tmp_path / "here.csv")]) == 0
    monkeypatch.setattr(terminal.ProgressLine, "show", kill_a_worker)
    assert main([*asked, "--csv", str(tmp_path / "ray.csv"), "--ray", "--workers", "2"]) == 0
    assert killed
    assert (tmp_path / "ray.csv").read_text() == (tmp_path / "here.csv").read_text()
