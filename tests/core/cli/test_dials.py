"""The families of edits on the command line: which options go together, and what a gate is fitted on."""

import csv
import io
import json

import pytest

from s2e_core import load_edit, load_model
from s2e_core.cli import dials, main, parse, terminal
from s2e_core.cli.dials import UNTUNED, UNTUNED_GATE, adjust_settings, check_settings, parse_settings
from s2e_core.errors import SettingsError
from s2e_core.measure import settings_label
from s2e_core.settings import EditSettings, Gate


def given(words):
    return parse(["scores", "--contrast", "mine.jsonl", *words.split()])


def label(words, suggested=UNTUNED):
    return settings_label(adjust_settings(given(words), None, suggested), short=True)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("", "ρ attn 0.3, ρ mlp 0.8, α 0.5"),
        ("--family elastic-net --rho-mlp off", "ρ attn 0.3, ρ mlp off, α 0.5"),
        ("--gate 0.4", "γ 0.4, μ 10"),
        ("--gate 0.4 --mu 0 --gate-size 100", "γ 0.4, μ 0, 100 components"),
        ("--gate 0.4 --gate-size all --strength 2", "γ 0.4, μ 10, strength 2"),
        ("--family baked", "γ 0.5, μ 0"),
        ("--family gated --mu 3", "γ 0.5, μ 3"),
        ("--family sum", "ρ attn 0.3, ρ mlp 0.8, α 0.5 + γ 0.5, μ 10"),
        ("--gate 0.4 --rho-attn off", "ρ attn off, ρ mlp 0.8, α 0.5 + γ 0.4, μ 10"),
        ("--gate 0.4 --heads 3", "ρ attn 0.3, ρ mlp 0.8, α 0.5 + γ 0.4, μ 10"),
        ("--protect 4", "ρ attn 0.3, ρ mlp 0.8, α 0.5, protect 4"),
        ("--gate 1 --protect 4", "γ 1, μ 10, protect 4"),
    ],
)
def test_the_dials_say_which_family_it_is(words, said):
    assert label(words) == said


def test_a_suggested_gate_stays_and_its_dials_are_adjusted():
    gated = EditSettings(None, None, 0.5, strength=0.7, gate=Gate(0.3, 3.0, 50), protect=2)
    assert label("", gated) == "γ 0.3, μ 3, 50 components, protect 2, strength 0.7"
    assert label("--mu 1 --gate-size all --protect 0", gated) == "γ 0.3, μ 1, strength 0.7"
    assert label("--rho-mlp 0.5", gated).startswith("ρ attn 0.3, ρ mlp 0.5, α 0.5 + γ 0.3")
    assert label("--family elastic-net --protect 0 --strength 1", gated) == "ρ attn 0.3, ρ mlp 0.8, α 0.5"
    assert label("--family gated", EditSettings(0.1, None, 0.5, gate=Gate(0.3))) == f"γ 0.3, μ {UNTUNED_GATE.mu:g}"


def test_a_strength_that_was_tuned_for_an_elastic_net_does_not_scale_a_gate_alone():
    tuned = EditSettings(None, 0.45, 0.4, strength=0.5)
    assert adjust_settings(given("--gate 1"), None, tuned).strength == 1
    assert adjust_settings(given("--gate 1 --alpha 0.4"), None, tuned).strength == 0.5


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("--mu 3", "--mu is a dial of a gate"),
        ("--gate-size 3", "--gate-size is a dial of a gate"),
        ("--family gated --heads 3", "--heads is no dial of the family gated"),
        ("--family elastic-net --gate 1", "--gate is no dial of the family elastic-net"),
        ("--family baked --mu 3", "Baked steering has mu 0"),
        ("--family gated --mu 0", "Use the family baked"),
        ("--gate 0", "gamma is 0"),
        ("--gate 1 --mu -1", "mu is -1"),
        ("--gate 1 --mu nan", "mu is nan"),
        ("--harmless HERE", "--harmless is for a gate"),
        ("--gate 1 --harmless gone.txt", "gone.txt does not exist"),
    ],
)
def test_dials_that_do_not_go_together_are_a_sentence(words, said, tmp_path):
    (tmp_path / "here.txt").write_text("Hello\n", encoding="utf-8")
    with pytest.raises(SettingsError, match=said):
        check_settings(given(words.replace("HERE", str(tmp_path / "here.txt"))))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("off,0.45,0.4,0.5", "ρ attn off, ρ mlp 0.45, α 0.4, strength 0.5"),
        ("gate,0.5", "γ 0.5, μ 10"),
        ("gate,0.5,0", "γ 0.5, μ 0"),
        ("gate,0.5,3,100", "γ 0.5, μ 3, 100 components"),
        ("0.3,off,0.4+gate,0.5,3", "ρ attn 0.3, ρ mlp off, α 0.4 + γ 0.5, μ 3, strength 1"),
    ],
)
def test_an_edit_is_one_word_for_evaluate(text, said):
    assert settings_label(parse_settings(text)) == said


