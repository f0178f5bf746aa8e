"""GGUF files: read and written alike by the format's own package, and hostile ones refused at no cost."""

import struct

import gguf
import numpy as np
import pytest
import torch

from s2e_core.files.gguf_file import GGUFError, encode_gguf, read_gguf

TENSORS = {"direction.1": torch.arange(5.0), "direction.2": torch.randn(7), "wide": torch.randn(2, 3)}
HEADER = {"general.architecture": "controlvector", "controlvector.layer_count": 3, "general.name": "Grüße"}


def test_what_is_written_is_read_back():
    header, tensors = read_gguf(encode_gguf(HEADER, TENSORS))
    assert header == HEADER
    assert tensors.keys() == TENSORS.keys()
    assert all(torch.equal(tensors[name], TENSORS[name]) for name in TENSORS)


def test_the_formats_own_package_reads_what_is_written(tmp_path):
    (tmp_path / "a.gguf").write_bytes(encode_gguf(HEADER, TENSORS))
    reader = gguf.GGUFReader(tmp_path / "a.gguf")
    assert {name: reader.get_field(name).contents() for name in HEADER} == HEADER
    for tensor in reader.tensors:
        assert np.array_equal(tensor.data, TENSORS[tensor.name].numpy())


def test_what_the_formats_own_package_writes_is_read(tmp_path):
    writer = gguf.GGUFWriter(tmp_path / "a.gguf", "controlvector")
    writer.add_string("controlvector.model_hint", "llama")
    writer.add_array("some.texts", ["a", "b"])
    writer.add_array("some.numbers", [1, 2, 3])
    writer.add_float64("some.float", 0.5)
    writer.add_bool("some.bool", True)
    for name, tensor in TENSORS.items():
        writer.add_tensor(name, tensor.numpy())
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    header, tensors = read_gguf((tmp_path / "a.gguf").read_bytes())
    assert header["controlvector.model_hint"] == "llama"
    assert all(torch.equal(tensors[name], TENSORS[name]) for name in TENSORS)


def test_a_file_cut_off_anywhere_is_refused():
    data = encode_gguf(HEADER, {"direction.1": torch.ones(8)})
    for length in range(len(data)):
        with pytest.raises(GGUFError):
            read_gguf(data[:length])


def head(n_tensors, n_entries, rest):
    return b"GGUF" + struct.pack("<IQQ", 3, n_tensors, n_entries) + rest


def entry(kind, rest):
    return struct.pack("<Q", 1) + b"a" + struct.pack("<I", kind) + rest


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"GGML" + bytes(100), "does not begin"),
        (b"GGUF" + struct.pack(">I", 3) + bytes(100), "version"),
        (head(2**63, 0, b""), "cut off"),
        (head(0, 2**63, b""), "cut off"),
        (head(0, 1, entry(9, struct.pack("<IQ", 0, 2**62))), "cut off"),  # an array of 2^62 numbers
        (head(0, 1, entry(9, struct.pack("<IQ", 8, 2**62))), "cut off"),  # of 2^62 texts
        (head(0, 1, entry(9, struct.pack("<IQ", 9, 2**62))), "array of the type 9"),
        (head(0, 1, entry(99, bytes(8))), "unknown type 99"),
        (head(0, 1, struct.pack("<Q", 2**62)), "cut off"),
        (head(1, 0, struct.pack("<Q", 1) + b"a" + struct.pack("<I", 2**31)), "dimensions"),
        (head(1, 0, struct.pack("<Q", 1) + b"a" + struct.pack("<IQIQ", 1, 2**60, 0, 0)), "cut off"),
        (head(1, 0, struct.pack("<Q", 1) + b"a" + struct.pack("<IQIQ", 1, 4, 1, 0)), "not stored as F32"),
        (head(1, 0, struct.pack("<Q", 1) + b"\xff" + struct.pack("<IQIQ", 1, 4, 0, 0)), "not text"),
    ],
)  # fmt: skip
def test_hostile_lengths_and_unknown_types_are_refused(data, said):
    with pytest.raises(GGUFError, match=said):
        read_gguf(data)


def test_tensors_that_share_their_bytes_are_refused():
    places = b"".join(struct.pack("<Q2sIQIQ", 2, b"%02d" % n, 1, 1000, 0, 0) for n in range(50))
    with pytest.raises(GGUFError, match="cut off"):
        read_gguf(head(50, 0, places) + bytes(5000))
