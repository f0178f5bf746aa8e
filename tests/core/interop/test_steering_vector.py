"""Steering vectors of one's own: every file gives the same directions, and bad files get a sentence."""

import pickle
import struct
import zipfile
from dataclasses import replace

import gguf
import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from s2e_core import EditSettings, Example, InteropError, Steered, build_edit
from s2e_core.files.gguf_file import encode_gguf
from s2e_core.generation import preview_logits
from s2e_core.interop import CONTROL_VECTOR_NOTE, load_steering_vector, save_control_vector
from s2e_core.method import capture_inputs, score_along
from tests.core.author_files import Evil
from tests.core.chain import chain
from tests.reference import cosine

VECTOR = torch.randn(3, 64, generator=torch.Generator().manual_seed(5))
TEXTS = [Example("How are you?", "Great, thank you!"), Example("And now?", "Bad, bad.")]


def per_layer(prefix="layer_"):
    return {f"{prefix}{layer}": row.clone() for layer, row in enumerate(VECTOR)}


WRITERS = {
    "one.safetensors": lambda path: save_file({"vector": VECTOR}, path),
    "rows.safetensors": lambda path: save_file(per_layer(), path),
    "half.safetensors": lambda path: save_file({"vector": VECTOR.half()}, path),
    "array.npy": lambda path: np.save(path, VECTOR.numpy()),
    "double.npy": lambda path: np.save(path, np.asfortranarray(VECTOR.double().numpy())),
    "array.npz": lambda path: np.savez(path, vector=VECTOR.numpy()),
    "unnamed.npz": lambda path: np.savez(path, VECTOR.numpy()),
    "rows.npz": lambda path: np.savez(path, *VECTOR.numpy()),
    "packed.npz": lambda path: np.savez_compressed(path, **{n: t.numpy() for n, t in per_layer("").items()}),
    "kept.npy": lambda path: np.save(path, VECTOR[:, None].numpy()),
    "kept.safetensors": lambda path: save_file({n: t[None].clone() for n, t in per_layer().items()}, path),
    "array.pt": lambda path: torch.save(torch.nn.Parameter(VECTOR), path),
    "rows.pt": lambda path: torch.save({layer: row for layer, row in enumerate(VECTOR)}, path),
    "named.pt": lambda path: torch.save(per_layer("model.layers."), path),
    "list.pt": lambda path: torch.save(list(VECTOR), path),
    "control.gguf": lambda path: path.write_bytes(encode_gguf({}, per_layer("direction."))),
}  # fmt: skip


@pytest.mark.parametrize("name", WRITERS)
def test_every_format_gives_each_layers_vector_to_both_of_its_sites(llama, tmp_path, name):
    WRITERS[name](tmp_path / name)
    directions = load_steering_vector(tmp_path / name, llama)
    tolerance = 1e-3 if "half" in name else 1e-6
    for i, site in enumerate(llama.spec.sites):
        torch.testing.assert_close(
            directions.unit[i] * directions.norm[i], VECTOR[site.layer], rtol=tolerance, atol=tolerance
        )
    assert directions.provenance.contrast_name == name


def test_scores_need_mean_inputs_alone(llama, tmp_path):
    WRITERS["one.safetensors"](tmp_path / "one.safetensors")
    directions, inputs = load_steering_vector(tmp_path / "one.safetensors", llama), capture_inputs(llama, TEXTS)
    extraction = score_along(llama, inputs, directions)
    scores = extraction.scores
    for i, site in enumerate(llama.spec.sites):
        blocks, xs = llama.weight(i).unflatten(1, (-1, site.width)), inputs.mean[i].unflatten(0, (-1, site.width))
        for index in range(0, site.n_components, 5):
            expected = cosine(VECTOR[site.layer].double(), blocks[:, index].double() @ xs[index].double())
            assert float(scores.g[i][index]) == pytest.approx(float(expected), abs=1e-5)
    assert not build_edit(extraction, EditSettings(0.1, 0.1, 0.5)).is_empty
    assert scores.provenance.contrast_name == "one.safetensors, inputs of examples"


def test_a_layer_without_a_vector_gets_no_direction_and_no_edit(llama, tmp_path):
    save_file({"layers.1": VECTOR[1].clone()}, tmp_path / "a.safetensors")
    directions = load_steering_vector(tmp_path / "a.safetensors", llama)
    extraction = score_along(llama, capture_inputs(llama, TEXTS), directions)
    edit = build_edit(extraction, EditSettings(0.1, 0.1, 0.1))
    assert {llama.spec.sites[i].layer for i in edit.edited_sites()} == {1}


def tensors(**named):
    return lambda path: save_file(named, path)


