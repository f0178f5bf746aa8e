"""A push from the page: an export on the loopback Hub, and a token that is nowhere but in one header of one request."""

from __future__ import annotations

import base64
import json
import logging
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import closing
from pathlib import Path

import gradio as gr
import pytest
from playwright.sync_api import Browser, Page, expect
from starlette.middleware import Middleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send

import app
from components.page.look import page_routes
from components.page.options import options, store_of
from components.shared.errors import told
from components.shared.session import Session
from components.shared.store import ModelStore
from components.take_home import push_handlers
from components.take_home.push_handlers import Form, pushed
from s2e_core import ExportError, load_edit, load_model
from s2e_core.export.recipe import recipe_bytes
from s2e_core.verify import second_model as reloading
from tests.hub_server import HubServer, Repository, running_hub, use_hub_to_write
from tests.ui.browser import PATIENCE, served, watched_page
from tests.ui.edits import with_nothing_edited
from tests.ui.running import first_session, shared_store, store_beside

ID = "somebody/edited"
TOKEN = "hf_ThisMustNeverBeShown"
ASKED = '"temperature"'
"""Part of what every address holds."""


@pytest.fixture(scope="module")
def server() -> Iterator[HubServer]:
    with running_hub() as running:
        yield running


@pytest.fixture
def hub(server: HubServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> HubServer:
    use_hub_to_write(monkeypatch, server, tmp_path / "cache", TOKEN, "somebody")
    return server


def said_by(form: Form, token: str | None = TOKEN, session: Session | None = None) -> list[str]:
    return list(pushed(shared_store(), session or first_session(), form, token))


def refused(form: Form, token: str | None = TOKEN, session: Session | None = None) -> str:
    with pytest.raises(ExportError) as error:
        said_by(form, token, session)
    sentence = str(told(error.value).message)
    assert TOKEN not in sentence and "127.0.0.1" not in sentence and sentence.endswith(".")
    return sentence


def left_behind() -> list[Path]:
    # A stopped export deletes its folders while they are listed: os.walk passes over those, Path.rglob fails.
    folders = os.walk(shared_store().work)
    return sorted(Path(at) / name for at, _, names in folders for name in names if name.endswith(".safetensors"))


# ---- the handler ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("form", "named"),
    [
        (Form(ID), "model.safetensors"),
        (Form(ID, dtype="float32"), "model.safetensors"),
        (Form(f" {ID} ", "adapter"), "adapter_model.safetensors"),
        (Form(ID, "adapter", gamma=0.5), "recipe/steering.pt"),
    ],
)
def test_what_was_chosen_arrives_private_with_card_and_recipe_and_a_link(
    hub: HubServer, form: Form, named: str
) -> None:
    before = left_behind()
    *lines, last = said_by(form)
    files = hub.repositories[ID].files
    assert ("recipe/steering.pt" in files) == (form.gamma is not None)
    assert named in files and b"edited with Steer2Edit" in files["README.md"]
    assert files["recipe/steer2edit.safetensors"] == recipe_bytes(first_session().edit)
    assert hub.repositories[ID].private and "Only you can see it." in last
    assert f'<a href="{hub.address}/{ID}"' in last and 'rel="noopener noreferrer"' in last
    assert any("Writing and checking" in line for line in lines) and any("Uploading: " in line for line in lines)
    assert left_behind() == before


def test_a_public_push_is_public_and_loads_again(hub: HubServer) -> None:
    assert "Everybody can see it." in said_by(Form(ID, private=False))[-1]
    assert not hub.repositories[ID].private
    loaded = load_model(ID, device="cpu")
    assert loaded.fingerprint != shared_store().model(first_session().model).fingerprint