@pytest.mark.parametrize(
    "text", ["", "1", "off,0.5", "0.3,0.3,off", "gate,", "gate,x", "gate,1,1,1,1", "gate,1,1,0", "gate,-1", "a+b",
             "gate,1+gate,1", "0.3,0.3,0.5+", "0.3,0.3,1.5"],
)  # fmt: skip
def test_a_word_that_is_no_edit_is_refused(text, capsys):
    with pytest.raises(SystemExit):
        parse(["evaluate", "--behavior", "tone", "--settings", text])
    assert "--settings" in capsys.readouterr().err


@pytest.fixture
def texts_of(monkeypatch):
    """The texts that every extraction got, with the extraction itself unchanged."""
    got, plain = [], terminal.extract_cached

    def watched(*arguments, texts=None, **options):
        got.append(texts)
        return plain(*arguments, texts=texts, **options)

    monkeypatch.setattr(terminal, "extract_cached", watched)
    return got


def test_a_gate_alone_is_a_recipe_that_names_its_harmless_texts(tmp_path, capsys, texts_of):
    path = tmp_path / "gated.safetensors"
    assert main(["edit", "--behavior", "safety", "--gate", "0.5", "--mu", "10", "-o", str(path)]) == 0
    assert "gated steering: γ 0.5, μ 10; harmless texts: the utility prompts of safety" in capsys.readouterr().out
    edit = load_edit(path, base=load_model("bundled"))
    assert edit.settings.family == "gated steering" and edit.provenance.harmless == "the utility prompts of safety"
    assert edit.count("neurons") > 2000 and len(texts_of) == 1 and texts_of[0] is not None


def test_the_papers_edit_is_made_without_texts(tmp_path, capsys, texts_of):
    assert main(["edit", "--behavior", "safety", "-o", str(tmp_path / "a.safetensors")]) == 0
    assert main(["scores", "--behavior", "safety", "--top", "3"]) == 0
    out = capsys.readouterr().out
    assert texts_of == [None, None] and "harmless" not in out and "fires" not in out


def test_own_harmless_prompts_replace_those_of_the_behaviour_and_of_the_program(tmp_path, texts_of):
    harmless = tmp_path / "everyday.txt"
    harmless.write_text("How do I clean the kitchen?\nCalculate 20 - 5.\n", encoding="utf-8")
    contrast = tmp_path / "mine.jsonl"
    source = dials.load_chosen_behavior(parse(["scores", "--behavior", "tone"])).contrast
    rows = [("positive", one) for one in source.positive[:6]] + [("negative", one) for one in source.negative[:6]]
    lines = [json.dumps({"prompt": e.prompt, "response": e.response, "label": side}) for side, e in rows]
    contrast.write_text("\n".join(lines), encoding="utf-8")
    gate = ["--gate", "0.5", "--gate-size", "9", "--harmless", str(harmless), "-o", str(tmp_path / "a.safetensors")]
    assert main(["edit", "--behavior", "tone", *gate]) == main(["edit", "--contrast", str(contrast), *gate]) == 0
    assert [(len(texts.off), texts.harmless) for texts in texts_of] == [(1, "everyday.txt")] * 2
    edit = load_edit(tmp_path / "a.safetensors")
    assert edit.count("heads") + edit.count("neurons") == 9


def test_scores_say_when_a_gate_fires(capsys):
    options = ["scores", "--behavior", "safety", "--gate", "0.5", "--gate-size", "20"]
    assert main([*options, "--csv", "-"]) == 0
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    on, off = ([float(row[name]) for row in rows] for name in ("fires_on", "fires_off"))
    assert [abs(value) for value in on] == sorted(map(abs, on), reverse=True)
    assert sum(value != 0 for value in on) == 20 and sum(on) > 2 * abs(sum(off))
    assert main([*options, "--top", "2"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 3 and "fires_on  fires_off" in lines[0]


@pytest.mark.parametrize("words", ["--gate 0.5", "--family sum", "--protect 3"])
def test_a_file_from_elsewhere_has_no_texts_for_a_gate(words, tmp_path, monkeypatch, capsys):
    (tmp_path / "v.npy").touch()
    monkeypatch.setattr(terminal, "load_model", lambda *_, **__: pytest.fail("a model was loaded"))
    assert main(["import", str(tmp_path / "v.npy"), *words.split(), "-o", str(tmp_path / "a.safetensors")]) == 2
    said = capsys.readouterr().err
    assert "a file from elsewhere brings none" in said and words.split()[0] in said