NAN = VECTOR.clone()
NAN[1, 2] = float("nan")


@pytest.mark.parametrize(
    ("name", "write", "said"),
    [
        ("a.bin", lambda p: p.write_bytes(b""), "unsupported file type"),
        ("a.pt", lambda p: p.write_bytes(b""), "not in the format that torch.save has written"),
        ("a.pt", lambda p: torch.save(torch.ones(4, 64), p), "4 rows, but .* 3 layers"),
        ("a.pt", lambda p: torch.save(torch.ones(3, 64).to_sparse(), p), "not an ordinary tensor"),
        ("a.pt", lambda p: torch.save({"vector": torch.ones(64), "scale": 2}, p), "no bare tensors"),
        ("a.pt", lambda p: torch.save([], p), "no bare tensors"),
        ("a.pt", lambda p: torch.save(torch.ones(90_000, 64), p), "at most 1.0 MB"),
        ("a.npy", lambda p: np.save(p, np.ones(64)), "one vector, and neither its name nor an entry says"),
        ("a.npy", lambda p: np.save(p, np.ones((3, 2, 64))), r"array of the shape \[3, 2, 64\]. Expected \[3, 64\]"),
        ("a.safetensors", tensors(layer_1=torch.ones(2, 64)), r"shape \[2, 64\], but .* needs \[3, 64\]"),
        ("a.safetensors", tensors(v=torch.ones(3, 128)), r"shape \[3, 128\], but .* needs \[3, 64\]"),
        ("a.safetensors", tensors(v=torch.ones(32, 64)), r"shape \[32, 64\]"),
        ("a.safetensors", tensors(v=torch.ones(4, 64)), "4 rows, but .* 3 layers"),
        ("a.safetensors", tensors(v=NAN), "not finite"),
        ("a.safetensors", tensors(v=VECTOR * 1e30), "too large to compute with"),
        ("a.safetensors", tensors(v=torch.ones(3, 64, dtype=torch.int32)), "int32"),
        ("a.safetensors", tensors(v=torch.zeros(3, 64)), "no vector other than zero"),
        ("a.safetensors", tensors(layer_9=torch.ones(64)), "layer 9, but the loaded model has the layers 0 to 2"),
        ("a.safetensors", tensors(layer_1=torch.ones(64), also_1=torch.ones(64)), "two vectors for layer 1"),
        ("a.safetensors", tensors(first=torch.ones(64), second=torch.ones(64)), 'the tensor "first"'),
        ("a.safetensors", tensors(l1_2=torch.ones(64)), "and no other number, in its name"),
        ("a.safetensors", tensors(v=torch.ones(100_000, 64)), "at most 1.0 MB"),
        ("a.safetensors", lambda p: p.write_bytes((1 << 40).to_bytes(8, "little")), "damaged"),
        ("a.npy", lambda p: p.write_bytes(b"\x93NUMPY\x01"), "damaged"),
        ("a.npy", lambda p: np.save(p, np.ones((3, 64), dtype=np.int64)), "int64"),
        ("a.safetensors", tensors(), "contains no array"),
        ("a.npz", lambda p: np.savez(p), "contains no array"),
        ("a.npz", lambda p: np.savez(p, np.ones(64)), "one vector, and neither its name nor an entry says"),
        ("a.npz", lambda p: p.write_bytes(b"PK\x03\x04 no zip"), "damaged"),
        ("a.npz", lambda p: np.savez_compressed(p, v=np.zeros((10_000, 1000))), "unpacks to 80"),
        ("a.gguf", lambda p: p.write_bytes(b"GGUF"), "cannot be read as a control vector: it is cut off"),
        ("a.gguf", lambda p: p.write_bytes(encode_gguf({}, {"blk.0.ffn": torch.ones(64)})), "Expected a control"),
        ("a.gguf", lambda p: p.write_bytes(encode_gguf({}, {})), "no tensors"),
        ("a.gguf", lambda p: p.write_bytes(encode_gguf({}, {"direction.1": torch.ones(65)})), r"shape \[65\]"),
        ("a.gguf", lambda p: p.write_bytes(encode_gguf({}, {"direction.3": torch.ones(64)})), "layer 3, but"),
    ],
)  # fmt: skip
def test_bad_files_get_one_sentence(llama, tmp_path, name, write, said):
    write(tmp_path / name)
    with pytest.raises(InteropError, match=said) as error:
        load_steering_vector(tmp_path / name, llama)
    assert "\n" not in str(error.value) and str(error.value).startswith(name)


