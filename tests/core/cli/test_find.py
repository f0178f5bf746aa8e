"""The command `find` on the bundled model: what it says of a search, and the search by likelihood for own examples."""

import json

import pytest

from s2e_core import load_edit, load_model
from s2e_core.cli import main
from s2e_core.data import BUNDLED_BEHAVIORS
from s2e_core.measure.shortlist import PROBE_GAMMAS

BUDGET = ["--trials", "3", "--shortlist", "2"]


@pytest.fixture(scope="module")
def own(tmp_path_factory):
    """Examples of one's own: rows of a bundled contrast set in a file, fifteen a side."""
    rows = (BUNDLED_BEHAVIORS / "tone" / "contrast.jsonl").read_text(encoding="utf-8").splitlines()
    path = tmp_path_factory.mktemp("own") / "mine.jsonl"
    path.write_text("\n".join(rows[::8]), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def harmless(tmp_path_factory):
    path = tmp_path_factory.mktemp("harmless") / "everyday.txt"
    path.write_text("\n".join(f"Please work out {n} + {n + 3}." for n in range(2, 14)), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def few(small_behavior):
    return ["find", "--behavior", str(small_behavior), "--prompts", "3", "--max-new-tokens", "8", "--samples", "1"]


def record_of(capsys, *arguments):
    capsys.readouterr()
    assert main([*arguments, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_the_run_off_is_in_percent_and_the_rule_of_the_choice_is_told(few, capsys, monkeypatch):
    monkeypatch.setattr("s2e_core.measure.plan.MOST_ERROR", 1.0)  # as if three prompts could tell shares apart
    assert main([*few, *BUDGET, "--floor", "0.5"]) == 0
    out = capsys.readouterr().out
    run_off = out[out.index("Run-off") : out.index("The choice")].splitlines()
    assert any("100.0 % [100.0, 100.0]" in line for line in run_off) and "1 answer each" in run_off[0]
    assert "Chosen: the most attribute in the run-off among those that keep the floor by one standard error." in out


def test_where_the_divergence_decides_its_figures_and_the_reason_are_told(few, capsys, monkeypatch):
    monkeypatch.setattr("s2e_core.measure.plan.MOST_ERROR", -1.0)  # as if hardly any utility prompt were answered
    assert main([*few, *BUDGET, "--floor", "0.5"]) == 0
    out = capsys.readouterr().out
    run_off = out[out.index("Run-off") : out.index("The choice")].splitlines()
    assert run_off[1].endswith("KL") and all("]" in line.split()[-1] for line in run_off[3:] if line)
    assert "Best edit that has a KL of at most 0.05: " in out and "among those within that bound." in out
    assert (
        "tell shares of its utility apart" in out and "On held-out prompts the share of utility of the edit is" in out
    )
    record = record_of(capsys, *few, *BUDGET, "--floor", "0.5")
    assert all((one["kl"] is None) == (one["arm"] == "original") for one in record["finals"]["results"])


def test_what_was_screened_is_in_the_object(few, capsys):
    record = record_of(capsys, *few, *BUDGET, "--floor", "0.5")
    assert record["by_likelihood"] is None and len(record["screened"]) == len(PROBE_GAMMAS) + 2 * 2
    for each in record["screened"]:
        assert set(each) == {"trial", "family", "level", "margin", "wanted", "kl"}
        assert (each["level"] is None) == (each["family"] == "steering") == (each["trial"]["arm"] == "steering")
        for figure in (each["margin"], each["wanted"], each["kl"]):
            assert figure["low"] <= figure["value"] <= figure["high"]
    asked = [r["label"] for r in record["development"]["results"] if r["arm"] == "edit"]
    assert asked and set(asked) <= {each["trial"]["label"] for each in record["screened"]}


def test_own_examples_are_searched_by_likelihood_alone(own, harmless, tmp_path, capsys):
    recipe = tmp_path / "mine.safetensors"
    options = ["--kl", "0.04", "--harmless", str(harmless), "--recipe", str(recipe)]
    assert main(["find", "--contrast", str(own), *BUDGET, "--trials", "8", "--shortlist", "4", *options]) == 0
    out = capsys.readouterr().out
    assert "By likelihood alone" in out and "Best steering: steering" in out and "3 pairs" in out
    assert "a KL of at most 0.04" in out and "The edit is saved" in out
    edit = load_edit(recipe, base=load_model("bundled"))
    assert not edit.settings.needs_harmless or edit.provenance.harmless == "everyday.txt"


def test_the_object_of_a_search_by_likelihood_has_its_figures(own, tmp_path, capsys):
    recipe = tmp_path / "mine.safetensors"
    record = record_of(capsys, "find", "--contrast", str(own), *BUDGET, "--recipe", str(recipe))
    chosen = record["by_likelihood"]
    assert (chosen["fit"], chosen["chosen_by"], chosen["reported_on"]) == (9, 3, 3)
    assert chosen["kl_bound"] == 0.05
    for arm in ("edit", "steering"):
        assert chosen[arm]["kl"]["value"] <= 0.05 and chosen[arm]["margin"]["prompts"] == 3
        assert chosen[arm]["trial"] == record[arm]
        margins = [e["margin"]["value"] for e in record["screened"]
                   if e["trial"]["arm"] == arm and e["kl"]["value"] <= 0.05]  # fmt: skip
        assert max(margins) in [e["margin"]["value"] for e in record["screened"] if e["trial"] == record[arm]]
    lead = chosen["edit"]["margin"]["value"] - chosen["steering"]["margin"]["value"]
    assert chosen["lead"]["value"] == pytest.approx(lead, abs=1e-6)
    assert record["recipe"]["settings"] == record["edit"]["settings"]
    nothing = ("behavior", "floor", "held_out", "finals", "development", "lead", "answers")
    assert all(record[name] is None for name in nothing)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ([], "No examples were named"),
        (["--contrast", "OWN", "-o", "folder"], "--output is for answers"),
        (["--contrast", "OWN", "--ray"], "--ray is for answers"),
        (["--contrast", "OWN", "--held-out", "9"], "--held-out is for answers"),
        (["--behavior", "tone", "--kl", "0.1"], "--kl is for examples without measured prompts"),
        (["--behavior", "tone", "--harmless", "OWN"], "--harmless is for examples"),
        (["--contrast", "gone.jsonl"], "gone.jsonl does not exist"),
        (["--contrast", "OWN", "--harmless", "gone.txt"], "gone.txt does not exist"),
        (["--contrast", "FEW"], "at least 10 a side"),
    ],
)
def test_options_of_the_other_search_and_too_few_examples_are_a_sentence(own, tmp_path, options, said, capsys):
    few = tmp_path / "few.jsonl"
    lines = own.read_text(encoding="utf-8").splitlines()
    few.write_text("\n".join([*lines[:6], *lines[-6:]]), encoding="utf-8")
    named = {"OWN": str(own), "FEW": str(few)}
    assert main(["find", *(named.get(option, option) for option in options)]) == 2
    assert said in capsys.readouterr().err


@pytest.mark.parametrize("kl", ["0", "-1", "much", "inf"])
def test_a_bound_of_kl_is_a_positive_number(own, kl):
    with pytest.raises(SystemExit):
        main(["find", "--contrast", str(own), "--kl", kl])
