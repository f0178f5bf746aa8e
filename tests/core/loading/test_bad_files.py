"""A bad file of each kind at each entrance of the command line: one sentence, no success, and nothing written."""

from __future__ import annotations

import json
import pickle
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from s2e_core import export_checkpoint, load_model, save_edit
from s2e_core.cli import main
from s2e_core.cli.main import program_name
from s2e_core.data import BUNDLED_BEHAVIORS
from tests.core.author_files import Evil, directions_content, pack_content, packed
from tests.core.edits import BF16, files_of, folder_of, random_edit

MODEL, WEIGHTS, INDEX = "model", "model.safetensors", "model.safetensors.index.json"
Spoil = Callable[[Path], object]


@pytest.fixture(scope="module")
def good(tmp_path_factory) -> Path:
    """One good file of every kind, of a tiny model in bf16."""
    folder = tmp_path_factory.mktemp("good")
    loaded = load_model(folder_of(folder / MODEL, "llama", BF16), device="cpu")
    folder_of(folder / "shards", "llama", BF16, sharded=True)
    edit = random_edit(loaded)
    save_edit(edit, folder / "recipe.safetensors")
    other = load_model(folder_of(folder / "another", "llama", BF16, num_hidden_layers=1), device="cpu")
    save_edit(random_edit(other), folder / "foreign.safetensors")
    export_checkpoint(loaded, edit, folder / "export")
    torch.save(directions_content(loaded), folder / "directions.pt")
    torch.save(pack_content(edit), folder / "pack.pt")
    vectors = torch.randn(loaded.spec.n_layers, loaded.spec.d_model)
    save_file({"directions": vectors}, folder / "vector.safetensors")
    np.save(folder / "vector.npy", vectors.numpy())
    np.savez(folder / "vector.npz", vectors.numpy())
    rows = [{"prompt": f"Say {n}", "response": f"It is {n}.", "label": n % 2} for n in range(8)]
    (folder / "data.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


@pytest.fixture
def work(good, tmp_path) -> Path:
    """A copy of the good files that may be spoiled."""
    return shutil.copytree(good, tmp_path / "work")


def refused(work: Path, capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    """The one sentence with which a command ends; no file is another than before."""
    before = files_of(work)
    capsys.readouterr()
    status = main([str(argument) for argument in arguments])
    said = capsys.readouterr().err
    assert status == 2, said
    lines = [line for line in said.replace("\r", "\n").splitlines() if line.startswith(f"{program_name()}: ")]
    assert len(lines) == 1 and said.rstrip().endswith(lines[0]), said
    assert "Traceback" not in said and "Error:" not in said and lines[0].endswith((".", '"', "?")), said
    assert str(work) not in lines[0] and len(lines[0]) < 700, said
    assert files_of(work) == before
    return lines[0]


# ---- ways to spoil a file --------------------------------------------------------------------------------------------


def cut(share: float) -> Spoil:
    return lambda path: path.write_bytes(path.read_bytes()[: int(len(path.read_bytes()) * share)])


def text(content: str) -> Spoil:
    return lambda path: path.write_text(content)


def raw(content: bytes) -> Spoil:
    return lambda path: path.write_bytes(content)


def payload(path: Path) -> None:
    path.write_bytes(pickle.dumps(Evil(path.parent / "harmed")))


def torch_payload(path: Path) -> None:
    torch.save({"pre": Evil(path.parent / "harmed"), "post": {}}, path)


def bomb(path: Path, megabytes: int = 300) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as target, target.open("arr_0.npy", "w") as entry:
        np.lib.format.write_array_header_1_0(
            entry, {"descr": "<f4", "fortran_order": False, "shape": (4, 1_000_000_000)}
        )
        for _ in range(megabytes):
            entry.write(bytes(1_000_000))


def with_nan(path: Path) -> None:
    tensors = load_file(path)
    name = next(name for name in sorted(tensors) if "down_proj" in name or "directions" in name or "right" in name)
    tensors[name].view(-1)[1] = torch.nan
    with_metadata(path, tensors)


def with_metadata(path: Path, tensors: dict[str, torch.Tensor]) -> None:
    length = int.from_bytes(path.read_bytes()[:8], "little")
    save_file(tensors, path, json.loads(path.read_bytes()[8 : 8 + length]).get("__metadata__"))


def without_a_tensor(path: Path) -> None:
    tensors = load_file(path)
    with_metadata(path, {name: tensor for name, tensor in tensors.items() if "layers.1.mlp.down_proj" not in name})


def of_another_shape(path: Path) -> None:
    tensors = load_file(path)
    name = next(name for name in tensors if "layers.1.mlp.down_proj" in name)
    with_metadata(path, tensors | {name: tensors[name][:, :-2].contiguous()})


def huge_header(path: Path) -> None:
    path.write_bytes((1 << 62).to_bytes(8, "little") + path.read_bytes()[8:])


def header(content: str) -> Spoil:
    return raw(len(content).to_bytes(8, "little") + content.encode() + bytes(64))


SAFETENSORS: dict[str, Spoil] = {
    "empty": raw(b""),
    "cut within the length": raw(b"\x10\x00"),
    "cut in the header": cut(0.02),
    "cut in the middle": cut(0.5),
    "a huge header": huge_header,
    "a header that is no JSON": header("{" * 40),
    "a header that is a list": header("[" + "1," * 20 + "1]"),
    "a pickle with a payload": payload,
    "a zip": lambda path: bomb(path, megabytes=1),
    "a page of the web": text("<!DOCTYPE html><html><body>Not found</body></html>"),
    "a pointer of git lfs": text("version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 12\n"),
}


# ---- a model folder --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("spoil", [*SAFETENSORS.values(), without_a_tensor, of_another_shape, with_nan])
def test_weights(work, capsys, spoil):
    spoil(work / MODEL / WEIGHTS)
    refused(work, capsys, "info", "--model", work / MODEL)


def changed_index(change: Callable[[dict], object]) -> Spoil:
    def spoil(folder: Path) -> None:
        content = json.loads((folder / INDEX).read_text())
        change(content["weight_map"])
        (folder / INDEX).write_text(json.dumps(content))

    return spoil


@pytest.mark.parametrize(
    "spoil",
    [
        lambda folder: sorted(folder.glob("*.safetensors"))[1].unlink(),
        changed_index(lambda names: names.update({name: "model-99999.safetensors" for name in list(names)[:2]})),
        changed_index(lambda names: names.update({name: "../model/model.safetensors" for name in names})),
        changed_index(lambda names: names.clear()),
        lambda folder: (folder / INDEX).write_text('{"weight_map": '),
        lambda folder: (folder / INDEX).write_text("[]"),
    ],
)
def test_an_index_of_shards(work, capsys, spoil):
    spoil(work / "shards")
    refused(work, capsys, "info", "--model", work / "shards")


@pytest.mark.parametrize(
    "name", ["config.json", "tokenizer.json", "tokenizer_config.json", "added_tokens.json", "generation_config.json"]
)
@pytest.mark.parametrize("content", ["", '{"model_type": "lla', "[]", "null", '"llama"', "\x00\x01\x02", "[" * 9999])
def test_the_files_beside_the_weights(work, capsys, name, content):
    (work / MODEL / name).write_text(content)
    assert name in refused(work, capsys, "info", "--model", work / MODEL)


@pytest.mark.parametrize("content", ["{}", '{"added_tokens": []}', '{"added_tokens": [], "model": {"type": "None"}}'])
def test_a_tokenizer_that_is_none(work, capsys, content):
    (work / MODEL / "tokenizer.json").write_text(content)
    assert "tokenizer" in refused(work, capsys, "info", "--model", work / MODEL)


@pytest.mark.parametrize("content", ["{% if %}", "{{ messages[0].nothing.more }}", "{% for m in messages %}"])
def test_a_chat_template_that_is_broken(work, capsys, content):
    (work / MODEL / "chat_template.jinja").write_text(content)
    assert "chat template" in refused(work, capsys, "info", "--model", work / MODEL)


def test_a_folder_of_pickled_weights_alone(work, capsys):
    (work / MODEL / WEIGHTS).unlink()
    payload(work / MODEL / "pytorch_model.bin")
    refused(work, capsys, "info", "--model", work / MODEL)


# ---- a recipe --------------------------------------------------------------------------------------------------------

WITH_RECIPE = {
    "import": lambda work, recipe: ("import", recipe),
    "import to a file": lambda work, recipe: ("import", recipe, "-o", work / "made.safetensors"),
    "compare": lambda work, recipe: ("compare", "Hello", "--recipe", recipe),
    "export": lambda work, recipe: ("export", recipe, "-o", work / "out"),
    "export an adapter": lambda work, recipe: ("export", recipe, "-o", work / "out", "--format", "adapter"),
    "verify": lambda work, recipe: ("verify", recipe, work / "export"),
}


@pytest.mark.parametrize("command", WITH_RECIPE.values(), ids=WITH_RECIPE.keys())
@pytest.mark.parametrize("spoil", [*SAFETENSORS.values(), with_nan], ids=[*SAFETENSORS, "a NaN"])
def test_a_recipe(work, capsys, command, spoil):
    spoil(work / "recipe.safetensors")
    refused(work, capsys, *command(work, work / "recipe.safetensors"), "--model", work / MODEL)


@pytest.mark.parametrize("command", WITH_RECIPE.values(), ids=WITH_RECIPE.keys())
def test_a_recipe_for_another_model(work, capsys, command):
    said = refused(work, capsys, *command(work, work / "foreign.safetensors"), "--model", work / MODEL)
    assert "another" in said and MODEL in said


# ---- what the authors' code or others computed -----------------------------------------------------------------------


@pytest.mark.parametrize("name", ["directions.pt", "pack.pt", "vector.safetensors", "vector.npy", "vector.npz"])
@pytest.mark.parametrize(
    "spoil", [*SAFETENSORS.values(), torch_payload], ids=[*SAFETENSORS, "a pickle with a payload in torch's zip"]
)
def test_a_file_from_elsewhere(work, capsys, name, spoil):
    spoil(work / name)
    output = ("-o", work / "made.safetensors", "--texts", work / "data.jsonl")
    refused(work, capsys, "import", work / name, *output, "--model", work / MODEL)
    assert not (work / "harmed").exists()


@pytest.mark.parametrize("name", ["directions.pt", "vector.npz"])
def test_a_zip_bomb(work, capsys, name):
    bomb(work / name) if name.endswith("npz") else packed(work / name, 300_000_000)
    refused(work, capsys, "import", work / name, "--model", work / MODEL)


@pytest.mark.parametrize("array", [np.zeros((3, 5)), np.zeros(()), np.full((2, 32), np.nan), np.array([Evil], object)])
@pytest.mark.parametrize("name", ["vector.npy", "vector.npz"])
def test_an_array_that_is_no_steering_vector(work, capsys, name, array):
    with (work / name).open("wb") as file:
        (np.save if name.endswith(".npy") else np.savez)(file, array)
    refused(work, capsys, "import", work / name, "--model", work / MODEL)


@pytest.mark.parametrize("spoil", [raw(b"GGUF"), raw(b"GGUF\x03\x00\x00\x00" + b"\xff" * 64), raw(b"GGUF" + bytes(64))])
def test_a_control_vector(work, capsys, spoil):
    spoil(work / "vector.gguf")
    refused(work, capsys, "import", work / "vector.gguf", "--model", work / MODEL)


# ---- examples --------------------------------------------------------------------------------------------------------

BAD_EXAMPLES: dict[str, tuple[str, Spoil]] = {
    "empty": ("data.jsonl", raw(b"")),
    "wrong columns": ("data.jsonl", text('{"a": 1, "b": 2}\n' * 8)),
    "cut off": ("data.jsonl", text('{"prompt": "a", "response": "b", "label": 1}\n{"prompt": "a", "resp')),
    "no JSON": ("data.json", text("{'prompt': 1}")),
    "a number": ("data.json", text("5")),
    "one side": ("data.jsonl", text('{"prompt": "a", "response": "b", "label": 1}\n' * 8)),
    "a table without columns": ("data.csv", text("\n\n\n")),
    "a pickle with a payload": ("data.jsonl", payload),
    "a zip": ("data.csv", lambda path: bomb(path, megabytes=1)),
    "bytes": ("data.txt", raw(bytes(range(256)) * 10)),
    "weights": ("data.json", lambda path: shutil.copyfile(path.parent / "recipe.safetensors", path)),
    "deeply nested": ("data.json", text("[" * 100_000)),
    "a row that is a list": ("data.jsonl", text("[1, 2]\n" * 4)),
}
WITH_EXAMPLES = {
    "data": lambda work, file: ("data", file, "-o", work / "made.jsonl"),
    "scores": lambda work, file: ("scores", "--contrast", file, "--model", work / MODEL),
    "edit": lambda work, file: ("edit", "--contrast", file, "-o", work / "made.safetensors", "--model", work / MODEL),
    "texts": lambda work, file: (
        *("import", work / "vector.npy", "--texts", file, "-o", work / "made.safetensors", "--model", work / MODEL),
    ),
}


@pytest.mark.parametrize("command", WITH_EXAMPLES.values(), ids=WITH_EXAMPLES.keys())
@pytest.mark.parametrize(("name", "spoil"), BAD_EXAMPLES.values(), ids=BAD_EXAMPLES.keys())
def test_examples(work, capsys, command, name, spoil):
    spoil(work / name)
    if command is WITH_EXAMPLES["texts"] and spoil is BAD_EXAMPLES["one side"][1]:
        pytest.skip("texts have no sides")
    refused(work, capsys, *command(work, work / name))
    assert not (work / "harmed").exists()


# ---- folders and files that earlier commands wrote -------------------------------------------------------------------


@pytest.mark.parametrize("spoil", SAFETENSORS.values(), ids=SAFETENSORS.keys())
def test_an_export_that_is_verified(work, capsys, spoil):
    spoil(work / "export" / WEIGHTS)
    refused(work, capsys, "verify", work / "recipe.safetensors", work / "export", "--model", work / MODEL)


@pytest.mark.parametrize("folder", ["nowhere", "empty", "recipe.safetensors"])
def test_a_folder_that_is_no_export(work, capsys, folder):
    (work / "empty").mkdir()
    refused(work, capsys, "verify", work / "recipe.safetensors", work / folder, "--model", work / MODEL)


SHORT = ("--trials", "1", "--prompts", "2", "--samples", "1", "--max-new-tokens", "2")
BAD_TEXT: dict[str, Spoil] = {
    "empty": raw(b""),
    "cut off": cut(0.6),
    "a page of the web": text("<!DOCTYPE html><html><body>Not found</body></html>"),
    "a list": text("[]"),
    "other keys": text('{"a": 1}\n'),
    "bytes": raw(bytes(range(256))),
    "a pickle with a payload": payload,
}


@pytest.mark.parametrize("name", ["behavior.json", "contrast.jsonl", "attribute.jsonl", "utility.jsonl"])
@pytest.mark.parametrize("spoil", BAD_TEXT.values(), ids=BAD_TEXT.keys())
def test_a_behaviour_folder(work, capsys, name, spoil):
    folder = shutil.copytree(BUNDLED_BEHAVIORS / "tone", work / "mine")
    spoil(folder / name)
    files = ("-o", work / "search", "--recipe", work / "made.safetensors")
    refused(work, capsys, "find", "--behavior", folder, "--model", work / MODEL, *SHORT, *files)


@pytest.mark.parametrize("spoil", [s for name, s in BAD_TEXT.items() if name != "empty"])
def test_a_file_of_a_sweep(work, capsys, spoil):
    (work / "sweep.jsonl").write_text("{}\n" * 3)
    spoil(work / "sweep.jsonl")
    dials = ("--rho-mlp", "0.5", "--gamma", "1", "--prompts", "2", "--max-new-tokens", "2")
    refused(work, capsys, "sweep", "--behavior", "tone", "--model", work / MODEL, *dials, "-o", work / "sweep.jsonl")


@pytest.mark.parametrize("folder", [MODEL, "nowhere", "empty", "recipe.safetensors"])
def test_a_folder_that_is_pushed(work, capsys, folder, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_none")
    (work / "empty").mkdir()
    refused(work, capsys, "push", work / folder, "somebody/something")
