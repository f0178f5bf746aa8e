"""Random damage to model folders, adapters and recipes: all of it must end in a result or in one sentence.

`python -m tests.fuzz_models N [FIRST]` tries N seeds from FIRST on and lists those that end in anything else.
The damages of bytes and of JSON values serve any kind of file.
"""

from __future__ import annotations

import os

os.environ.setdefault("HF_HUB_OFFLINE", "1")  # read when huggingface_hub is first imported

import json  # noqa: E402
import random  # noqa: E402
import shutil  # noqa: E402
import sys  # noqa: E402
import tempfile  # noqa: E402
import traceback  # noqa: E402
import warnings  # noqa: E402
from collections.abc import Callable, Iterable, Sequence  # noqa: E402
from dataclasses import dataclass  # noqa: E402
from pathlib import Path  # noqa: E402
from typing import Any  # noqa: E402

import torch  # noqa: E402
from huggingface_hub import constants  # noqa: E402
from peft import LoraConfig, get_peft_model  # noqa: E402
from transformers import AutoModelForCausalLM  # noqa: E402

from s2e_core import S2EError, generate_responses, load_edit, load_model, save_edit  # noqa: E402
from tests.core.edits import random_edit  # noqa: E402
from tests.families import saved_folder  # noqa: E402

VALUES: Sequence[Any] = (
    None, True, False, 0, -1, 1, 3, 7, 10**12, 0.5, float("nan"), "", "nonsense", "1", [], [1], ["a"], [[1]], {},
    {"a": 1},
)  # fmt: skip
POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n"


def damage_bytes(rng: random.Random, content: bytes) -> bytes:
    """Cut, flip, repeat, insert or replace some of the bytes."""
    at = rng.randrange(len(content) + 1)
    to = min(len(content), at + rng.randrange(1, 40))
    noise = rng.randbytes(rng.randrange(1, 40))
    kind = rng.randrange(7)
    if kind == 0:
        return content[:at]
    if kind == 1:
        return content[:at] + bytes(255 - byte for byte in content[at:to]) + content[to:]
    if kind == 2:
        return content[:at] + content[at:to] * 2 + content[to:]
    if kind == 3:
        return content[:at] + noise + content[to:]
    if kind == 4:
        return content[:at] + content[to:]
    return rng.choice((b"", POINTER, noise, b"{}", b"[]", b"\xef\xbb\xbf" + content, content + noise))


def damage_json(rng: random.Random, value: Any) -> Any:
    """Replace or remove one part of a JSON value, at any depth; or add an entry of another type."""
    if isinstance(value, dict) and value and rng.random() < 0.9:
        key = rng.choice(list(value))
        kind = rng.random()
        if kind < 0.15:
            return {name: part for name, part in value.items() if name != key}
        if kind < 0.2:
            return value | {rng.choice(("extra", "0", "")): rng.choice(VALUES)}
        return value | {key: damage_json(rng, value[key])}
    if isinstance(value, list) and value and rng.random() < 0.7:
        at = rng.randrange(len(value))
        return [*value[:at], damage_json(rng, value[at]), *value[at + 1 :]]
    return rng.choice(VALUES)


def damage_file(rng: random.Random, path: Path) -> None:
    """Damage one file by its bytes, by one of its JSON values, by its header if it is safetensors, or remove it."""
    content = path.read_bytes()
    kind = rng.random()
    if kind < 0.08:
        path.unlink()
    elif path.suffix == ".json" and kind < 0.8:
        path.write_text(json.dumps(damage_json(rng, json.loads(content))))
    elif path.suffix == ".safetensors" and kind < 0.6:
        size = int.from_bytes(content[:8], "little")
        header = json.dumps(damage_json(rng, json.loads(content[8 : 8 + size]))).encode()
        path.write_bytes(len(header).to_bytes(8, "little") + header + content[8 + size :])
    else:
        path.write_bytes(damage_bytes(rng, content))


@dataclass(frozen=True)
class Models:
    """A whole model with an adapter and a recipe, from which every case takes damaged copies."""

    folder: Path

    @property
    def model(self) -> Path:
        return self.folder / "model"

    @property
    def adapter(self) -> Path:
        return self.folder / "adapter"

    @property
    def recipe(self) -> Path:
        return self.folder / "edit.safetensors"


