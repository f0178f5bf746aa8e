"""A push to the Hub: the real client against the loopback server; the token in one header and nowhere else."""

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
OF_THE_SERVER = "hf_TokenOfTheMachineItself"


@pytest.fixture(scope="module")
def server() -> Iterator[HubServer]:
    with running_hub() as running:
        yield running


@pytest.fixture
def hub(server: HubServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> HubServer:
    use_hub_to_write(monkeypatch, server, tmp_path / "cache", TOKEN, "somebody")
    monkeypatch.setenv("HF_TOKEN", OF_THE_SERVER)
    return server


@pytest.fixture(scope="module")
def export(llama: LoadedModel, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return export_checkpoint(llama, random_edit(llama), tmp_path_factory.mktemp("exports") / "edited")


def pushed_files(hub: HubServer, repo_id: str = ID) -> dict[str, bytes]:
    return {name: content for name, content in hub.repositories[repo_id].files.items() if name != ".gitattributes"}


def refused(folder: Path, repo_id: str = ID, token: str = TOKEN, **options: bool) -> str:
    with pytest.raises(ExportError) as error:
        push_to_hub(folder, repo_id, token, **options)
    sentence = str(error.value)
    assert TOKEN not in sentence and "127.0.0.1" not in sentence and sentence.endswith(".")
    assert error.value.__cause__ is None  # the client's own errors hold the request
    return sentence


def test_an_export_arrives_byte_for_byte_private_with_its_card_and_progress(hub, export):
    ticks: list[tuple[int, int]] = []
    address = push_to_hub(export, ID, TOKEN, progress=lambda done, total: ticks.append((done, total)))
    assert address == f"{hub.address}/{ID}"
    assert pushed_files(hub) == files_of(export) and "README.md" in pushed_files(hub)
    assert hub.repositories[ID].private
    total = sum(len(content) for content in files_of(export).values())
    assert ticks[0] == (0, total) and ticks[-1] == (total, total) and ticks == sorted(ticks)


def test_what_was_pushed_loads_again_from_the_hub(hub, export):
    push_to_hub(export, ID, TOKEN, private=False)
    assert not hub.repositories[ID].private
    assert load_model(ID, device="cpu").fingerprint == load_model(export, device="cpu").fingerprint


def test_an_adapter_can_be_pushed(hub, llama, tmp_path):
    folder = export_adapter(llama, random_edit(llama), tmp_path / "adapter")
    push_to_hub(folder, ID, TOKEN)
    assert pushed_files(hub) == files_of(folder)


def test_the_token_is_in_one_header_alone_and_never_goes_to_the_storage(hub, export, caplog, capfd):
    with caplog.at_level(logging.DEBUG):
        push_to_hub(export, ID, TOKEN)
    storage = [request for request in hub.requests if request.path.startswith("/upload/")]
    assert storage and not any(request.token for request in storage)
    others = [request for request in hub.requests if request not in storage]
    assert {request.token for request in others} == {f"Bearer {TOKEN}"}
    assert not any(TOKEN in request.path for request in hub.requests)
    assert not any(TOKEN.encode() in body for body in hub.bodies)
    written = caplog.text + "".join(capfd.readouterr())
    assert TOKEN not in written and OF_THE_SERVER not in written
    assert not list(Path(constants.HF_HUB_CACHE).parent.rglob("*token*"))


@pytest.mark.parametrize("token", ["", "  ", "hf_two\nlines", "hf_\u00e9"])
def test_without_a_token_of_ones_own_nothing_is_asked(hub, export, token):
    with pytest.raises(ExportError, match="of your own account"):
        push_to_hub(export, ID, token)
    assert not hub.requests


def test_a_token_that_is_not_accepted_or_may_not_write_there_is_a_sentence(hub, export):
    assert "does not accept this token" in refused(export, token="hf_unknown")
    assert "may not write to stranger" in refused(export, "stranger/edited")
    assert not hub.repositories


def test_a_repository_that_holds_files_is_never_changed(hub, export):
    hub.repositories[ID] = Repository({"config.json": b"{}"})
    assert "holds files" in refused(export)
    assert hub.repositories[ID].files == {"config.json": b"{}"}


def test_an_empty_public_repository_does_not_take_a_private_push(hub, export):
    hub.repositories[ID] = Repository({".gitattributes": b""})
    assert "is public" in refused(export)
    assert not pushed_files(hub)


@pytest.mark.parametrize("name", ["edited", "a/b/c", "some body/x", "../x", "a/b--c", "", "a/.git", "/x"])
def test_a_name_that_is_none_is_refused_before_anything_is_asked(hub, export, name):
    sentence = refused(export, name)
    assert "owner/name" in sentence and ("no name yet" in sentence) == (not name)
    assert not hub.requests


@pytest.mark.parametrize("part", ["/upload/", "/preupload/", "/commit/", "objects/batch", "/verify"])
@pytest.mark.parametrize("status", [0, 500])
def test_an_upload_that_breaks_leaves_nothing_visible_and_the_next_try_succeeds(hub, export, part, status):
    hub.refusals = {part: status}
    sentence = refused(export)
    assert ID in sentence and "try again" in sentence
    assert not pushed_files(hub)
    hub.refusals = {}
    push_to_hub(export, ID, TOKEN)
    assert pushed_files(hub) == files_of(export)


def test_a_card_that_the_hub_does_not_accept_is_a_sentence_and_nothing_is_visible(hub, export, monkeypatch):
    monkeypatch.setattr(hub, "card_errors", ('"license" must be one of many',))
    assert "does not accept the model card" in refused(export)
    assert not pushed_files(hub)


def test_offline_and_unreachable_are_told_apart(hub, export, monkeypatch):
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    assert "cannot be reached" in refused(export)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert "HF_HUB_OFFLINE" in refused(export)


def test_a_stop_leaves_nothing_visible(hub, export):
    def stop(done: int, total: int) -> None:
        if done:
            raise Cancelled("Stopped.")

    with pytest.raises(Cancelled):
        push_to_hub(export, ID, TOKEN, progress=stop)
    assert not pushed_files(hub)


def test_a_folder_that_is_no_finished_export_is_refused(hub, export, tmp_path):
    assert "not a finished export" in refused(tmp_path)
    assert "not a finished export" in refused(tmp_path / "nowhere")
    left = tmp_path / ".out.0a1b2c3d.unfinished-export"
    left.symlink_to(export)
    assert "not a finished export" in refused(left)
    assert not hub.requests


def test_the_command_pushes_from_a_process_of_its_own_and_shows_no_token(hub, export):
    variables = {"HF_ENDPOINT": hub.address, "HF_TOKEN": TOKEN, "HF_HUB_OFFLINE": "0", "HF_HUB_DISABLE_XET": "1"}
    command = [sys.executable, "-m", "s2e_core", "push", str(export), ID]
    environment = os.environ | variables | {"HF_DEBUG": "1", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        command, cwd=Path(__file__).parents[3], env=environment, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0 and done.stdout.splitlines()[-1] == f"{hub.address}/{ID}", done.stderr
    assert TOKEN not in done.stdout + done.stderr
    assert pushed_files(hub) == files_of(export) and hub.repositories[ID].private


def test_the_command_ends_with_a_sentence_where_there_is_no_token(hub, export, monkeypatch, capsys):
    monkeypatch.delenv("HF_TOKEN")
    assert main(["push", str(export), ID]) == 2
    assert "of your own account" in capsys.readouterr().err
