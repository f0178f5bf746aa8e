"""The folder of extractions: what is found again and what is not, its bound, and several writers."""

import json
import os
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from s2e_core import Example, SettingsError, extract, load_model, swapped
from s2e_core.cache import ExtractionCache, ExtractionKey, cached, default_cache, extract_cached, folder
from s2e_core.cli import main
from s2e_core.data import contrast_set
from s2e_core.model import LoadedModel
from tests.core.cache.texts import TEXTS
from tests.core.chain import EXAMPLES


@pytest.fixture
def cache(tmp_path):
    return ExtractionCache(tmp_path / "cache")


@pytest.fixture
def runs(monkeypatch):
    """Which stages ran the model, in order."""
    ran = []
    for name in ("extract", "capture_token_inputs"):
        real = getattr(cached, name)
        monkeypatch.setattr(cached, name, lambda *a, _n=name, _r=real, **k: (ran.append(_n), _r(*a, **k))[1])
    return ran


def files(cache, ending="safetensors"):
    return sorted(cache.folder.glob(f"*.{ending}"))


def same(a, b):
    pairs = [(a.scores.g, b.scores.g), (a.directions.unit, b.directions.unit), (a.means.mean, b.means.mean)]
    assert (a.token_inputs is None) == (b.token_inputs is None)
    if a.token_inputs is not None:
        pairs += [(getattr(a.token_inputs, n), getattr(b.token_inputs, n)) for n in ("on", "off", "keys")]
    return all(torch.equal(x, y) for left, right in pairs for x, y in zip(left, right, strict=True))


@pytest.mark.parametrize("texts", [None, TEXTS], ids=["examples", "texts"])
def test_the_model_runs_once(texts, llama, cache, runs):
    first = extract_cached(llama, EXAMPLES, texts=texts, cache=cache)
    second = extract_cached(llama, EXAMPLES, texts=texts, cache=cache)
    assert runs == ["extract"] and same(first, second) and same(second, extract(llama, EXAMPLES, texts=texts))


def test_without_a_cache_the_model_runs_every_time(llama, runs):
    extract_cached(llama, EXAMPLES)
    extract_cached(llama, EXAMPLES)
    assert runs == ["extract"] * 2


def test_an_extraction_with_texts_serves_a_request_without(llama, cache, runs):
    extract_cached(llama, EXAMPLES, texts=TEXTS, cache=cache)
    plain = extract_cached(llama, EXAMPLES, cache=cache)
    assert runs == ["extract"] and plain.token_inputs is None and same(plain, extract(llama, EXAMPLES))


def test_an_extraction_without_texts_saves_the_examples_of_one_with(llama, cache, runs):
    extract_cached(llama, EXAMPLES, cache=cache)
    whole = extract_cached(llama, EXAMPLES, texts=TEXTS, cache=cache)
    assert runs == ["extract", "capture_token_inputs"] and same(whole, extract(llama, EXAMPLES, texts=TEXTS))


def other_examples():
    (first, *rest), negative = EXAMPLES.positive, EXAMPLES.negative
    return contrast_set([replace(first, response="Fine, thank you!"), *rest], negative, name="mood")


def changed_weight(loaded: LoadedModel, tmp_path: Path, name: str) -> LoadedModel:
    """A copy of a model with one number of one weight changed."""
    copy = shutil.copytree(loaded.source, tmp_path / "changed")
    path = copy / "model.safetensors"
    tensors = load_file(path)
    tensors[name].view(-1)[0] += 0.25
    save_file(tensors, path, {"format": "pt"})
    return load_model(copy)


def names(loaded, contrast=EXAMPLES, texts=TEXTS):
    return ExtractionKey(loaded, contrast, texts).name


def test_other_examples_sides_or_texts_are_another_key(llama):
    first, *rest = TEXTS.on
    fewer = replace(TEXTS, on=(first,))
    longer = replace(TEXTS, answer_tokens=5)
    named = replace(TEXTS, harmless="other sums")
    keys = [
        names(llama),
        names(llama, other_examples()),
        names(llama, swapped(EXAMPLES)),
        names(llama, texts=None),
        *(names(llama, texts=texts) for texts in (fewer, longer, named)),
    ]
    assert len(set(keys)) == len(keys)
    assert names(llama, replace(EXAMPLES, name="another name")) == keys[0]


