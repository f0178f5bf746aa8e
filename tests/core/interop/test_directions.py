"""The authors' directions files: the same scores as the chain, and a sentence for every file that is not one."""

import pytest
import torch

from s2e_core import InteropError, component_scores, load_model
from s2e_core.interop import load_directions, torch_file
from tests.core.author_files import Evil, claim_size, directions_content, module_key, packed
from tests.core.chain import chain
from tests.families import saved_folder


@pytest.fixture
def content(llama):
    return directions_content(llama)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "directions.pt"


def refused(path, loaded):
    with pytest.raises(InteropError) as error:
        load_directions(path, loaded)
    assert "\n" not in str(error.value) and str(error.value).startswith("directions.pt")
    return str(error.value)


@pytest.mark.parametrize("family", ["llama", "gpt2", "opt"])
def test_the_scores_are_those_of_the_chain(family, path, request):
    loaded = request.getfixturevalue(family)
    torch.save(directions_content(loaded), path)
    imported, expected = load_directions(path, loaded), chain(loaded)
    scores = component_scores(loaded, imported.inputs, imported.directions)
    torch.testing.assert_close(imported.directions.norm, expected.directions.norm, rtol=1e-4, atol=1e-6)
    for i in range(len(loaded.spec.sites)):
        torch.testing.assert_close(imported.directions.unit[i], expected.directions.unit[i], rtol=0, atol=1e-4)
        torch.testing.assert_close(scores.g[i], expected.scores.g[i], rtol=0, atol=1e-4)
        torch.testing.assert_close(scores.keys[i], expected.scores.keys[i], rtol=0, atol=1e-3)


def test_the_file_stands_in_the_provenance(llama, content, path):
    torch.save(content, path)
    imported = load_directions(path, llama)
    assert imported.inputs.n_examples is None
    assert imported.directions.provenance.contrast_name == "directions.pt"
    assert imported.directions.provenance.fingerprint == llama.fingerprint
    assert len(imported.directions.provenance.contrast_hash) == 64


def test_bf16_numbers_and_dotted_names_are_read(llama, content, path):
    content = {
        part: {
            name: {key.replace("[", ".").replace("]", ""): tensor.bfloat16() for key, tensor in tensors.items()}
            for name, tensors in content[part].items()
        }
        for part in ("pre", "post")
    }
    torch.save(content, path)
    expected = chain(llama).directions
    for unit, other in zip(load_directions(path, llama).directions.unit, expected.unit, strict=True):
        assert float(unit @ other) > 0.99


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda c, key: c.pop("post"), 'the part "post" is missing'),
        (lambda c, key: c["pre"].pop("neg_mean"), "pre.neg_mean is missing"),
        (lambda c, key: c["post"]["direction"].pop(key), "lacks 1 of the 6 projections"),
        (lambda c, key: c["post"]["direction"].update({"lm_head": torch.ones(3)}), 'entry "lm_head"'),
        (lambda c, key: c["post"]["direction"].update({3: torch.ones(3)}), 'entry "3"'),
        (lambda c, key: c["pre"]["pos_mean"].update({key.replace("0", "7"): torch.ones(64)}), "names layer 7"),
        (lambda c, key: c["pre"]["pos_mean"].update({key: torch.ones(4096)}), r"\[4096\], but .* needs \[64\]"),
        (lambda c, key: c["pre"]["pos_mean"].update({key: torch.ones(1).expand(10**12)}), r"\[1000000000000\], but"),
        (lambda c, key: c["pre"]["pos_mean"].update({key: torch.full((64,), float("nan"))}), "not finite"),
        (lambda c, key: c["post"]["direction"].update({key: torch.full((64,), 1e30)}), "too large to compute with"),
        (lambda c, key: c["pre"]["pos_mean"].update({key: torch.ones(64, dtype=torch.int8)}), "int8"),
        (lambda c, key: c["pre"]["pos_mean"].update({key: torch.ones(64).to_sparse()}), "ordinary tensor"),
        (lambda c, key: c["pre"]["pos_mean"].update({key: [1.0] * 64}), "ordinary tensor"),
    ],
)  # fmt: skip
def test_a_file_of_another_shape_is_refused(llama, content, path, change, said):
    change(content, module_key(llama.spec.sites[0]))
    torch.save(content, path)
    with pytest.raises(InteropError, match=said):
        load_directions(path, llama)


@pytest.mark.parametrize("content", [torch.ones(3), [1, 2], "text", {}])
def test_other_contents_are_refused(llama, path, content):
    torch.save(content, path)
    assert "missing or not a dictionary" in refused(path, llama)


def test_another_model_of_the_same_shape_is_refused(llama, content, path, tmp_path):
    torch.save(content, path)
    other = load_model(saved_folder(tmp_path / "other", "llama"))
    dice = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for site in other.spec.sites:
            other.model.get_submodule(site.name).weight.normal_(generator=dice)
    assert "another model than other" in refused(path, other)


def test_a_smaller_model_is_refused(content, path, tmp_path):
    torch.save(content, path)
    smaller = load_model(saved_folder(tmp_path / "smaller", "llama", num_hidden_layers=2))
    assert "the loaded model has the layers 0 to 1" in refused(path, smaller)


@pytest.mark.parametrize("keep", [0, 3, 100, 0.5, -30])
def test_a_truncated_file_is_refused(llama, content, path, keep):
    torch.save(content, path)
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * keep) if isinstance(keep, float) else keep])
    assert "directions.pt is" in refused(path, llama)


def test_damaged_bytes_within_the_pickle_are_refused(llama, content, path):
    torch.save(content, path)
    data = bytearray(path.read_bytes())
    start = data.index(b"data.pkl") + 80
    for offset in range(0, 400, 7):
        path.write_bytes(data[: start + offset] + b"\xff\x00c" + data[start + offset + 3 :])
        refused(path, llama)


def test_a_payload_is_refused_and_never_run(llama, path, tmp_path):
    marker = tmp_path / "ran"
    torch.save({"pre": Evil(marker), "post": {}}, path)
    assert "nothing was loaded" in refused(path, llama)
    assert not marker.exists()
    torch.load(path, weights_only=False)
    assert marker.exists()  # the file was armed


def test_an_older_bare_pickle_is_refused_and_never_run(llama, path, tmp_path):
    marker = tmp_path / "ran"
    torch.save(Evil(marker), path, _use_new_zipfile_serialization=False)
    assert "since version 1.6" in refused(path, llama)
    assert not marker.exists()


def test_a_zip_bomb_is_not_opened(llama, content, path, monkeypatch):
    torch.save(content, path)
    packed(path, 90_000_000)
    assert path.stat().st_size < 1_000_000
    monkeypatch.setattr(torch, "load", None)  # never reached
    assert "unpacks to 90" in refused(path, llama)


def test_a_zip_that_claims_more_than_it_has_is_not_opened(llama, content, path, monkeypatch):
    torch.save(content, path)
    claim_size(path, 3_000_000_000)
    monkeypatch.setattr(torch, "load", None)
    assert "unpacks to 3.0 GB" in refused(path, llama)


def test_a_huge_file_is_refused_unread(llama, path, monkeypatch):
    with path.open("wb") as file:
        file.truncate(torch_file.MAX_BYTES + 1)  # takes no room on the disk
    assert "has 512.0 MB" in refused(path, llama)


def test_a_missing_file_and_a_folder_are_refused(llama, tmp_path):
    with pytest.raises(InteropError, match="gone.pt cannot be read"):
        load_directions(tmp_path / "gone.pt", llama)
    with pytest.raises(InteropError, match="cannot be read"):
        load_directions(tmp_path, llama)
