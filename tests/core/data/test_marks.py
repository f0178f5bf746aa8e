"""Prompts that were rendered in a chat template already: noticed, and taken apart on request."""

import json

import pytest

from s2e_core import ContrastSet, Example
from s2e_core.cli import main
from s2e_core.data import lint, parse_examples
from s2e_core.data.marks import find_marks, take_off_marks
from s2e_core.model import example_ids

RENDERED = {
    "chatml": ("<|im_start|>system\nBe kind.<|im_end|>\n<|im_start|>user\nHello<|im_end|>\n<|im_start|>assistant\n"
               "Hi there<|im_end|>\n<|im_start|>user\nAnd now?<|im_end|>\n<|im_start|>assistant\n", "Tea.<|im_end|>"),
    "llama 2": ("<s>[INST] <<SYS>>\nBe kind.\n<</SYS>>\n\nHello [/INST] Hi there </s><s>[INST] And now? [/INST]",
                " Tea.</s>"),
    "llama 3": ("<|begin_of_text|><|start_header_id|>system<|end_header_id|>\n\nBe kind.<|eot_id|>"
                "<|start_header_id|>user<|end_header_id|>\n\nHello<|eot_id|><|start_header_id|>assistant"
                "<|end_header_id|>\n\nHi there<|eot_id|><|start_header_id|>user<|end_header_id|>\n\nAnd now?<|eot_id|>"
                "<|start_header_id|>assistant<|end_header_id|>\n\n", "Tea.<|eot_id|>"),
    "gemma": ("<bos><start_of_turn>system\nBe kind.<end_of_turn>\n<start_of_turn>user\nHello<end_of_turn>\n"
              "<start_of_turn>model\nHi there<end_of_turn>\n<start_of_turn>user\nAnd now?<end_of_turn>\n"
              "<start_of_turn>model\n", "Tea.<end_of_turn>\n"),
    "zephyr": ("<|system|>\nBe kind.</s>\n<|user|>\nHello</s>\n<|assistant|>\nHi there</s>\n<|user|>\nAnd now?</s>\n"
               "<|assistant|>\n", "Tea.</s>"),
    "deepseek": ("Be kind.<｜User｜>Hello<｜Assistant｜>Hi there<｜end▁of▁sentence｜><｜User｜>And now?<｜Assistant｜>",
                 "Tea.<｜end▁of▁sentence｜>"),
}  # fmt: skip
EARLIER = (("user", "Hello"), ("assistant", "Hi there"))


@pytest.mark.parametrize("name", RENDERED)
def test_a_rendered_prompt_is_taken_apart_into_its_turns(name):
    prompt, response = RENDERED[name]
    bare = take_off_marks(Example(prompt, response, row=4))
    assert (bare.system, bare.earlier) == ("Be kind.", EARLIER)
    assert (bare.prompt, bare.response, bare.row) == ("And now?", "Tea.", 4)
    whole = take_off_marks(Example("", prompt + response))  # the whole chat in one column
    assert (whole.prompt, whole.response) == ("And now?", "Tea.")


@pytest.mark.parametrize("text", ["Is <s>this</s> struck out?", "a <| b |> c", "[1] INST", "x < y", "", "I <3 [you]"])
def test_ordinary_text_has_no_marks_and_stays(text):
    assert find_marks([text]) is None
    example = Example(text, "Yes.")
    assert take_off_marks(example) is example


def test_an_end_mark_alone_is_one():
    assert take_off_marks(Example("Who?", "Me.</s>")).response == "Me."


def test_an_example_that_cannot_be_taken_apart_stays_as_it_is():
    odd = Example("<|im_start|>assistant\nI begin.<|im_end|>\n<|im_start|>user\nWhy?<|im_end|>", "So.")
    assert take_off_marks(odd) is odd


def rendered_set():
    marked = [Example(f"<|im_start|>user\nQuestion {n}?<|im_end|>\n", f"Answer {n}.") for n in range(9)]
    return ContrastSet(tuple(marked), tuple(Example(f"Question {n}?", f"No {n}.") for n in range(9)))


def test_the_linter_calls_marks_a_problem_where_a_template_is_put_around_them(llama, gpt2):
    for loaded, is_problem in ((None, True), (llama, True), (gpt2, False)):
        found = [f for f in lint(rendered_set(), loaded) if "marks of a chat template" in f.sentence]
        assert bool(found) is is_problem
        assert all(f.severity == "problem" and f.sentence.startswith("9 examples contain") for f in found)


def test_the_command_offers_to_take_the_marks_off_and_does(tmp_path, capsys, llama):
    path, out = tmp_path / "a.jsonl", tmp_path / "b.jsonl"
    prompt, response = RENDERED["chatml"]
    rows = [{"prompt": prompt, "chosen": response, "rejected": "Nothing.<|im_end|>"}] * 2
    path.write_text("\n".join(json.dumps(row) for row in rows))
    assert main(["data", str(path)]) == 0 and "--take-off-marks" in capsys.readouterr().out
    assert main(["data", str(path), "--take-off-marks", "-o", str(out)]) == 0
    assert "taken off 4 examples" in capsys.readouterr().out
    reading = parse_examples(out.read_text(), name="b", suffix=".jsonl")
    ids, start = example_ids(llama.tokenizer, reading.positive[0])
    plain = Example("And now?", "Tea.", "Be kind.", EARLIER)
    assert (ids, start) == example_ids(llama.tokenizer, plain)
