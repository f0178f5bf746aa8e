"""Tests of pushing to the Hub: the real client against a loopback server, with the token in one header only."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from huggingface_hub import constants

from s2e_core import Cancelled, ExportError, export_adapter, export_checkpoint, load_model, push_to_hub
from s2e_core.cli import main
from s2e_core.model import LoadedModel
from tests.core.edits import files_of, random_edit
from tests.hub_server import HubServer, Repository, running_hub, use_hub_to_write

ID = "somebody/edited"
TOKEN = "hf_ThisMustNeverBeShown"
MACHINE_TOKEN = "hf_TokenOfTheMachineItself"


@pytest.fixture(scope="module")
def server() -> Iterator[HubServer]:
    with running_hub() as running:
        yield running


@pytest.fixture
def hub(server: HubServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> HubServer:
    use_hub_to_write(monkeypatch, server, tmp_path / "cache", TOKEN, "somebody")
    monkeypatch.setenv("HF_TOKEN", MACHINE_TOKEN)
    return server


@pytest.fixture(scope="module")
def exported_folder(llama: LoadedModel, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return export_checkpoint(llama, random_edit(llama), tmp_path_factory.mktemp("exports") / "edited")


def pushed_files(hub: HubServer, repo_id: str = ID) -> dict[str, bytes]:
    """Content by name of the files in a repository, without the one that the Hub creates."""
    return {name: content for name, content in hub.repositories[repo_id].files.items() if name != ".gitattributes"}


def push_refused(folder: Path, repo_id: str = ID, token: str = TOKEN, **options: bool) -> str:
    """The message of a push that fails; it contains neither the token nor an address."""
    with pytest.raises(ExportError) as error:
        push_to_hub(folder, repo_id, token, **options)
    sentence = str(error.value)
    assert TOKEN not in sentence and "127.0.0.1" not in sentence and sentence.endswith(".")
    assert error.value.__cause__ is None  # the client's own errors contain the request
    return sentence


def test_an_export_arrives_byte_for_byte_private_with_its_card_and_progress(hub, exported_folder):
    ticks: list[tuple[int, int]] = []
    address = push_to_hub(exported_folder, ID, TOKEN, progress=lambda done, total: ticks.append((done, total)))
    assert address == f"{hub.address}/{ID}"
    assert pushed_files(hub) == files_of(exported_folder) and "README.md" in pushed_files(hub)
    assert hub.repositories[ID].private
    total = sum(len(content) for content in files_of(exported_folder).values())
    assert ticks[0] == (0, total) and ticks[-1] == (total, total) and ticks == sorted(ticks)


def test_what_was_pushed_loads_again_from_the_hub(hub, exported_folder):
    push_to_hub(exported_folder, ID, TOKEN, private=False)
    assert not hub.repositories[ID].private
    assert load_model(ID, device="cpu").fingerprint == load_model(exported_folder, device="cpu").fingerprint


def test_an_adapter_can_be_pushed(hub, llama, tmp_path):
    folder = export_adapter(llama, random_edit(llama), tmp_path / "adapter")
    push_to_hub(folder, ID, TOKEN)
    assert pushed_files(hub) == files_of(folder)


def test_the_token_is_in_one_header_alone_and_never_goes_to_the_storage(hub, exported_folder, caplog, capfd):
    with caplog.at_level(logging.DEBUG):
        push_to_hub(exported_folder, ID, TOKEN)
    storage = [request for request in hub.requests if request.path.startswith("/upload/")]
    assert storage and not any(request.token for request in storage)
    others = [request for request in hub.requests if request not in storage]
    assert {request.token for request in others} == {f"Bearer {TOKEN}"}
    assert not any(TOKEN in request.path for request in hub.requests)
    assert not any(TOKEN.encode() in body for body in hub.bodies)
    output = caplog.text + "".join(capfd.readouterr())
    assert TOKEN not in output and MACHINE_TOKEN not in output
    assert not list(Path(constants.HF_HUB_CACHE).parent.rglob("*token*"))


@pytest.mark.parametrize("token", ["", "  ", "hf_two\nlines", "hf_\u00e9"])
def test_without_a_token_of_ones_own_nothing_is_asked(hub, exported_folder, token):
    with pytest.raises(ExportError, match="of your own Hub account"):
        push_to_hub(exported_folder, ID, token)
    assert not hub.requests


def test_a_token_that_is_not_accepted_or_may_not_write_there_is_a_sentence(hub, exported_folder):
    assert "does not accept this token" in push_refused(exported_folder, token="hf_unknown")
    assert "may not write to stranger" in push_refused(exported_folder, "stranger/edited")
    assert not hub.repositories


def test_a_repository_that_contains_files_is_never_changed(hub, exported_folder):
    hub.repositories[ID] = Repository({"config.json": b"{}"})
    assert "contains files" in push_refused(exported_folder)
    assert hub.repositories[ID].files == {"config.json": b"{}"}


def test_an_empty_public_repository_does_not_take_a_private_push(hub, exported_folder):
    hub.repositories[ID] = Repository({".gitattributes": b""})
    assert "is public" in push_refused(exported_folder)
    assert not pushed_files(hub)


@pytest.mark.parametrize("name", ["edited", "a/b/c", "some body/x", "../x", "a/b--c", "", "a/.git", "/x"])
def test_a_name_that_is_none_is_refused_before_anything_is_asked(hub, exported_folder, name):
    sentence = push_refused(exported_folder, name)
    assert "owner/name" in sentence and ("no name yet" in sentence) == (not name)
    assert not hub.requests


@pytest.mark.parametrize("part", ["/upload/", "/preupload/", "/commit/", "objects/batch", "/verify"])
@pytest.mark.parametrize("status", [0, 500])
def test_an_upload_that_breaks_leaves_nothing_visible_and_the_next_try_succeeds(hub, exported_folder, part, status):
    hub.refusals = {part: status}
    sentence = push_refused(exported_folder)
    assert ID in sentence and "try again" in sentence
    assert not pushed_files(hub)
    hub.refusals = {}
    push_to_hub(exported_folder, ID, TOKEN)
    assert pushed_files(hub) == files_of(exported_folder)


def test_a_card_that_the_hub_does_not_accept_is_a_sentence_and_nothing_is_visible(hub, exported_folder, monkeypatch):
    monkeypatch.setattr(hub, "card_errors", ('"license" must be one of many',))
    assert "does not accept the model card" in push_refused(exported_folder)
    assert not pushed_files(hub)


def test_offline_and_unreachable_have_different_messages(hub, exported_folder, monkeypatch):
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    assert "cannot be reached" in push_refused(exported_folder)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert "HF_HUB_OFFLINE" in push_refused(exported_folder)


def test_a_stop_leaves_nothing_visible(hub, exported_folder):
    def stop(done: int, total: int) -> None:
        if done:
            raise Cancelled("Stopped.")

    with pytest.raises(Cancelled):
        push_to_hub(exported_folder, ID, TOKEN, progress=stop)
    assert not pushed_files(hub)


def test_a_folder_that_is_no_finished_export_is_refused(hub, exported_folder, tmp_path):
    assert "not a finished export" in push_refused(tmp_path)
    assert "not a finished export" in push_refused(tmp_path / "nowhere")
    leftover = tmp_path / ".out.0a1b2c3d.unfinished-export"
    leftover.symlink_to(exported_folder)
    assert "not a finished export" in push_refused(leftover)
    assert not hub.requests


def test_the_command_pushes_from_a_process_of_its_own_and_shows_no_token(hub, exported_folder):
    variables = {"HF_ENDPOINT": hub.address, "HF_TOKEN": TOKEN, "HF_HUB_OFFLINE": "0", "HF_HUB_DISABLE_XET": "1"}
    command = [sys.executable, "-m", "s2e_core", "push", str(exported_folder), ID]
    environment = os.environ | variables | {"HF_DEBUG": "1", "OMP_NUM_THREADS": "1"}
    process = subprocess.run(
        command, cwd=Path(__file__).parents[3], env=environment, capture_output=True, text=True, timeout=120
    )
    assert process.returncode == 0 and process.stdout.splitlines()[-1] == f"{hub.address}/{ID}", process.stderr
    assert TOKEN not in process.stdout + process.stderr
    assert pushed_files(hub) == files_of(exported_folder) and hub.repositories[ID].private


def test_the_command_ends_with_a_sentence_where_there_is_no_token(hub, exported_folder, monkeypatch, capsys):
    monkeypatch.delenv("HF_TOKEN")
    assert main(["push", str(exported_folder), ID]) == 2
    assert "of your own Hub account" in capsys.readouterr().err