def test_what_becomes_of_outliers_is_part_of_the_key(llama, cache, runs):
    ways = ("keep", "leave out", "weigh down")
    for _ in range(2):
        for way in ways:
            assert extract_cached(llama, EXAMPLES, outliers=way, cache=cache).means.outliers == way
    assert runs == ["extract"] * 3 and len(files(cache)) == 3
    whole = extract_cached(llama, EXAMPLES, texts=TEXTS, outliers="weigh down", cache=cache)
    assert runs[3:] == ["capture_token_inputs"] and whole.means.outliers == "weigh down"


def test_another_weight_is_another_key_even_one_that_no_edit_changes(llama, tmp_path):
    """The fingerprint covers what can be edited alone; a query projection changes the means as well."""
    other = changed_weight(llama, tmp_path, "model.layers.0.self_attn.q_proj.weight")
    assert other.fingerprint == llama.fingerprint
    assert names(other) != names(llama)


def test_another_number_format_or_chat_template_is_another_key(llama, model_folder):
    same_model = names(load_model(model_folder))
    assert same_model == names(llama)  # wherever the folder is
    assert names(load_model(model_folder, dtype=torch.bfloat16)) != same_model
    config = json.loads((model_folder / "config.json").read_text())
    (model_folder / "config.json").write_text(json.dumps({**config, "rms_norm_eps": 0.01}))
    assert names(load_model(model_folder)) != same_model
    (model_folder / "config.json").write_text(json.dumps(config))
    (model_folder / "chat_template.jinja").write_text("{% for m in messages %}: {{ m.content }}{% endfor %}\n")
    assert names(load_model(model_folder)) != same_model


def test_what_is_read_has_the_names_of_the_request(llama, cache):
    extract_cached(llama, EXAMPLES, cache=cache)
    copy = replace(llama, model_id="a-copy", revision="v2")
    read = extract_cached(copy, replace(EXAMPLES, name="of a copy"), cache=cache)
    for part in (read.means, read.directions, read.scores):
        assert vars(part.provenance) == vars(copy.provenance("of a copy", EXAMPLES.content_hash))


def test_a_damaged_file_is_written_again(llama, cache, runs):
    first = extract_cached(llama, EXAMPLES, cache=cache)
    (path,) = files(cache)
    content = path.read_bytes()
    path.write_bytes(content[:-10])
    assert same(extract_cached(llama, EXAMPLES, cache=cache), first)
    assert runs == ["extract"] * 2 and path.read_bytes() == content


def test_the_least_recently_used_files_go_first(llama, cache):
    extract_cached(llama, EXAMPLES, cache=cache)
    (oldest,) = files(cache)
    size = oldest.stat().st_size
    extract_cached(llama, swapped(EXAMPLES), cache=cache)
    (second,) = set(files(cache)) - {oldest}
    for age, path in enumerate((second, oldest), 1):  # the other way round, as if oldest had been written last
        os.utime(path, (1e9 - age, 1e9 - age))
    extract_cached(llama, EXAMPLES, cache=cache)  # used: now the most recent
    small = replace(cache, max_bytes=int(2.5 * size))
    extract_cached(llama, other_examples(), cache=small)
    assert oldest in files(cache) and second not in files(cache) and len(files(cache)) == 2
    assert sum(path.stat().st_size for path in files(cache)) <= small.max_bytes


def test_an_extraction_larger_than_the_cache_is_not_stored(llama, cache):
    extract_cached(llama, EXAMPLES, cache=cache)
    (path,) = files(cache)
    extract_cached(llama, swapped(EXAMPLES), cache=replace(cache, max_bytes=1000))
    assert files(cache) == [path]


def test_only_files_of_the_cache_are_removed(llama, cache):
    cache.folder.mkdir()
    mine, old, young = (cache.folder / name for name in ("mine.safetensors", ".x.part", ".y.part"))
    for path in (mine, old, young):
        path.write_bytes(b"x" * 100)
    os.utime(old, (1e9, 1e9))
    key = ExtractionKey(llama, EXAMPLES)
    replace(cache, max_bytes=10).store_extra(key, {"long": "than ten bytes"})
    assert mine.exists() and young.exists() and not old.exists() and not files(cache, "json")


