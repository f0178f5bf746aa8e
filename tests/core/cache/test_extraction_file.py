"""An extraction in a file: every bit comes back, and a file that is not what it should be is as good as none."""

import json
from dataclasses import replace

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from s2e_core import EditSettings, build_edit, extract
from s2e_core.cache import extraction_file, load_extraction, save_extraction
from s2e_core.export.recipe import recipe_bytes
from s2e_core.method import capture_inputs, score_along
from s2e_core.settings import Gate
from tests.core.cache.texts import TEXTS
from tests.core.chain import EXAMPLES

PARTS = ("means", "directions", "scores", "token_inputs")


def tensors_of(value):
    """Every tensor of a value by field and index."""
    found = {}
    for name, field in vars(value).items():
        entries = (
            field.items() if isinstance(field, dict) else enumerate(field if isinstance(field, tuple) else [field])
        )
        found |= {(name, i): entry for i, entry in entries if isinstance(entry, torch.Tensor)}
    return found


def bits(tensor):
    return tensor.contiguous().flatten().view(torch.uint8)


def check_same(read, made):
    for part in PARTS:
        a, b = getattr(read, part), getattr(made, part)
        assert type(a) is type(b)
        if b is None:
            continue
        tensors, expected = tensors_of(a), tensors_of(b)
        assert tensors and tensors.keys() == expected.keys()
        for name, tensor in expected.items():
            assert tensors[name].dtype == tensor.dtype and tensors[name].shape == tensor.shape
            assert torch.equal(bits(tensors[name]), bits(tensor))
        plain = {k: v for k, v in vars(b).items() if isinstance(v, int | float | str)}
        assert plain == {k: getattr(a, k) for k in plain}
        if part != "token_inputs":
            assert vars(a.provenance) == vars(b.provenance)


@pytest.fixture(scope="module")
def made(llama):
    return extract(llama, EXAMPLES, texts=TEXTS)


@pytest.mark.parametrize("with_texts", [True, False])
@pytest.mark.parametrize("family", ["llama", "gpt2", "opt"])
def test_every_bit_comes_back(family, with_texts, request, tmp_path):
    loaded = request.getfixturevalue(family)
    made = extract(loaded, EXAMPLES, texts=TEXTS if with_texts else None)
    read = load_extraction(save_extraction(made, tmp_path / "a.safetensors"), loaded)
    check_same(read, made)
    assert read.spec is loaded.spec
    settings = EditSettings(0.3, 0.3, 0.5, gate=Gate(0.7, 10.0, size=5) if with_texts else None)
    assert recipe_bytes(build_edit(read, settings)) == recipe_bytes(build_edit(made, settings))


def test_means_without_sides_come_back_too(llama, made, tmp_path):
    inputs = capture_inputs(llama, EXAMPLES.positive)
    foreign = score_along(llama, inputs, made.directions)
    read = load_extraction(save_extraction(foreign, tmp_path / "a.safetensors"), llama)
    check_same(read, foreign)
    assert read.means.n_examples == len(EXAMPLES.positive)


def test_what_was_read_can_be_saved_again(llama, made, tmp_path):
    first = save_extraction(made, tmp_path / "a.safetensors")
    second = save_extraction(load_extraction(first, llama), tmp_path / "b.safetensors")
    assert first.read_bytes() == second.read_bytes()


def test_token_inputs_can_be_left_out(llama, made, tmp_path):
    path = save_extraction(made, tmp_path / "a.safetensors")
    check_same(load_extraction(path, llama, token_inputs=False), replace(made, token_inputs=None))


def described(path):
    with safe_open(path, "pt") as file:
        return json.loads(file.metadata()["steer2edit_extraction"])


def rewrite(path, change):
    data = described(path)
    change(data)
    save_file(load_file(path), path, {"steer2edit_extraction": json.dumps(data)})


def change_version(data):
    data["version"] += 1


def change_site(data):
    data["sites"][0][0] += "x"


def change_fingerprint(data):
    data["provenance"]["scores"]["fingerprint"] = "0" * 64


def drop_counts(data):
    del data["counts"]


@pytest.mark.parametrize("change", [change_version, change_site, change_fingerprint, drop_counts])
def test_a_file_of_another_version_or_model_is_ignored(change, llama, made, tmp_path):
    path = save_extraction(made, tmp_path / "a.safetensors")
    rewrite(path, lambda data: None)
    assert load_extraction(path, llama) is not None
    rewrite(path, change)
    assert load_extraction(path, llama) is None


def test_the_file_of_another_model_is_ignored(llama, gpt2, made, tmp_path):
    assert load_extraction(save_extraction(made, tmp_path / "a.safetensors"), gpt2) is None


@pytest.mark.parametrize("end", [0, 5, 200, -1])
def test_a_file_that_is_cut_off_is_ignored(end, llama, made, tmp_path):
    path = save_extraction(made, tmp_path / "a.safetensors")
    path.write_bytes(path.read_bytes()[:end])
    assert load_extraction(path, llama) is None


def test_a_single_wrong_bit_is_noticed(llama, made, tmp_path):
    """In every tensor: the checksum covers what no other check can see."""
    path = save_extraction(made, tmp_path / "a.safetensors")
    content = path.read_bytes()
    header = 8 + int.from_bytes(content[:8], "little")
    for place in range(header, len(content), (len(content) - header) // 50):
        broken = bytearray(content)
        broken[place] ^= 1
        path.write_bytes(broken)
        assert load_extraction(path, llama) is None


def test_a_file_that_is_missing_or_something_else_is_ignored(llama, tmp_path):
    assert load_extraction(tmp_path / "none", llama) is None
    assert load_extraction(tmp_path, llama) is None
    save_file({"x": torch.ones(2)}, tmp_path / "other.safetensors")
    assert load_extraction(tmp_path / "other.safetensors", llama) is None


def test_an_error_of_the_disk_is_an_oserror(made, tmp_path):
    with pytest.raises(OSError):
        save_extraction(made, tmp_path / "none" / "a.safetensors")


def test_the_size_is_known_before_a_file_is_written(made, tmp_path):
    path = save_extraction(made, tmp_path / "a.safetensors")
    header = 8 + int.from_bytes(path.read_bytes()[:8], "little")
    assert extraction_file.n_bytes(made) == path.stat().st_size - header
