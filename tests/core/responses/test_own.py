"""The model's own responses: aligned with their prompts, stopped and resumed without a loss, never of another run."""

import threading
from dataclasses import replace

import pytest

from s2e_core import Cancelled, ContrastDataError, Example, SettingsError, generate_responses
from s2e_core.responses import own_responses
from s2e_core.text import opens_thought

PROMPTS = [Example(f"Tell me {'more ' * (n % 3)}about {n}", "") for n in range(6)]
ASKED = {"max_new_tokens": 5, "seed": 3}


@pytest.fixture
def path(tmp_path):
    return tmp_path / "responses.jsonl"


def texts(responses):
    return [response.example.response for response in responses]


def stop_after(n):
    def progress(done, total):
        if done >= n:
            raise Cancelled("Stopped.")

    return progress


def test_every_prompt_gets_the_response_it_has_alone(llama):
    made = own_responses(llama, PROMPTS, **ASKED)
    assert [r.example.prompt for r in made] == [p.prompt for p in PROMPTS]
    assert tuple(texts(made)) == generate_responses(llama, [p.prompt for p in PROMPTS], **ASKED)
    assert all(0 < r.n_tokens <= 5 and r.finished == (r.n_tokens < 5) and r.n_thought == 0 for r in made)


def test_a_stopped_run_goes_on_where_it_was(llama, path):
    with pytest.raises(Cancelled):
        own_responses(llama, PROMPTS, path=path, batch_size=2, progress=stop_after(2), **ASKED)
    assert len(path.read_text().splitlines()) == 3
    with path.open("a") as file:
        file.write('{"i": 5, "te')  # killed while it wrote
    seen = []
    made = own_responses(llama, PROMPTS, path=path, batch_size=2, progress=lambda *n: seen.append(n), **ASKED)
    assert seen == [(2, 6), (4, 6), (6, 6)]
    assert texts(made) == texts(own_responses(llama, PROMPTS, **ASKED))
    assert texts(own_responses(llama, PROMPTS, path=path, progress=stop_after(7), **ASKED)) == texts(made)


def test_a_stop_event_ends_the_run(llama):
    stop = threading.Event()
    stop.set()
    with pytest.raises(Cancelled):
        own_responses(llama, PROMPTS, stop=stop, **ASKED)


def test_a_file_of_another_run_is_refused_and_stays(llama, path):
    own_responses(llama, PROMPTS, path=path, **ASKED)
    content = path.read_bytes()
    for prompts, changed in ((PROMPTS[:3], {}), (PROMPTS, {"seed": 4}), (PROMPTS, {"temperature": 0.5})):
        with pytest.raises(ContrastDataError, match="other responses"):
            own_responses(llama, prompts, path=path, **ASKED | changed)
    assert path.read_bytes() == content


@pytest.mark.parametrize("content", ["a diary\n", '{"format": "another"}\n', "a diary"])
def test_a_file_of_something_else_is_refused_and_stays(llama, path, content):
    path.write_text(content)
    with pytest.raises(ContrastDataError):
        own_responses(llama, PROMPTS, path=path, **ASKED)
    assert path.read_text() == content


@pytest.mark.parametrize("line", ['{"i": 99, "text": ""}\n', "[]\n", "no JSON\n"])
def test_a_damaged_file_gets_a_sentence(llama, path, line):
    own_responses(llama, PROMPTS, path=path, **ASKED)
    path.write_text(path.read_text() + line)
    with pytest.raises(ContrastDataError, match="damaged"):
        own_responses(llama, PROMPTS, path=path, **ASKED)


def test_a_first_line_cut_short_is_begun_again(llama, path):
    path.write_text('{"format": "steer2edit ow')
    assert len(own_responses(llama, PROMPTS, path=path, **ASKED)) == len(path.read_text().splitlines()) - 1


def test_prompts_that_cannot_be_answered_are_refused_before_anything_runs(llama, path):
    for prompts in ([], [*PROMPTS, Example("word " * llama.model.config.max_position_embeddings, "")]):
        with pytest.raises(SettingsError):
            own_responses(llama, prompts, path=path, **ASKED)
    assert not path.exists()


def test_a_response_to_a_prompt_that_opens_the_think_tag_begins_in_the_thought(llama, monkeypatch):
    template = llama.tokenizer.chat_template + "{% if add_generation_prompt %}<think>{% endif %}"
    monkeypatch.setattr(llama.tokenizer, "chat_template", template)
    made = own_responses(llama, PROMPTS, **ASKED)
    assert all(r.in_thought and r.n_thought > 0 and r.marked == f"<think>{r.example.response}" for r in made)
    assert replace(made[0], in_thought=False).marked == made[0].example.response


def test_a_thought_is_open_until_its_tag_is_closed():
    assert opens_thought("Assistant: <think>\n") and opens_thought("<think>a</think><think>")
    assert not opens_thought("<think>\n\n</think>\n\n") and not opens_thought("Think!")
