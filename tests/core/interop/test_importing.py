"""Files of every kind told apart by their content, and one sentence for each that is none or does not fit."""

import json
import pickle
import struct
import zipfile

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from s2e_core import ContrastDataError, InteropError, RecipeError, import_file, load_model, save_edit
from s2e_core.interop import read_texts, save_control_vector
from tests.core.author_files import Evil, claim_size, directions_content, pack_content, packed
from tests.core.chain import chain
from tests.families import saved_folder

VECTOR = torch.linspace(-1, 1, 3 * 64).view(3, 64)


def write(kind, path, loaded):
    """A good file of that kind."""
    made = chain(loaded)
    if kind == "recipe":
        save_edit(made.edit, path)
    elif kind == "directions":
        torch.save(directions_content(loaded), path)
    elif kind == "edit pack":
        torch.save(pack_content(made.edit), path)
    elif kind == "npy":
        with path.open("wb") as file:
            np.save(file, VECTOR.numpy())
    elif kind == "npz":
        with path.open("wb") as file:
            np.savez(file, v=VECTOR.numpy())
    elif kind == "pt":
        torch.save(VECTOR, path)
    elif kind == "gguf":
        save_control_vector(made.directions, path)
    else:
        save_file({"v": VECTOR}, path)
    return path


KINDS = ("recipe", "directions", "edit pack", "safetensors", "npy", "npz", "pt", "gguf")


@pytest.mark.parametrize("kind", KINDS)
def test_the_content_tells_the_kind_whatever_the_name_is(llama, tmp_path, kind):
    imported = import_file(write(kind, tmp_path / "mine.bin", llama), llama)
    assert imported.kind == (kind if kind in ("recipe", "directions", "edit pack") else "steering vector")
    assert imported.name == "mine.bin"
    finished = imported.kind in ("recipe", "edit pack")
    assert (imported.edit is not None) == finished and (imported.directions is None) == finished
    assert (imported.inputs is not None) == (imported.kind == "directions")


def test_what_was_read_is_said(llama, tmp_path):
    said = {kind: import_file(write(kind, tmp_path / kind, llama), llama).sentence() for kind in KINDS}
    edit = chain(llama).edit
    size = f"{edit.count('heads')} heads and {edit.count('neurons')} neurons in 3 of 3 layers"
    assert said["recipe"] == f"A recipe of this program: a finished edit of {size}, made from mood."
    assert said["edit pack"] == f"An edit pack of the authors' code: a finished edit of {size}."
    assert "with the mean inputs, for 3 of 3 layers (0-2" in said["directions"]
    assert "2 of 3 layers (1-2, counted from 0)." in said["gguf"]


def text(path, loaded):
    path.write_text("directions of mine\n" * 10)


def truncated(kind, keep):
    def cut(path, loaded):
        data = write(kind, path, loaded).read_bytes()
        path.write_bytes(data[: int(len(data) * keep)])

    return cut


def payload(path, loaded):
    torch.save({"pre": Evil(path.parent / "ran"), "post": {}}, path)


def old_payload(path, loaded):
    path.write_bytes(pickle.dumps(Evil(path.parent / "ran")))


def bomb_pt(path, loaded):
    packed(write("directions", path, loaded), 50_000_000)


def bomb_npz(path, loaded):
    with path.open("wb") as file:
        np.savez_compressed(file, v=np.zeros((10_000, 1000)))


def lying_pt(path, loaded):
    claim_size(write("directions", path, loaded), 1 << 31)


def other_zip(path, loaded):
    with zipfile.ZipFile(path, "w") as target:
        target.writestr("readme.txt", "hello")


def endless_header(path, loaded):
    path.write_bytes(struct.pack("<Q", 90_000_000) + b"{" + b"[" * 100_000)


def odd_header(path, loaded):
    header = json.dumps({"__metadata__": ["steer2edit"]}).encode()
    path.write_bytes(struct.pack("<Q", len(header)) + header)


@pytest.mark.parametrize(
    ("name", "spoil", "said"),
    [
        ("a.pt", text, "damaged or of an unknown kind"),
        ("a.safetensors", text, "damaged or of an unknown kind"),
        ("a.npy", lambda p, m: p.write_bytes(b""), "damaged or of an unknown kind"),
        ("a.safetensors", truncated("recipe", 0.7), "not a recipe of this program, or it is cut off"),
        ("a.safetensors", truncated("safetensors", 0.7), "damaged"),
        ("a.pt", truncated("directions", 0.7), "damaged"),
        ("a.npz", truncated("npz", 0.7), "damaged"),
        ("a.npy", truncated("npy", 0.7), "damaged"),
        ("a.gguf", truncated("gguf", 0.7), "cut off"),
        ("a.pt", payload, "could run code, so nothing was loaded"),
        ("a.pt", old_payload, "can run code when they are read, so they are refused"),
        ("a.pt", bomb_pt, "unpacks to"),
        ("a.npz", bomb_npz, "unpacks to 80"),
        ("a.pt", lying_pt, "damaged|unpacks to"),
        ("a.pt", other_zip, "damaged"),
        ("a.safetensors", endless_header, "damaged"),
        ("a.safetensors", odd_header, "damaged"),
        ("a.pt", lambda p, m: torch.save(VECTOR.double().numpy().tolist(), p), "nor a steering vector as bare tensors"),
        ("a.pt", lambda p, m: torch.save({"model": {}}, p), "neither directions"),
    ],
)  # fmt: skip
def test_other_files_get_one_sentence_and_run_nothing(llama, tmp_path, name, spoil, said):
    spoil(tmp_path / name, llama)
    with pytest.raises((InteropError, RecipeError), match=said) as error:
        import_file(tmp_path / name, llama)
    assert "\n" not in str(error.value) and name in str(error.value) and str(tmp_path) not in str(error.value)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_is_refused_for_another_model(llama, tmp_path, kind):
    path = write(kind, tmp_path / "a", llama)
    smaller = load_model(saved_folder(tmp_path / "other", "llama", num_hidden_layers=2))
    with pytest.raises((InteropError, RecipeError)):
        import_file(path, smaller)


def test_a_file_that_is_not_there_is_a_sentence(llama, tmp_path):
    with pytest.raises(InteropError, match="cannot be read"):
        import_file(tmp_path / "nowhere.pt", llama)


def test_texts_for_mean_inputs_need_no_sides(tmp_path):
    path = tmp_path / "texts.jsonl"
    path.write_text('{"prompt": "One?", "response": "Yes."}\n{"prompt": "Two?", "response": "No."}\n')
    assert [(text.prompt, text.response) for text in read_texts(path)] == [("One?", "Yes."), ("Two?", "No.")]
    path = tmp_path / "sides.csv"
    path.write_text("prompt,response,label\na,b,negative\nc,d,positive\n")
    assert [text.response for text in read_texts(path)] == ["d", "b"]
    path.write_text("prompt,response,label\na,b,4\nc,d,5\n")
    assert [text.response for text in read_texts(path)] == ["b", "d"]
    path.write_text("prompt\nHello?\nAnd now?\n")
    with pytest.raises(ContrastDataError, match="no prompts with responses"):
        read_texts(path)


def test_examples_are_sent_to_where_examples_are_read(loaded, tmp_path):
    path = tmp_path / "mine.jsonl"
    path.write_text('{"prompt": "a", "positive": "b", "negative": "c"}\n')
    with pytest.raises(InteropError, match="Load it as your own examples"):
        import_file(path, loaded)