@pytest.mark.parametrize("name", WRITERS)
def test_truncated_files_are_refused(llama, tmp_path, name):
    WRITERS[name](tmp_path / name)
    whole = (tmp_path / name).read_bytes()
    for length in (0, 5, 60, len(whole) // 2, len(whole) - 1):
        (tmp_path / name).write_bytes(whole[:length])
        with pytest.raises(InteropError):
            load_steering_vector(tmp_path / name, llama)


def test_an_array_of_objects_is_refused_and_never_run(llama, tmp_path):
    marker = tmp_path / "ran"
    objects = np.empty(1, dtype=object)
    objects[0] = Evil(marker)
    np.save(tmp_path / "a.npy", objects, allow_pickle=True)
    np.savez(tmp_path / "b.npz", v=objects)
    (tmp_path / "c.npy").write_bytes(pickle.dumps(Evil(marker)))
    for name in ("a.npy", "b.npz", "c.npy"):
        with pytest.raises(InteropError):
            load_steering_vector(tmp_path / name, llama)
    assert not marker.exists()
    np.load(tmp_path / "a.npy", allow_pickle=True)
    assert marker.exists()  # the file was armed


def test_a_header_that_claims_a_huge_array_is_refused_unread(llama, tmp_path):
    head = b"{'descr': '<f4', 'fortran_order': False, 'shape': (1000000000, 64), }\n"
    (tmp_path / "a.npy").write_bytes(b"\x93NUMPY\x01\x00" + struct.pack("<H", len(head)) + head)
    with pytest.raises(InteropError, match="damaged"):
        load_steering_vector(tmp_path / "a.npy", llama)
    with zipfile.ZipFile(tmp_path / "b.npz", "w") as target:
        target.write(tmp_path / "a.npy", "v.npy")
    with pytest.raises(InteropError, match="damaged"):
        load_steering_vector(tmp_path / "b.npz", llama)


def test_a_control_vector_is_read_by_the_formats_own_package(llama, tmp_path):
    directions = chain(llama).directions
    path = save_control_vector(directions, tmp_path / "mood.gguf")
    reader = gguf.GGUFReader(path)
    header = {name: reader.get_field(name).contents() for name in reader.fields if not name.startswith("GGUF.")}
    assert header["general.architecture"] == "controlvector"
    assert (header["controlvector.model_hint"], header["controlvector.layer_count"]) == ("llama", 2)
    assert header["general.description"] == CONTROL_VECTOR_NOTE and "not the weight edit" in CONTROL_VECTOR_NOTE
    assert [tensor.name for tensor in reader.tensors] == ["direction.1", "direction.2"]
    for tensor in reader.tensors:
        layer = int(tensor.name[-1])
        sites = [i for i, site in enumerate(llama.spec.sites) if site.layer == layer]
        expected = sum(directions.unit[i] * directions.norm[i] for i in sites)
        assert tensor.tensor_type == gguf.GGMLQuantizationType.F32
        np.testing.assert_allclose(tensor.data, expected.numpy(), rtol=1e-6)


def test_at_the_last_layer_a_control_vector_does_what_steering_does(llama, tmp_path):
    """With the MLP's direction alone, which no part of its layer can answer to."""
    save_file({"2": VECTOR[2].clone()}, tmp_path / "a.safetensors")
    directions = load_steering_vector(tmp_path / "a.safetensors", llama)
    attention = llama.spec.of_kind("heads")[2]
    units = tuple(torch.zeros_like(u) if i == attention else u for i, u in enumerate(directions.unit))
    alone = replace(directions, unit=units)
    path = save_control_vector(alone, tmp_path / "b.gguf")
    added = torch.from_numpy(gguf.GGUFReader(path).tensors[0].data.copy())
    layer = llama.model.model.layers[2]
    handle = layer.register_forward_hook(
        lambda module, x, y: y + added if isinstance(y, torch.Tensor) else (y[0] + added, *y[1:])
    )
    ids = torch.tensor([[1, 40, 77, 12]])
    try:
        with torch.inference_mode():
            expected = llama.model(input_ids=ids, use_cache=False).logits
    finally:
        handle.remove()
    torch.testing.assert_close(preview_logits(llama, Steered(alone, 1.0), ids), expected, rtol=1e-4, atol=1e-4)


def test_a_control_vector_of_nothing_or_to_nowhere_is_not_written(llama, tmp_path):
    save_file({"0": VECTOR[0].clone()}, tmp_path / "a.safetensors")
    with pytest.raises(InteropError, match="No layer above layer 0"):
        save_control_vector(load_steering_vector(tmp_path / "a.safetensors", llama), tmp_path / "b.gguf")
    with pytest.raises(InteropError, match="could not be written"):
        save_control_vector(chain(llama).directions, tmp_path / "missing" / "b.gguf")
    assert [path.name for path in tmp_path.iterdir()] == ["a.safetensors"]
