"""Chat templates: arguments, dates, prompts that get lost, and thoughts that a template opens."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from s2e_core import ContrastSet, Example, ModelLoadError, build_edit, load_edit, load_model, save_edit
from s2e_core.cache.key import ExtractionKey
from s2e_core.cli import main
from s2e_core.data import lint
from s2e_core.loading import read_template_args, template_arguments, with_template_args
from s2e_core.method import extract
from s2e_core.model import LoadedModel, example_ids, prompt_ids
from s2e_core.responses import own_responses
from s2e_core.settings import EditSettings
from tests.core.chain import EXAMPLES

PLAIN = "{% for m in messages %}[{{ m['role'] }}]{{ m['content'] }}{% endfor %}[assistant]"
SWITCH = PLAIN + "{% if enable_thinking is defined and not enable_thinking %}<think>\n\n</think>\n\n{% endif %}"
OPEN = PLAIN + "{% if enable_thinking is not defined or enable_thinking %}<think>\n{% endif %}"
DATED = (
    "{% if not date_string is defined %}{% set date_string = strftime_now('%d %b %Y') %}{% endif %}{{ date_string }}"
    + PLAIN
)


@pytest.fixture
def folder(llama: LoadedModel, tmp_path: Path) -> Path:
    return shutil.copytree(llama.source, tmp_path / "model")


def load(folder: Path, template: str, **args: Any) -> LoadedModel:
    settings = json.loads((folder / "tokenizer_config.json").read_text())
    settings.pop("chat_template", None)
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    (folder / "chat_template.jinja").write_text(template)
    return load_model(folder, device="cpu", template_args=args)


def rendered(loaded: LoadedModel, prompt: str = "Hello") -> str:
    return str(loaded.tokenizer.decode(prompt_ids(loaded.tokenizer, prompt)))


def test_arguments_reach_every_prompt_and_without_them_nothing_changes(folder):
    assert rendered(load(folder, SWITCH)).endswith("[assistant]")
    assert rendered(load(folder, SWITCH, enable_thinking=True)).endswith("[assistant]")
    loaded = load(folder, SWITCH, enable_thinking=False)
    assert rendered(loaded).endswith("[assistant]<think>\n\n</think>\n\n")
    assert loaded.template == '{"enable_thinking": false}'


@pytest.mark.parametrize("value", [True, None, 7, -1.5, 'it\'s "so"\n{{ é }}', ["a", 1], {"a": [True, None]}])
def test_values_of_every_kind_arrive_as_they_are(folder, value):
    loaded = load(folder, "{{ extra | tojson }}" + PLAIN, extra=value)
    assert rendered(loaded).startswith(json.dumps(value, ensure_ascii=False))


def test_arguments_that_a_template_lacks_are_a_sentence_that_names_those_it_has(folder):
    with pytest.raises(ModelLoadError, match=r"no argument thinking\. It has enable_thinking\."):
        load(folder, SWITCH, thinking=False)
    with pytest.raises(ModelLoadError, match=r"no argument messages\. It has none\."):
        load(folder, PLAIN, messages=[])
    (folder / "chat_template.jinja").unlink()
    with pytest.raises(ModelLoadError, match="has no chat template"):
        load_model(folder, device="cpu", template_args={"enable_thinking": False})


def test_arguments_are_part_of_what_identifies_an_extraction_and_of_the_recipe(folder, tmp_path):
    plain, without = load(folder, SWITCH), load(folder, SWITCH, enable_thinking=False)
    assert ExtractionKey(plain, EXAMPLES).name != ExtractionKey(without, EXAMPLES).name
    assert plain.text_fingerprint == plain.fingerprint != without.text_fingerprint
    edit = build_edit(extract(without, EXAMPLES), EditSettings(0.1, 0.1, 0.5))
    assert edit.provenance.template == '{"enable_thinking": false}'
    assert (
        load_edit(save_edit(edit, tmp_path / "edit.safetensors"), base=without).provenance.to_json()
        == edit.provenance.to_json()
    )


def test_a_date_is_always_the_same_and_recorded(folder):
    loaded = load(folder, DATED)
    assert rendered(loaded).startswith("01 Jan 2026")
    assert loaded.template == '{"strftime_now": "2026-01-01"}'
    assert any("writes the date" in warning and "01 January 2026" in warning for warning in loaded.warnings)
    assert rendered(load(folder, "{{ strftime_now(f or '%-d/%m/%y %H:%M') }}" + PLAIN)).startswith("1/01/26 12:00")
    assert rendered(load(folder, DATED, date_string="today")).startswith("today")


def test_a_template_that_loses_the_prompt_is_a_warning(folder):
    lost = [it for it in load(folder, "{{ messages[0]['role'] }}:").warnings if "changes or drops" in it]
    upper = [it for it in load(folder, PLAIN.replace("m['content']", "m['content'] | upper")).warnings if "drops" in it]
    assert len(lost) == len(upper) == 1
    assert not any("drops" in it for it in load(folder, PLAIN).warnings)


def test_a_template_that_opens_a_thought_is_a_warning_that_names_the_switch(folder):
    (said,) = [warning for warning in load(folder, OPEN).warnings if "opens a thought" in warning]
    assert "enable_thinking" in said
    assert not any("opens a thought" in it for it in load(folder, OPEN, enable_thinking=False).warnings)


def contrast(response: str) -> ContrastSet:
    sides = [[Example(f"{side} {n}", f"{response} {side} {n}.") for n in range(8)] for side in ("yes", "no")]
    return ContrastSet(tuple(sides[0]), tuple(sides[1]), "thoughts")


def test_an_open_thought_is_not_opened_twice_by_a_response(folder):
    loaded = load(folder, OPEN)
    ids, start = example_ids(loaded.tokenizer, Example("Hello", "<think>\nHm.</think>Yes."))
    assert loaded.tokenizer.decode(ids).endswith("[assistant]<think>\nHm.</think>Yes.")
    assert loaded.tokenizer.decode(ids[start:]) == "Hm.</think>Yes."
    closed = load(folder, OPEN, enable_thinking=False)
    ids, start = example_ids(closed.tokenizer, Example("Hello", "<think>\nHm.</think>Yes."))
    assert closed.tokenizer.decode(ids[start:]) == "<think>\nHm.</think>Yes."


def test_the_linter_tells_responses_that_do_not_end_the_thought(folder):
    loaded = load(folder, OPEN)

    def said(response: str, model: LoadedModel = loaded) -> list[str]:
        return [it.sentence for it in lint(contrast(response), model) if "opens a thought" in it.sentence]

    assert "16 examples do not end it" in said("Sure,")[0]
    assert not said("Hm.</think>Sure,") and not said("<think>Hm.</think>Sure,")
    assert not said("Sure,", load(folder, OPEN, enable_thinking=False))


def test_own_answers_know_that_they_begin_in_a_thought(folder):
    (answer,) = own_responses(load(folder, OPEN), [Example("Hello", "")], max_new_tokens=4)
    assert answer.in_thought and answer.marked.startswith("<think>")


def test_the_commands_take_arguments_as_json(folder, capsys):
    load(folder, SWITCH)
    options = ["info", "--model", str(folder), "--device", "cpu", "--json"]
    assert main([*options, "--template-args", '{"enable_thinking": false}']) == 0
    assert json.loads(capsys.readouterr().out)["model"]["template"] == {"enable_thinking": False}
    for wrong in ("{", "[1]", '{"enable_thinking": NaN}'):
        with pytest.raises(SystemExit):
            main([*options, "--template-args", wrong])
        assert "is not a JSON object" in capsys.readouterr().err


def test_other_arguments_share_the_model_and_leave_it_as_it_was(folder):
    given = load(folder, OPEN + "{{ style }}", style="short")
    other = with_template_args(given, {"enable_thinking": False})
    again = with_template_args(other, {"enable_thinking": True, "style": "long"})
    assert rendered(given).endswith("[assistant]<think>\nshort") and rendered(other).endswith("[assistant]")
    assert rendered(again).endswith("[assistant]<think>\nlong")
    assert other.model is given.model and other.lock is given.lock
    assert len({it.text_fingerprint for it in (given, other, again)}) == 3 and other.fingerprint == given.fingerprint
    assert [any("opens a thought" in it for it in one.warnings) for one in (given, other, again)] == [True, False, True]
    assert template_arguments(given) == template_arguments(again) == ("enable_thinking", "style")
    same = load(folder, OPEN + "{{ style }}", enable_thinking=False)
    assert (same.template, same.tokenizer.chat_template) == (other.template, other.tokenizer.chat_template)


def test_a_date_stays_fixed_with_other_arguments(folder):
    loaded = load(folder, DATED)
    assert rendered(with_template_args(loaded, {"date_string": "today"})).startswith("today")
    assert rendered(with_template_args(with_template_args(loaded, {"date_string": "today"}), {})).startswith("01 Jan")


def test_arguments_with_which_a_template_cannot_be_rendered_are_a_sentence(folder):
    loaded = load(folder, PLAIN + "{{ 'x' * times }}", times=1)
    deep = read_template_args('{"times": ' + "[" * 200 + "]" * 200 + "}")
    for args in ({"times": "many"}, deep, {"time": 1}):
        with pytest.raises(ModelLoadError, match="fails with these arguments|has no argument time"):
            with_template_args(loaded, args)
    assert rendered(with_template_args(loaded, {"times": 3})).endswith("xxx")
    with pytest.raises(ModelLoadError, match="is not a JSON object"):
        read_template_args('{"times": 1e999}')
