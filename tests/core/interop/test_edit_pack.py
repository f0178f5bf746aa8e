"""The authors' edit packs: the same edit as the chain's, and a sentence for every file that is not one."""

from dataclasses import replace

import pytest
import torch

from s2e_core import Edited, InteropError, Original, load_edit, save_edit
from s2e_core.generation import preview_logits
from s2e_core.interop import load_edit_pack
from s2e_core.interop.checks import find_site
from tests.core.author_files import Evil, pack_content, packed
from tests.core.chain import chain


@pytest.fixture
def edit(llama):
    return chain(llama).edit


@pytest.fixture
def path(tmp_path):
    return tmp_path / "pack.pt"


@pytest.mark.parametrize("family", ["llama", "gpt2"])
def test_the_edit_is_the_chains(family, path, request):
    loaded = request.getfixturevalue(family)
    edit = chain(loaded).edit
    torch.save(pack_content(edit), path)
    again = load_edit_pack(path, loaded)
    assert edit.edited_sites() == again.edited_sites()
    assert again.count("heads") == edit.count("heads") > 0 and again.count("neurons") == edit.count("neurons") > 0
    for i in edit.edited_sites():
        assert torch.equal(again.left[i], edit.left[i])
        torch.testing.assert_close(again.right[i], edit.right[i], rtol=1e-6, atol=1e-7)
        torch.testing.assert_close(again.strength[i], edit.strength[i], rtol=1e-6, atol=1e-7)
    assert (again.settings.rho_attn, again.settings.rho_mlp, again.settings.alpha) == (0.3, 0.3, 0.5)


def test_an_imported_edit_changes_the_model_as_the_original_does(llama, edit, path):
    torch.save(pack_content(edit), path)
    ids = torch.tensor([[1, 40, 77, 12]])
    made, imported, untouched = (
        preview_logits(llama, variant, ids)
        for variant in (Edited(edit), Edited(load_edit_pack(path, llama)), Original())
    )
    torch.testing.assert_close(imported, made, rtol=1e-5, atol=1e-5)
    assert not torch.allclose(imported, untouched, atol=1e-2)


def test_an_imported_edit_is_saved_as_a_recipe_and_names_its_file(llama, edit, path, tmp_path):
    torch.save(pack_content(edit), path)
    saved = save_edit(load_edit_pack(path, llama), tmp_path / "edit.safetensors")
    assert load_edit(saved, base=llama).provenance.contrast_name == "pack.pt"


def test_a_rho_that_is_not_positive_is_off(llama, edit, path):
    content = pack_content(edit)
    content["mlp"], content["meta"]["rho_mlp"] = {}, -1
    content["meta"]["seed"] = 3
    torch.save(content, path)
    again = load_edit_pack(path, llama)
    assert again.settings.rho_mlp is None and again.count("neurons") == 0 and again.count("heads") > 0


def test_half_precision_and_numbers_in_tensors_are_read(llama, edit, path):
    content = pack_content(edit)
    for entry in content["attn"].values():
        entry["lambda"], entry["k_hat"] = torch.tensor(entry["lambda"]), entry["k_hat"].bfloat16()
    for part in ("vhat_attn", "vhat_mlp"):
        content["meta"][part] = {layer: unit.bfloat16() for layer, unit in content["meta"][part].items()}
    torch.save(content, path)
    assert load_edit_pack(path, llama).count("heads") == edit.count("heads")


def first(content, part="attn"):
    return next(iter(content[part]))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda c: c.pop("meta"), '"meta" is missing'),
        (lambda c: c["meta"].pop("alpha"), "meta.alpha is missing"),
        (lambda c: c["meta"].update(alpha=1.5), "invalid settings"),
        (lambda c: c["meta"].update(rho_attn=float("nan")), "meta.rho_attn is missing or not a finite number"),
        (lambda c: (c["attn"].clear(), c["mlp"].clear()), "edits no head and no neuron"),
        (lambda c: c["attn"].update({(0, 99): c["attn"][first(c)]}), "beyond the 4 heads"),
        (lambda c: c["attn"].update({(40, 0): c["attn"][first(c)]}), "names layer 40"),
        (lambda c: c["attn"].update({"0, 1": {}}), "pairs of layer and index"),
        (lambda c: c["attn"].update({(-1, 0): {}}), "pairs of layer and index"),
        (lambda c: c["attn"][first(c)].pop("lambda"), "lambda is missing"),
        (lambda c: c["attn"][first(c)].update({"lambda": float("inf")}), "not a finite number"),
        (lambda c: c["mlp"][first(c, "mlp")].update({"lambda": 1e39}), "not a finite number"),
        (lambda c: c["attn"][first(c)].pop("k_hat"), "k_hat is missing"),
        (lambda c: c["attn"][first(c)].update(k_hat=torch.ones(128)), r"\[128\], but"),
        (lambda c: c["attn"][first(c)].update(k_hat=torch.ones(16)), "length 4. Expected a unit vector"),
        (lambda c: c["attn"][first(c)].update(k_hat=torch.full((16,), float("nan"))), "not finite"),
        (lambda c: c["meta"]["vhat_attn"].clear(), "vhat_attn of layer"),
        (lambda c: c["meta"].update(vhat_mlp=[]), "vhat_mlp is missing or not a dictionary"),
        (lambda c: [u.mul_(2) for u in c["meta"]["vhat_mlp"].values()], "length 2. Expected a unit vector"),
        (lambda c: c["mlp"].update({(0, 10**20): {"lambda": 1.0}}), "beyond the"),
    ],
)  # fmt: skip
def test_a_malformed_pack_is_refused(llama, edit, path, change, said):
    content = pack_content(edit)
    change(content)
    torch.save(content, path)
    with pytest.raises(InteropError, match=said) as error:
        load_edit_pack(path, llama)
    assert "\n" not in str(error.value)


def test_a_pack_whose_keys_do_not_follow_from_the_weights_is_refused(llama, edit, path):
    content = pack_content(edit)
    dice = torch.Generator().manual_seed(3)
    for entry in content["attn"].values():
        entry["k_hat"] = torch.nn.functional.normalize(torch.randn(16, generator=dice), dim=0)
    torch.save(content, path)
    with pytest.raises(InteropError, match="made for another model than"):
        load_edit_pack(path, replace(llama))


def test_a_payload_and_a_packed_file_are_refused(llama, edit, path, tmp_path):
    content = pack_content(edit)
    torch.save(content | {"extra": Evil(tmp_path / "ran")}, path)
    with pytest.raises(InteropError, match="nothing was loaded"):
        load_edit_pack(path, llama)
    assert not (tmp_path / "ran").exists()
    torch.save(content, path)
    with pytest.raises(InteropError, match="unpacks to"):
        load_edit_pack(packed(path, 50_000_000), llama)


def test_neurons_of_experts_are_never_meant(llama):
    sites = tuple(replace(site, experts=4) if site.kind == "neurons" else site for site in llama.spec.sites)
    with pytest.raises(InteropError, match="no projections of neurons"):
        find_site(replace(llama.spec, sites=sites), 0, "neurons", "pack.pt")