def test_a_json_object_is_kept_beside_an_extraction(llama, cache):
    key = ExtractionKey(llama, EXAMPLES, TEXTS)
    assert cache.load_extra(key) == {}
    cache.store_extra(key, {"elastic net": {"alpha": 0.1, "layers": None}})
    assert cache.load_extra(ExtractionKey(llama, EXAMPLES, TEXTS)) == {"elastic net": {"alpha": 0.1, "layers": None}}
    assert cache.load_extra(ExtractionKey(llama, EXAMPLES)) == {}
    (path,) = files(cache, "json")
    for damaged in ("[1]", "{", ""):
        path.write_text(damaged)
        assert cache.load_extra(key) == {}
    with pytest.raises(TypeError):
        cache.store_extra(key, {"model": llama})


def test_several_may_write_at_once(llama, cache):
    """Each finds a whole file, or none; nothing unfinished is left."""
    key = ExtractionKey(llama, EXAMPLES, TEXTS)
    made = extract(llama, EXAMPLES, texts=TEXTS)

    def use(n):
        if n % 2:
            cache.store(key, made)
            return True
        read = cache.load(ExtractionKey(llama, EXAMPLES, TEXTS))
        return read is None or same(read, made)

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(use, range(60)))
    assert [path.name for path in cache.folder.iterdir()] == [f"{key.name}.safetensors"]


def test_two_processes_may_write_at_once(tmp_path):
    command = [sys.executable, "-m", "s2e_core", "scores", "--behavior", "tone", "--csv", "-"]
    environment = {**os.environ, "STEER2EDIT_CACHE": str(tmp_path)}
    started = [
        subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, cwd=Path(__file__).parents[3])
        for _ in range(2)
    ]
    outputs = [process.communicate(timeout=300)[0] for process in started]
    assert outputs[0] == outputs[1] and outputs[0] and all(process.returncode == 0 for process in started)
    assert len(list((tmp_path / "extractions").iterdir())) == 1


@pytest.mark.parametrize("folder_name", ["file", "file/below"])
def test_a_folder_that_cannot_be_written_only_means_no_cache(folder_name, llama, tmp_path, runs):
    (tmp_path / "file").write_text("")
    cache = ExtractionCache(tmp_path / folder_name)
    assert same(extract_cached(llama, EXAMPLES, cache=cache), extract_cached(llama, EXAMPLES, cache=cache))
    cache.store_extra(ExtractionKey(llama, EXAMPLES), {"a": 1})
    assert cache.load_extra(ExtractionKey(llama, EXAMPLES)) == {} and runs == ["extract"] * 2


def test_the_folder_is_chosen_by_the_environment(monkeypatch, tmp_path):
    monkeypatch.setenv("STEER2EDIT_CACHE", str(tmp_path / "own"))
    assert folder.cache_folder() == tmp_path / "own" / "extractions"
    monkeypatch.delenv("STEER2EDIT_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "shared"))
    assert folder.cache_folder() == tmp_path / "shared" / "steer2edit" / "extractions"
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    monkeypatch.setattr(Path, "home", lambda: tmp_path)
    monkeypatch.setattr(sys, "platform", "linux")
    assert folder.cache_folder() == tmp_path / ".cache" / "steer2edit" / "extractions"
    monkeypatch.setattr(sys, "platform", "darwin")
    assert folder.cache_folder() == tmp_path / "Library" / "Caches" / "steer2edit" / "extractions"


def test_without_a_home_there_is_no_cache(monkeypatch):
    def no_home():
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "home", no_home)
    for variable in ("STEER2EDIT_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(variable, raising=False)
    assert default_cache() is None


def test_a_command_extracts_once_and_with_no_cache_every_time(monkeypatch, tmp_path, capsys, runs):
    monkeypatch.setenv("STEER2EDIT_CACHE", str(tmp_path))
    command = ["scores", "--behavior", "tone", "--json"]
    for _ in range(2):
        assert main([*command, "--no-cache"]) == 0
    assert runs == ["extract"] * 2 and not list(tmp_path.iterdir())
    outputs = []
    for _ in range(2):
        capsys.readouterr()
        assert main(command) == 0
        outputs.append(capsys.readouterr().out)
    assert runs == ["extract"] * 3 and outputs[0] == outputs[1]


def test_broken_prompts_are_refused_by_the_extraction(llama, cache):
    broken = replace(TEXTS, on=(Example("\ud800", ""),))
    with pytest.raises(SettingsError, match="broken Unicode"):
        extract_cached(llama, EXAMPLES, texts=broken, cache=cache)
