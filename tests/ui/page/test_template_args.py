"""Arguments of a chat template that a visitor sets on the page: whom they reach, what they change, what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import app
from components.page.options import options, store_of
from components.page.view import opening_view, template_field
from components.shared.answers import Answers
from components.shared.brought import CORRECTIONS
from components.shared.choices import Choice, extract
from components.shared.session import OWN, Session
from components.shared.store import ModelStore
from components.studio.place import place_of, session_of
from components.take_home.copying import as_command, as_python
from s2e_core import ModelLoadError
from s2e_core.model import LoadedModel, prompt_ids
from tests.families import saved_folder
from tests.ui.running import first_session, shared_store

SWITCH = (
    "{% for m in messages %}{{ m['content'] }}{% endfor %}"
    "{% if enable_thinking is defined and not enable_thinking %}(no thought){% endif %}{{ style }}"
)
POSITIVE = "\n".join(f"Question {k}? | Yes, gladly {k}." for k in range(4))
NEGATIVE = "\n".join(f"Question {k}? | No, never {k}." for k in range(4))
OFF = '{"enable_thinking": false}'


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> ModelStore:
    """The operator has set one argument of the model's template, and left the other as it is."""
    folder = saved_folder(tmp_path_factory.mktemp("models") / "thinker", "llama")
    settings = json.loads((folder / "tokenizer_config.json").read_text())
    settings.pop("chat_template", None)
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    (folder / "chat_template.jinja").write_text(SWITCH)
    arguments = ["--model", str(folder), "--device", "cpu", "--template-args", '{"style": "!"}', "--no-cache"]
    return store_of(options(arguments), tmp_path_factory.mktemp("work"))


def chosen(store: ModelStore, template: str | None) -> Choice:
    """A choice as the page sends it: own lines, no file, nothing corrected."""
    own = (POSITIVE, NEGATIVE, None, None, *(None for _ in CORRECTIONS), Answers())
    return Choice.of(store.first_model, OWN, False, template, *own)


def visit(store: ModelStore, template: str | None = "") -> Session:
    *_, session = extract(store, chosen(store, template))
    assert isinstance(session, Session)
    return session


def rendered(loaded: LoadedModel) -> str:
    return str(loaded.tokenizer.decode(prompt_ids(loaded.tokenizer, "Hello"), skip_special_tokens=True))


def test_arguments_reach_the_visitor_who_set_them_and_nobody_else(store: ModelStore) -> None:
    mine, other = visit(store, OFF), visit(store)
    set_, plain = store.model(mine.model), store.model(other.model)
    assert rendered(set_) == "Hello(no thought)!" and rendered(plain) == "Hello!"
    assert set_.model is plain.model and set_.lock is plain.lock
    assert mine.scored.key != other.scored.key
    assert mine.edit.provenance.template == '{"enable_thinking": false, "style": "!"}'
    assert rendered(store.model(visit(store, '{"style": "?"}').model)) == "Hello?"


def test_the_place_of_a_tab_and_what_the_page_shows_keep_them(store: ModelStore) -> None:
    session = visit(store, '{ "enable_thinking":false }')
    again = session_of(store, json.loads(json.dumps(place_of(session))))
    assert again.model == session.model and again.scored is session.scored
    view = opening_view(store, again)
    assert view["model"] == "thinker" and view["template"]["value"] == OFF
    for blank in (None, " ", "{}"):
        assert opening_view(store, visit(store, blank))["template"]["value"] == ""


def test_the_field_is_there_where_the_template_takes_arguments(store: ModelStore) -> None:
    shown = template_field(store, store.first_model)
    assert shown["visible"] and '{"enable_thinking": false}; it takes enable_thinking, style' in shown["info"]
    assert template_field(shared_store(), first_session().model) == {"visible": False}
    assert template_field(store, "owner/not-loaded") == {"visible": False}
    field = next(it for it in app.build(store).blocks.values() if getattr(it, "elem_id", "") == "template")
    assert field.visible and field.info == shown["info"]


@pytest.mark.parametrize(
    ("template", "said"),
    [
        ("enable_thinking", "enable_thinking is not a JSON object. Write names and values, as in"),
        ("[1]", "is not a JSON object"),
        ('{"thinking": false}', "has no argument thinking. It has enable_thinking, style."),
        ('{"style": "' + "x" * 600 + '"}', "have 613 characters; at most 500 are read"),
    ],
)
def test_what_is_no_argument_gets_a_sentence(store: ModelStore, template: str, said: str) -> None:
    with pytest.raises(ModelLoadError, match=said):
        visit(store, template)


def test_what_is_copied_sets_them_too(store: ModelStore) -> None:
    session = visit(store, OFF)
    assert "template_args={'style': '!', 'enable_thinking': False})" in as_python(store, session)
    assert """--template-args '{"style": "!", "enable_thinking": false}'""" in as_command(store, session)


def test_models_that_go_take_their_arguments_along(store: ModelStore, tmp_path: Path) -> None:
    few = ModelStore({"bundled": "bundled", **store.sources}, tmp_path, device="cpu")
    few.model("bundled")
    name = chosen(store, OFF).model
    few.model(name)
    assert few.is_loaded(name) and len(few._variants) == 1
    for other in ("one", "two"):
        few.sources = {**few.sources, other: "bundled"}
        few.model(other)
    assert not few.is_loaded(name) and not few._variants