@pytest.mark.parametrize("token", [None, "", "  ", "hf_two\nlines"])
def test_a_token_that_is_none_is_said_before_anything_is_written(
    hub: HubServer, token: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(push_handlers, "written", lambda *_: pytest.fail("something was written"))
    assert "of your own Hub account" in refused(Form(ID), token)
    assert "owner/name" in refused(Form("edited"))
    assert "owner/name" in refused(Form(""))
    assert not hub.requests


def test_an_empty_edit_is_not_pushed(hub: HubServer) -> None:
    assert "Nothing is edited" in refused(Form(ID), session=with_nothing_edited(first_session()))
    assert not hub.requests


def test_a_token_of_a_stranger_and_a_taken_name_are_sentences_and_leave_no_files(hub: HubServer) -> None:
    before = left_behind()
    assert "does not accept this token" in refused(Form(ID), "hf_unknown")
    assert "may not write to stranger" in refused(Form("stranger/edited"))
    hub.repositories[ID] = Repository({"config.json": b"{}"})
    assert "contains files" in refused(Form(ID))
    assert left_behind() == before


def test_files_that_fail_their_check_are_not_sent(hub: HubServer, monkeypatch: pytest.MonkeyPatch) -> None:
    class Failed:
        passed = False
        not_checked = ""

        def lines(self) -> Iterator[str]:
            yield "3 tensors are missing."

    monkeypatch.setattr(push_handlers, "verify_export", lambda *_, **__: Failed())
    assert refused(Form(ID)) == "The files were not sent, because their check failed. 3 tensors are missing."
    assert not hub.requests


def test_files_that_cannot_be_checked_here_are_not_sent_and_not_called_wrong(
    hub: HubServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def read(*_: object, **__: object) -> None:
        raise MemoryError

    monkeypatch.setattr(reloading, "read_model", read)
    sentence = refused(Form(ID))
    assert sentence.startswith("The files were not sent, because they could not be checked. The checkpoint was written")
    assert "a second model does not fit into memory" in sentence and "does not do" not in sentence
    assert not hub.requests


def test_a_stop_ends_the_push_and_nothing_becomes_visible(hub: HubServer, monkeypatch: pytest.MonkeyPatch) -> None:
    before = left_behind()
    with closing(pushed(shared_store(), first_session(), Form(ID), TOKEN)) as lines:
        for line in lines:
            if "Writing and checking" in line:
                break
    time.sleep(1)  # an export that went on would have begun to write by now
    deadline = time.monotonic() + 30
    while left_behind() != before and time.monotonic() < deadline:
        time.sleep(0.05)
    assert left_behind() == before
    assert ID not in hub.repositories or set(hub.repositories[ID].files) <= {".gitattributes"}


# ---- the page -------------------------------------------------------------------------------------------------------


def store_with(arguments: list[str], work: Path) -> ModelStore:
    return store_of(options(arguments), work)


@pytest.mark.parametrize(
    ("arguments", "variables", "offered"),
    [
        ([], {}, True),
        (["--host", "127.0.0.1"], {}, True),
        (["--host", "0.0.0.0"], {}, False),
        ([], {"GRADIO_SERVER_NAME": "0.0.0.0"}, False),
        ([], {"SPACE_ID": "somebody/space"}, False),
        (["--host", "0.0.0.0", "--allow-push"], {}, True),
        (["--no-allow-push"], {}, False),
    ],
)
def test_where_others_can_open_the_page_the_operator_has_to_allow_it(
    arguments: list[str], variables: Mapping[str, str], offered: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("GRADIO_SERVER_NAME", "SPACE_ID"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert store_with(arguments, tmp_path).push == offered


def test_where_it_is_not_allowed_there_is_neither_a_fold_nor_an_event(tmp_path: Path) -> None:
    def build(push: bool) -> tuple[set[str], int]:
        demo = app.build(store_beside(work=tmp_path, push=push))
        names = {str(getattr(block, "elem_id", "")) for block in demo.blocks.values()}
        return names, sum(event.concurrency_id == "push" for event in demo.fns.values())

    names, events = build(True)
    assert {"push-token", "push"} <= names and events == 1
    names, events = build(False)
    assert not [name for name in names if name.startswith("push")] and not events


def holding(root: object, text: str) -> list[str]:
    """Paths to strings with that text that are reachable from an object through its attributes and containers."""
    found, seen, todo = [], set(), [(root, "")]
    while todo:
        value, path = todo.pop()
        if isinstance(value, str):
            found += [path] if text in value else []
            continue
        if id(value) in seen or isinstance(value, int | float | bytes | type) or callable(value):
            continue
        seen.add(id(value))
        if isinstance(value, Mapping):
            todo += [(item, f"{path}[{str(key)[:40]!r}]") for key, item in value.items()]
        elif isinstance(value, list | tuple | set | frozenset):
            todo += [(item, f"{path}[{n}]") for n, item in enumerate(value)]
        elif hasattr(value, "__dict__") and len(path) < 300:
            todo += [(item, f"{path}.{name}") for name, item in vars(value).items()]
    return found


class Recorder:
    """Keeps every byte that the server sends to anybody."""

    def __init__(self, inner: ASGIApp, sent: list[bytes]) -> None:
        self.inner, self.sent = inner, sent

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def recorded(message: Message) -> None:
            self.sent.append(message.get("body", b""))
            await send(message)

        await self.inner(scope, receive, recorded)


def text_of_address(url: str) -> str:
    """The place in an address, as JSON."""
    letters = url.partition("#s1=")[2]
    return base64.urlsafe_b64decode(letters + "=" * (-len(letters) % 4)).decode()


def fill_in(page: Page, repository: str, token: str) -> None:
    page.locator("#push-repository input, #push-repository textarea").first.fill(repository)
    page.locator("#push-token input").fill(token)


def test_a_visitor_pushes_and_the_token_stays_with_nobody(
    hub: HubServer,
    browser: Browser,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    store = store_beside(work=tmp_path / "work", push=True)
    demo = app.build(store)
    sent: list[bytes] = []
    recorded = {"routes": page_routes(), "middleware": [Middleware(Recorder, sent=sent)]}

    with (
        caplog.at_level(logging.DEBUG),
        served(demo, app_kwargs=recorded) as address,
        watched_page(browser) as page,
        watched_page(browser) as other,
    ):
        for one in (page, other):
            one.goto(address)
            one.wait_for_selector("#heads [data-draws]", timeout=PATIENCE)
        page.locator("#push-fold button").first.click()
        field = page.locator("#push-token input")
        expect(field).to_have_attribute("type", "password")
        fill_in(page, "stranger/edited", TOKEN)
        page.click("#push")
        expect(page.locator(".toast-body")).to_contain_text("may not write to stranger", timeout=PATIENCE)
        expect(page.locator("#push-status")).to_contain_text("Nothing was pushed")
        expect(field).to_have_value("")
        fill_in(page, ID, TOKEN)
        page.click("#push")
        expect(page.locator("#push-status a")).to_have_attribute("href", f"{hub.address}/{ID}", timeout=PATIENCE)
        expect(field).to_have_value("")
        assert page.locator("#push-private input").is_checked() and hub.repositories[ID].private
        page.wait_for_timeout(500)
        kept_in_tab = page.evaluate("({...localStorage, ...sessionStorage, place: window.steer2edit.place()})")
        in_browser = page.content() + json.dumps(kept_in_tab) + text_of_address(page.url)
        assert ASKED in text_of_address(page.url), "or the token could be there unseen"
        in_server = holding({"queue": vars(demo._queue), "sessions": vars(demo.app.state_holder)}, TOKEN)
        assert other.locator("#push-token").count() == 0 or TOKEN not in other.content()
    assert not in_server and TOKEN not in in_browser
    answers = b"".join(sent)
    assert b"Uploading" in answers and TOKEN.encode() not in answers
    written = caplog.text + "".join(capfd.readouterr())
    assert TOKEN not in written
    kept = [path for path in tmp_path.rglob("*") if path.is_file() and TOKEN.encode() in path.read_bytes()]
    assert not kept
    carried = {request.token for request in hub.requests}
    assert carried <= {f"Bearer {TOKEN}", ""} and not any(TOKEN in request.path for request in hub.requests)
    assert not any(TOKEN.encode() in body for body in hub.bodies)
    recipe = tmp_path / "recipe.safetensors"
    recipe.write_bytes(hub.repositories[ID].files["recipe/steer2edit.safetensors"])
    assert not load_edit(recipe, base=store.model(store.first_model)).is_empty


def test_the_search_for_the_token_finds_one_that_was_kept() -> None:
    box = gr.Textbox(TOKEN, render=False)
    assert holding({"a": [box]}, TOKEN)