def make_models(folder: Path) -> Models:
    """Write a very small model, a LoRA adapter for it, and a recipe."""
    models = Models(folder)
    saved_folder(models.model, "llama", num_hidden_layers=1, hidden_size=32, intermediate_size=48, head_dim=8)
    config = LoraConfig(r=2, target_modules=["o_proj", "down_proj"], init_lora_weights=False)
    get_peft_model(AutoModelForCausalLM.from_pretrained(models.model), config).save_pretrained(models.adapter)
    save_edit(random_edit(load_model(models.model, device="cpu")), models.recipe)
    return models


def try_model(rng: random.Random, models: Models, work: Path) -> None:
    folder = shutil.copytree(models.model, work / "model")
    files = sorted(folder.iterdir())
    likely = [path for path in files if path.name in ("config.json", "generation_config.json", "tokenizer_config.json")]
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        path = rng.choice(rng.choice((files, likely)))
        if path.is_file() and path.stat().st_size:
            try_damage(rng, path)
    generate_responses(load_model(folder, device="cpu"), ["Hello"], max_new_tokens=2, temperature=0.0)


def try_adapter(rng: random.Random, models: Models, work: Path) -> None:
    folder = shutil.copytree(models.adapter, work / "adapter")
    try_damage(rng, folder / rng.choice(("adapter_config.json", "adapter_model.safetensors")))
    load_model(models.model, device="cpu", adapter=folder)


def try_recipe(rng: random.Random, models: Models, work: Path) -> None:
    path = Path(shutil.copyfile(models.recipe, work / "edit.safetensors"))
    content = path.read_bytes()
    size = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + size])
    if rng.random() < 0.6:
        inner = damage_json(rng, json.loads(header["__metadata__"]["steer2edit"]))
        text = json.dumps(header | {"__metadata__": {"steer2edit": json.dumps(inner)}}).encode()
        path.write_bytes(len(text).to_bytes(8, "little") + text + content[8 + size :])
    else:
        try_damage(rng, path)
    load_edit(path)


def try_damage(rng: random.Random, path: Path) -> None:
    """Damage a file that an earlier damage may have made unreadable as JSON."""
    try:
        damage_file(rng, path)
    except (ValueError, KeyError):
        path.write_bytes(damage_bytes(rng, path.read_bytes()))


KINDS: Sequence[Callable[[random.Random, Models, Path], None]] = (
    try_model,
    try_model,
    try_adapter,
    try_recipe,
    try_recipe,
)


def run_case(seed: int, models: Models) -> str | None:
    """What went wrong in the case of a seed: a traceback, or a sentence that shows a path; None if nothing did."""
    rng = random.Random(seed)
    with tempfile.TemporaryDirectory(prefix="fuzz-") as work, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            rng.choice(KINDS)(rng, models, Path(work))
        except S2EError as error:
            said = str(error)
            return f"path shown: {said}" if work in said or len(said) < 20 or "\n" in said else None
        except Exception:
            return traceback.format_exc()
    return None


def run_cases(seeds: Iterable[int], models: Models) -> dict[int, str]:
    """What went wrong, by seed."""
    found = {}
    for seed in seeds:
        if (wrong := run_case(seed, models)) is not None:
            found[seed] = wrong
    return found


def main(n_cases: int, first: int = 0) -> int:
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        constants.HF_HOME = folder  # merged adapters are written below it
        models = make_models(Path(folder) / "whole")
        n_wrong = 0
        for start in range(first, first + n_cases, 100):
            found = run_cases(range(start, min(start + 100, first + n_cases)), models)
            n_wrong += len(found)
            for seed, wrong in found.items():
                print(f"seed {seed}: {wrong}", flush=True)
            shutil.rmtree(Path(folder) / "steer2edit", ignore_errors=True)
    print(f"{n_cases:,} cases from seed {first}, {n_wrong:,} of them without a result or a sentence")
    return min(n_wrong, 1)


if __name__ == "__main__":
    raise SystemExit(main(*map(int, sys.argv[1:])))
