"""Data sets of the Hub by their id: which file is read, revisions, the cache, limits, and what is refused."""

import json

import pytest

from s2e_core import ContrastDataError
from s2e_core.cli import main
from s2e_core.loading import download_data_set, is_data_set
from s2e_core.loading.data_set import choose_data_file, data_set_name
from tests.hub_server import Repository, running_hub, use_hub

ROWS = [{"prompt": f"Q{k}?", "chosen": f"Yes, {k}.", "rejected": f"No, {k}."} for k in range(3)]
LINES = "".join(json.dumps(row) + "\n" for row in ROWS).encode()
ID = "somebody/pairs"


@pytest.fixture(scope="module")
def server():
    with running_hub() as running:
        yield running


@pytest.fixture
def hub(server, monkeypatch, tmp_path):
    server.repositories = {
        ID: Repository({"README.md": b"x", "data/train.jsonl": LINES, "data/test.jsonl": b"{}", "load.py": b"boom"})
    }
    server.requests = []
    use_hub(monkeypatch, server.address, tmp_path / "cache")
    return server


def test_the_training_split_is_downloaded_and_nothing_else(hub):
    path, sentence = download_data_set(ID)
    assert path.read_bytes() == LINES and sentence.startswith(f"data/train.jsonl of {ID}, commit ")
    assert {r.path.rsplit("/", 1)[-1] for r in hub.requests if "/resolve/" in r.path} == {"train.jsonl"}


def test_a_file_and_a_revision_can_be_named_and_a_download_is_kept(hub):
    assert download_data_set(f"{ID}/data/test.jsonl@v1.0")[0].read_bytes() == b"{}"
    download_data_set(f"{ID}@main")
    hub.requests.clear()
    download_data_set(ID)
    assert not [r for r in hub.requests if r.method == "GET" and "/resolve/" in r.path]


def test_without_a_connection_the_cache_is_used(hub, monkeypatch, tmp_path):
    first, _ = download_data_set(ID)
    use_hub(monkeypatch, "http://127.0.0.1:1", tmp_path / "cache")
    again, sentence = download_data_set(ID)
    assert again == first and "as downloaded before" in sentence
    with pytest.raises(ContrastDataError, match="cannot be reached, and somebody/else is neither a file here nor"):
        download_data_set("somebody/else")


@pytest.mark.parametrize(
    ("source", "said"),
    [
        (
            "somebody/none",
            r"somebody/none does not exist on the Hub \(and no file of this name here\), or it is",
        ),
        (f"{ID}@v9", 'no revision "v9"'),
        (f"{ID}/data/dev.jsonl", "no readable file data/dev.jsonl. Its files are data/test.jsonl, data/train.jsonl"),
        (f"{ID}/load.py", "no readable file load.py"),
        ("..", "neither a file nor a data set"),
    ],
)
def test_what_is_not_there_gets_a_sentence(hub, source, said):
    with pytest.raises(ContrastDataError, match=said) as error:
        download_data_set(source)
    assert "127.0.0.1" not in str(error.value)


def test_refusals_of_the_hub_and_too_large_files_get_a_sentence(hub):
    hub.repositories[ID].refusal = (403, "GatedRepo")
    with pytest.raises(ContrastDataError, match="is gated"):
        download_data_set(ID)
    hub.repositories[ID].refusal = None
    with pytest.raises(ContrastDataError, match="at most 10 bytes are downloaded"):
        download_data_set(ID, max_bytes=10)


def test_a_full_disk_is_not_taken_for_a_missing_connection(hub, monkeypatch):
    def full(done: int, total: int) -> None:
        raise OSError(28, "No space left on device")

    with pytest.raises(ContrastDataError, match="disk became full"):
        download_data_set(ID, progress=full)
    monkeypatch.setattr("s2e_core.loading.hub.SPARE_BYTES", 1 << 60)
    with pytest.raises(ContrastDataError, match="0 bytes are free"):
        download_data_set(ID)


@pytest.mark.parametrize(
    ("address", "name"),
    [
        ("https://huggingface.co/datasets/a/b", "a/b"),
        (" huggingface.co/datasets/a/b/ ", "a/b"),
        ("https:/huggingface.co/datasets/a/b/tree/v1", "a/b@v1"),
        ("https://huggingface.co/datasets/a/b/viewer/default/train?row=1", "a/b"),
        ("https://hf.co/datasets/a/b/blob/main/data/train.jsonl", "a/b/data/train.jsonl@main"),
        ("https://huggingface.co/a/b", "https://huggingface.co/a/b"),
    ],
)
def test_an_address_is_a_name_too(address, name):
    assert data_set_name(address) == name and is_data_set(address) == (name != address)


@pytest.mark.parametrize(
    ("files", "chosen"),
    [
        (["a.parquet", "README.md"], "a.parquet"),
        (["data/train-00000-of-00002.parquet", "data/train-00001-of-00002.parquet", "data/test-00000-of-00001.parquet"],
         "data/train-00000-of-00002.parquet"),
        (["train.csv.gz", "valid.csv.gz", "dataset_infos.json"], "train.csv.gz"),
    ],
)  # fmt: skip
def test_the_first_part_of_the_training_split_is_chosen(files, chosen):
    assert choose_data_file("a/b", dict.fromkeys(files, 1)) == chosen


@pytest.mark.parametrize(
    ("files", "said"),
    [
        (["harmless/train.jsonl", "helpful/train.jsonl"], "several files. Name one, as owner/name/file"),
        (["script.py", "model.pkl", "images.zip"], "no file of a kind that is read"),
    ],
)
def test_an_open_choice_is_asked_about(files, said):
    with pytest.raises(ContrastDataError, match=said):
        choose_data_file("a/b", dict.fromkeys(files, 1))


def test_existing_files_are_no_data_sets(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my").mkdir()
    (tmp_path / "my" / "rows.jsonl").write_bytes(LINES)
    assert not is_data_set("my/rows.jsonl") and is_data_set("my/others") and not is_data_set("rows.jsonl")


def test_the_command_reads_a_data_set(hub, capsys):
    assert main(["data", ID]) == 0
    found = capsys.readouterr()
    assert "3 positive, 3 negative" in found.out and "data/train.jsonl of somebody/pairs" in found.err
