"""Models of the Hub: the real client against a small server on the loopback, and a sentence for all that goes wrong."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from huggingface_hub import constants
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, BitsAndBytesConfig

from s2e_core import Cancelled, ModelLoadError, load_model
from s2e_core.cli import main
from s2e_core.export.card import model_card
from s2e_core.loading import transfer
from s2e_core.loading.file_names import choose_files
from s2e_core.loading.hub import download
from tests.core.edits import random_edit
from tests.core.gguf_files import write_gguf
from tests.families import saved_folder
from tests.hub_server import HubServer, Repository, running_hub, use_hub

ID = "somebody/tiny"
TOKEN = "hf_ThisMustNeverBeShown"


@pytest.fixture(scope="module")
def server() -> Iterator[HubServer]:
    with running_hub() as running:
        yield running


@pytest.fixture(scope="module")
def model_files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = saved_folder(tmp_path_factory.mktemp("served") / "model")
    (folder / "README.md").write_text("# Tiny")
    (folder / "modeling_evil.py").write_text("raise SystemExit")
    (folder / "pytorch_model.bin").write_bytes(b"pickle")
    (folder / "consolidated.safetensors").write_bytes(b"the same weights in another layout")
    return folder


@pytest.fixture
def hub(server: HubServer, model_files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> HubServer:
    server.repositories = {ID: Repository.of(model_files)}
    server.breaks, server.requests, server.seconds_a_block, server.ranges = [], [], 0.0, True
    use_hub(monkeypatch, server.address, tmp_path / "cache")
    monkeypatch.setattr(transfer, "PAUSE_SECONDS", 0.01)
    return server


def weights_size(hub: HubServer) -> int:
    return len(hub.repositories[ID].files["model.safetensors"])


def refused(model_id: str = ID, **options: object) -> str:
    with pytest.raises(ModelLoadError) as error:
        load_model(model_id, device="cpu", **options)
    return str(error.value)


# ---- what comes -----------------------------------------------------------------------------------------------------


def test_a_model_is_downloaded_with_progress_in_bytes_and_loads_as_the_folder_does(hub, model_files):
    ticks: list[tuple[int, int]] = []
    loaded = load_model(ID, device="cpu", progress=lambda done, total: ticks.append((done, total)))
    assert loaded.fingerprint == load_model(model_files, device="cpu").fingerprint
    assert (loaded.model_id, loaded.revision) == (ID, hub.repositories[ID].commit)
    needed = choose_files(ID, tuple(hub.repositories[ID].files))
    total = sum(len(hub.repositories[ID].files[name]) for name in needed)
    assert ticks[0] == (0, total) and ticks[-1] == (total, total)
    assert [done for done, _ in ticks] == sorted(done for done, _ in ticks) and len(ticks) > 3


def test_only_what_loading_needs_comes_no_pickle_no_code_no_second_copy(hub):
    folder = download(ID)
    names = {path.name for path in folder.iterdir()}
    assert {"config.json", "model.safetensors", "tokenizer.json", "README.md"} <= names
    assert not names & {"modeling_evil.py", "pytorch_model.bin", "consolidated.safetensors"}
    assert not any("evil" in request.path or ".bin" in request.path for request in hub.requests)


@pytest.mark.parametrize("revision", ["main", "v1.0", "commit"])
def test_a_revision_may_be_a_branch_a_tag_or_a_commit(hub, revision):
    commit = hub.repositories[ID].commit
    loaded = load_model(ID, device="cpu", revision=commit if revision == "commit" else revision)
    assert loaded.revision == commit


def test_a_second_load_asks_for_no_file_again(hub):
    download(ID)
    hub.requests.clear()
    download(ID)
    assert not [request for request in hub.requests if "/resolve/" in request.path or "/cdn/" in request.path]


def test_sharded_weights_come_with_their_index(hub, tmp_path):
    files = _sharded(hub.repositories[ID].files, tmp_path)
    hub.repositories[ID] = Repository(files)
    loaded = load_model(ID, device="cpu")
    assert len(list(loaded.source.glob("model-*.safetensors"))) == 2


def _sharded(files: dict[str, bytes], folder: Path) -> dict[str, bytes]:
    whole = folder / "model.safetensors"
    whole.write_bytes(files["model.safetensors"])
    tensors = load_file(whole)
    names = sorted(tensors)
    files = {name: content for name, content in files.items() if not name.endswith(".safetensors")}
    weight_map = {}
    for number, part in enumerate((names[::2], names[1::2]), start=1):
        shard = f"model-0000{number}-of-00002.safetensors"
        save_file({name: tensors[name] for name in part}, folder / shard, metadata={"format": "pt"})
        files[shard] = (folder / shard).read_bytes()
        weight_map |= dict.fromkeys(part, shard)
    return files | {"model.safetensors.index.json": json.dumps({"metadata": {}, "weight_map": weight_map}).encode()}


def test_a_token_goes_to_the_hub_and_never_to_the_host_of_the_weights(hub, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    download(ID)
    assert all(not request.token for request in hub.of_weights())
    assert any(request.token == f"Bearer {TOKEN}" for request in hub.requests)


# ---- broken off -----------------------------------------------------------------------------------------------------


def test_a_connection_that_breaks_once_is_taken_up_where_it_broke(hub):
    hub.breaks = [50_000]
    folder = download(ID)
    assert [request.range for request in hub.of_weights()] == ["", "bytes=50000-"]
    assert (folder / "model.safetensors").read_bytes() == hub.repositories[ID].files["model.safetensors"]


def test_a_broken_download_is_a_sentence_and_the_next_try_goes_on_by_a_range(hub):
    hub.breaks = [60_000, *[0] * transfer.TRIES]
    sentence = refused()
    assert ID in sentence and "broke off" in sentence and "try again" in sentence
    hub.requests.clear()
    loaded = load_model(ID, device="cpu")
    assert [request.range for request in hub.of_weights()] == ["bytes=60000-"]
    assert bool(loaded.weight(0).isfinite().all())


def test_a_revision_may_stand_behind_the_name(hub):
    assert load_model(f"{ID}@v1.0", device="cpu").revision == load_model(ID, device="cpu", revision="v1.0").revision
    assert '"v9"' in refused(f"{ID}@v9") and ID in refused(f"{ID}@v9")
    assert "neither an existing folder" in refused(f"{ID}@v1.0", revision="v1.0")


def test_originals_come_from_the_hub_too(hub, model_files, tmp_path):
    pytest.importorskip("bitsandbytes", reason="needs bitsandbytes")
    settings = BitsAndBytesConfig(load_in_8bit=True)
    model = AutoModelForCausalLM.from_pretrained(model_files, quantization_config=settings)
    model.save_pretrained(tmp_path / "small")
    loaded = load_model(tmp_path / "small", device="cpu", originals=f"{ID}@v1.0")
    assert (loaded.model_id, loaded.revision) == (ID, hub.repositories[ID].commit)
    files = hub.repositories[ID].files | {file.name: file.read_bytes() for file in (tmp_path / "small").iterdir()}
    hub.repositories["somebody/small"] = Repository(files)
    again = load_model("somebody/small", device="cpu", originals=model_files)
    assert again.fingerprint == loaded.fingerprint and again.placement.run_from.startswith("somebody/small@")


def test_a_stop_ends_the_download_and_the_next_try_goes_on(hub, monkeypatch):
    monkeypatch.setattr(transfer, "REPORT_BYTES", 30_000)
    hub.seconds_a_block = 0.02

    def stop(done: int, total: int) -> None:
        if done > total // 2:
            raise Cancelled("Stopped.")

    with pytest.raises(Cancelled):
        load_model(ID, device="cpu", progress=stop)
    hub.requests.clear()
    download(ID)
    (again,) = hub.of_weights()
    assert 0 < int(again.range.removeprefix("bytes=").removesuffix("-")) < weights_size(hub)


def test_a_kept_part_that_is_of_other_bytes_is_found_out_and_removed(hub):
    hub.breaks = [60_000, *[0] * transfer.TRIES]
    refused()
    (part,) = Path(constants.HF_HUB_CACHE).rglob("*.part")
    part.write_bytes(bytes(60_000))
    assert "damaged" in refused()
    assert load_model(ID, device="cpu").revision  # the third try begins anew


def test_a_server_that_knows_no_ranges_sends_all_again(hub):
    hub.ranges, hub.breaks = False, [60_000]
    weights = (download(ID) / "model.safetensors").read_bytes()
    assert weights == hub.repositories[ID].files["model.safetensors"] and len(hub.of_weights()) == 2


def test_a_full_disk_is_told_before_anything_comes(hub, monkeypatch):
    monkeypatch.setattr("s2e_core.loading.hub.SPARE_BYTES", 1 << 60)
    assert "0 bytes are free" in refused() and "HF_HOME" in refused()
    assert not hub.of_weights()


def test_a_disk_that_becomes_full_is_a_sentence(hub, monkeypatch):
    def full(done: int, total: int) -> None:
        raise OSError(28, "No space left on device")

    assert "disk became full" in refused(progress=full)


# ---- refused --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "token", "said"),
    [
        ({"refusal": (401, "GatedRepo")}, None, ("gated", "Accept the conditions", "HF_TOKEN")),
        ({"refusal": (403, "GatedRepo")}, TOKEN, ("gated", "has no access")),
        ({"hidden": (401, "RepoNotFound")}, TOKEN, ("does not exist", "private", "HF_TOKEN")),
        ({"hidden": (403, "")}, TOKEN, ("refuses access", "HF_TOKEN")),
        ({"hidden": (500, "")}, None, ("error (500)", "later")),
        ({"hidden": (404, "RepoNotFound")}, None, ("does not exist", "Check the name")),
        ({"hidden": (200, "")}, None, ("cannot be reached",)),  # a network that shows its own page first
    ],
)
def test_a_refusal_says_what_to_do_and_never_the_token(hub, monkeypatch, changes, token, said):
    if token:
        monkeypatch.setenv("HF_TOKEN", token)
    for name, value in changes.items():
        setattr(hub.repositories[ID], name, value)
    sentence = refused()
    assert ID in sentence and all(words in sentence for words in said)
    assert TOKEN not in sentence and "http" not in sentence


def test_a_repository_that_does_not_exist_and_a_revision_that_does_not(hub):
    assert "somebody/else does not exist on the Hub" in refused("somebody/else")
    sentence = refused(revision="v9")
    assert '"v9"' in sentence and "--revision" in sentence


def test_without_a_connection_a_complete_download_loads_and_another_is_a_sentence(hub, monkeypatch):
    first = load_model(ID, device="cpu")
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    assert load_model(ID, device="cpu").fingerprint == first.fingerprint
    sentence = refused("somebody/else")
    assert "somebody/else" in sentence and "cannot be reached" in sentence


def test_without_a_connection_an_incomplete_download_is_a_sentence(hub, monkeypatch):
    (download(ID) / "model.safetensors").unlink()
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    assert "nor completely downloaded" in refused()


def test_a_download_by_an_older_client_loads_without_a_connection(hub, monkeypatch):
    for noted in (download(ID).parents[1] / "trees").iterdir():
        noted.unlink()
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    assert load_model(ID, device="cpu").model_id == ID


def test_the_switch_of_the_client_is_named(hub, monkeypatch):
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert "HF_HUB_OFFLINE" in refused()


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({"model_type": "evil", "auto_map": {"AutoModelForCausalLM": "modeling_evil.Evil"}}, "code from its own"),
        ({"model_type": "no_such_type"}, "no_such_type"),
        ({"model_type": "t5", "architectures": ["T5ForConditionalGeneration"]}, "not a causal language model"),
        ({"model_type": "bert", "architectures": ["BertForMaskedLM"]}, "not a causal language model"),
    ],
)
def test_a_model_of_no_use_is_told_before_its_weights_come(hub, config, said):
    hub.repositories[ID].files["config.json"] = json.dumps(config).encode()
    sentence = refused()
    assert ID in sentence and said in sentence
    assert not hub.of_weights()


@pytest.mark.parametrize(
    ("drop", "add", "said"),
    [
        ((".safetensors",), "", "pickled"),
        ((".safetensors", ".bin"), "", "no safetensors weights"),
        (("config.json",), "", "no config.json"),
        (("config.json",), "adapter_config.json", "adapter"),
        (("config.json", ".safetensors", ".bin"), "model.Q4_K_M.gguf", "GGUF"),
    ],
)
def test_a_repository_without_a_readable_model_is_a_sentence(hub, drop, add, said):
    files = hub.repositories[ID].files
    hub.repositories[ID] = Repository({name: c for name, c in files.items() if not name.endswith(drop)})
    if add:
        hub.repositories[ID].files[add] = b"{}"
    sentence = refused()
    assert ID in sentence and said in sentence


def test_of_a_repository_of_gguf_files_the_named_one_comes_with_its_card_and_licence(hub, model_files, tmp_path):
    whole = write_gguf(tmp_path / "tiny.gguf", model_files).read_bytes()
    files = {"README.md": b"# Tiny", "LICENSE": b"Free", "Q8/tiny-Q8_0.gguf": whole, "tiny-Q4_0.gguf": b"another"}
    hub.repositories[ID] = Repository(files | {"big-00001-of-00002.gguf": b"half"})
    assert f"several GGUF files: Q8/tiny-Q8_0.gguf, tiny-Q4_0.gguf. Name one of them, as in {ID}/Q8" in refused()
    assert f"{ID} does not contain Q9.gguf. It has Q8/" in refused(f"{ID}/Q9.gguf")
    assert "is one of several parts" in refused(f"{ID}/big-00001-of-00002.gguf")
    assert not hub.of_weights()
    loaded = load_model(f"{ID}/Q8/tiny-Q8_0.gguf@v1.0", device="cpu")
    assert (loaded.model_id, loaded.revision) == (f"{ID}/Q8/tiny-Q8_0.gguf", hub.repositories[ID].commit)
    assert not any("Q4_0" in request.path or "big" in request.path for request in hub.requests)
    card = model_card(loaded, random_edit(loaded), "adapter", 0.1)
    assert (
        f"base_model: {ID}\n" in card and f"revision='{loaded.revision}', gguf_file='Q8/tiny-Q8_0.gguf', dtype=" in card
    )
    assert (loaded.source / "LICENSE").read_bytes() == b"Free"


def test_the_only_gguf_file_of_a_repository_needs_no_name_and_loads_without_a_connection(
    hub, model_files, tmp_path, monkeypatch
):
    hub.repositories[ID] = Repository({"tiny.gguf": write_gguf(tmp_path / "tiny.gguf", model_files).read_bytes()})
    loaded = load_model(ID, device="cpu")
    assert loaded.model_id == f"{ID}/tiny.gguf"
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert load_model(ID, device="cpu").fingerprint == loaded.fingerprint


def test_an_index_that_names_a_missing_shard_and_truncated_weights_are_sentences(hub, tmp_path):
    whole = hub.repositories[ID].files
    files = _sharded(whole, tmp_path)
    hub.repositories[ID] = Repository({n: c for n, c in files.items() if not n.startswith("model-00002")})
    assert "model-00002-of-00002.safetensors is missing" in refused()
    hub.repositories[ID] = Repository(whole | {"model.safetensors": whole["model.safetensors"][:-500]})
    assert "not complete" in refused()


# ---- as a person runs it --------------------------------------------------------------------------------------------


def test_the_command_line_downloads_and_shows_how_far_it_is(hub, capsys):
    assert main(["info", "--model", ID, "--revision", "v1.0", "--device", "cpu"]) == 0
    said = capsys.readouterr()
    assert hub.repositories[ID].commit in said.out
    assert "downloading" in said.err and "Fetching" not in said.err and "%" not in said.err


def test_the_command_line_ends_a_refusal_with_a_sentence_and_status_2(hub, monkeypatch, capsys):
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    hub.repositories[ID].hidden = (401, "RepoNotFound")
    assert main(["info", "--model", ID, "--device", "cpu"]) == 2
    said = capsys.readouterr()
    assert ID in said.err and TOKEN not in said.err + said.out
