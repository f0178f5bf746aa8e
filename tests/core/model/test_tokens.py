"""From text to ids: templates, spans and beginnings of text."""

import pytest

from s2e_core import Example
from s2e_core.model import example_ids, prompt_ids, response_text
from s2e_core.text import thinking
from tests.families import tiny_tokenizer

SYSTEMLESS = (
    "{% for m in messages %}{% if m.role == 'system' %}{{ raise_exception('no system role') }}{% endif %}"
    "[{{ m.content }}]{% endfor %}"
)
SILENT = "{% for m in messages %}{% if m.role == 'user' %}[{{ m.content }}]{% endif %}{% endfor %}"


def test_a_templated_prompt_has_at_most_one_beginning_of_text():
    tokenizer = tiny_tokenizer(chat=True)
    assert prompt_ids(tokenizer, "Hello").count(tokenizer.bos_token_id) <= 1


def test_a_rendered_prompt_is_never_stripped():
    tokenizer = tiny_tokenizer(chat=True)
    tokenizer.chat_template = "{{ messages[0].content }}{{ '  \\n' }}"
    assert tokenizer.decode(prompt_ids(tokenizer, "Hello")) == "Hello  \n"


def test_the_prompt_ids_are_a_prefix_of_the_example_ids_and_the_rest_is_the_response():
    for chat in (True, False):
        tokenizer = tiny_tokenizer(chat=chat)
        example = Example("How are you?", " Fine, thanks!")
        ids, start = example_ids(tokenizer, example)
        assert ids[:start] == prompt_ids(tokenizer, example.prompt)
        assert tokenizer.decode(ids[start:]) == example.response


def test_plain_text_is_continued_after_a_space():
    tokenizer = tiny_tokenizer(chat=False)
    ids, start = example_ids(tokenizer, Example("How are you?", "Fine"))
    assert tokenizer.decode(ids[start:]) == " Fine"
    ids, start = example_ids(tokenizer, Example("How are you?\n", "Fine"))
    assert tokenizer.decode(ids[start:]) == "Fine"


@pytest.mark.parametrize("template", [SYSTEMLESS, SILENT])
def test_a_system_text_is_folded_into_the_prompt_where_the_template_has_no_place_for_it(template):
    tokenizer = tiny_tokenizer(chat=True)
    tokenizer.chat_template = template
    assert tokenizer.decode(prompt_ids(tokenizer, "Hello", "Be brief.")) == "[Be brief.\n\nHello]"


def test_a_system_text_goes_before_plain_text():
    tokenizer = tiny_tokenizer(chat=False)
    assert tokenizer.decode(prompt_ids(tokenizer, "Hello", "Be brief.")).endswith("Be brief.\n\nHello")


def test_a_response_keeps_its_think_tags_even_where_they_are_special_tokens():
    tokenizer = tiny_tokenizer()
    plain = tokenizer("well, yes")["input_ids"]
    assert response_text(tokenizer, plain) == tokenizer.decode(plain, skip_special_tokens=True)
    tokenizer.add_special_tokens({"additional_special_tokens": ["<think>", "</think>", "<tool>"]})
    ids = [*tokenizer("<think>well</think><tool>Yes.", add_special_tokens=False)["input_ids"], tokenizer.eos_token_id]
    assert "<think>" not in tokenizer.decode(ids, skip_special_tokens=True)
    thought, answer = thinking(response_text(tokenizer, ids))
    assert (thought.strip(), answer.strip()) == ("well", "Yes.")
