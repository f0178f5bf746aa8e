"""Times the streamed export against save_pretrained and compares their memory, as ratios of one run; by hand:

    .venv/bin/python tests/benchmarks/export_benchmark.py [--megabytes 500] [--runs 3]
    .venv/bin/python tests/benchmarks/export_benchmark.py --shape qwen --megabytes 2000

A random Llama-like checkpoint in bf16 and four shards is exported by each arm in a process of its own. Both arms start
from a model that is loaded in bf16; what counts is the time from there, and the peak memory beyond the model itself.
save_pretrained runs once as it must where the loaded model may not be written, on a second model that is loaded for
it, and once in its best case, with the loaded weights edited in place.

With --shape the checkpoint has the widths and the vocabulary of Qwen2.5-0.5B (tied embeddings) or of Llama 3.2 1B
(untied), and as many layers as fill the megabytes; the export is then timed against a plain copy of the same files, by
turns in the process that holds the model, so that all of them find the same memory. The source lies in the page cache,
or with --cold on the disk alone. Two times count: until the call returns, and until fsync says that it is on the disk.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, LlamaConfig, PreTrainedConfig, PreTrainedModel, Qwen2Config

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from s2e_core import WeightEdit, edited_weight, export_checkpoint, load_model
from s2e_core.model import LoadedModel
from s2e_core.text import readable_size
from tests.core.edits import random_edit
from tests.families import tiny_tokenizer

BASE = "save_pretrained of a second model"
IN_PLACE = "save_pretrained after an edit in place"
COPY = "plain file copy"
TYPICAL, EVERY = "export of a typical edit", "export, every projection edited"
ARMS = ("streamed", "streamed float32", BASE, IN_PLACE)
BESIDE_COPY = "beside copy"
HIDDEN, MLP = 1024, 2816
GOAL_RATIO, GOAL_EXTRA = 1.3, 400_000_000
SHAPES: dict[str, PreTrainedConfig] = {
    "qwen": Qwen2Config(
        hidden_size=896,
        intermediate_size=4864,
        num_attention_heads=14,
        num_key_value_heads=2,
        vocab_size=151_936,
        tie_word_embeddings=True,
    ),
    "llama": LlamaConfig(
        hidden_size=2048,
        intermediate_size=8192,
        num_attention_heads=32,
        num_key_value_heads=8,
        vocab_size=128_256,
        tie_word_embeddings=False,
    ),
}


def make_checkpoint(folder: Path, megabytes: int) -> int:
    """A random model of about this size; returns the bytes of its weights."""
    per_layer = 2 * (4 * HIDDEN * HIDDEN + 3 * HIDDEN * MLP)
    config = LlamaConfig(
        hidden_size=HIDDEN,
        intermediate_size=MLP,
        num_hidden_layers=max(1, megabytes * 1_000_000 // per_layer),
        num_attention_heads=8,
        num_key_value_heads=8,
        vocab_size=320,
    )
    torch.set_default_dtype(torch.bfloat16)
    model = AutoModelForCausalLM.from_config(config)
    size = sum(parameter.nbytes for parameter in model.parameters())
    model.save_pretrained(folder, max_shard_size=size // 4 + HIDDEN * MLP * 2)
    tiny_tokenizer().save_pretrained(folder)
    return size


def make_shaped_checkpoint(folder: Path, shape: str, megabytes: int) -> int:
    """A random model of a well-known shape in bf16 and about four shards; returns the bytes of its weights."""
    config = SHAPES[shape]
    width, mlp, kv = config.hidden_size, config.intermediate_size, config.num_key_value_heads
    keys_and_values = 2 * width * kv * (width // config.num_attention_heads)
    per_layer = 2 * (2 * width * width + keys_and_values + 3 * width * mlp)
    embeddings = 2 * width * config.vocab_size * (1 if config.tie_word_embeddings else 2)
    layers = max(1, round((megabytes * 1_000_000 - embeddings) / per_layer))
    settings = config.to_dict() | {"num_hidden_layers": layers}
    settings.pop("layer_types", None)  # one entry a layer, of the default number of layers
    config = type(config).from_dict(settings)
    torch.set_default_dtype(torch.bfloat16)
    model = AutoModelForCausalLM.from_config(config)
    size = sum(parameter.nbytes for parameter in model.parameters())
    model.save_pretrained(folder, max_shard_size=max(size // 4 + width * mlp * 2, embeddings))
    tiny_tokenizer().save_pretrained(folder)
    return size


def memory(field: str) -> int:
    """Bytes of VmRSS (now) or VmHWM (peak) of this process, as Linux reports them."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(field):
            return 1024 * int(line.split()[1])
    raise RuntimeError(f"This system does not report {field}; the benchmark needs Linux.")


def save_edited(model: PreTrainedModel, edit: WeightEdit, folder: Path) -> None:
    with torch.no_grad():
        for i in edit.edited_sites():
            weight = model.get_submodule(edit.spec.sites[i].name).weight
            weight.copy_(edited_weight(weight, edit.left[i], edit.right[i]))
    model.save_pretrained(folder)


def in_memory(source: Path) -> LoadedModel:
    """Loaded in bf16, and not mapped from the file: the same start for all arms."""
    torch.set_num_threads(1)  # all arms move bytes; threads only make the times of a busy machine jump
    loaded = load_model(source, device="cpu", dtype=torch.bfloat16)
    for parameter in loaded.model.parameters():
        parameter.data = parameter.data.clone()
    return loaded


def run_arm(arm: str, source: Path) -> None:
    """One export, in this process; prints seconds and bytes as JSON."""
    loaded = in_memory(source)
    edit = random_edit(loaded)
    with tempfile.TemporaryDirectory(dir=source.parent) as folder:
        Path("/proc/self/clear_refs").write_text("5")  # the peak counts from here
        before, start = memory("VmRSS"), time.perf_counter()
        if arm == IN_PLACE:
            save_edited(loaded.model, edit, Path(folder) / "out")
        elif arm == BASE:
            save_edited(AutoModelForCausalLM.from_pretrained(source), edit, Path(folder) / "out")
        else:
            dtype = "float32" if arm == "streamed float32" else "stored"
            export_checkpoint(loaded, edit, Path(folder) / "out", dtype=dtype)
        seconds = time.perf_counter() - start
        print(json.dumps({"seconds": seconds, "extra": memory("VmHWM") - before}))


def typical_edit(loaded: LoadedModel) -> WeightEdit:
    """Heads in every fourth layer, neurons in every second."""
    sites = [i for i, site in enumerate(loaded.spec.sites) if site.layer % (4 if site.kind == "heads" else 2) == 1]
    return random_edit(loaded, sites=tuple(sites))


def run_beside_copy(source: Path, cold: bool, turn: int) -> None:
    """A plain copy and both exports, in this process and the order of this turn; prints what each took as JSON."""
    loaded = in_memory(source)
    typical, every = typical_edit(loaded), random_edit(loaded)
    arms: list[tuple[str, Callable[[Path], object]]] = [
        (COPY, lambda out: shutil.copytree(source, out)),
        (TYPICAL, lambda out: export_checkpoint(loaded, typical, out)),
        (EVERY, lambda out: export_checkpoint(loaded, every, out)),
    ]
    timed(arms[0][1], source, cold)  # not counted: whoever comes first touches memory that nobody used before
    print(json.dumps({name: timed(run, source, cold) for name, run in arms[turn % 3 :] + arms[: turn % 3]}))


def timed(run: Callable[[Path], object], source: Path, cold: bool) -> dict[str, float]:
    """Seconds until `run` returns, until its files are on the disk, of the processor; and the peak of memory."""
    os.sync()
    with tempfile.TemporaryDirectory(dir=source.parent) as folder:
        for path in source.iterdir():
            if cold:
                drop_from_page_cache(path)
            else:
                shutil.copyfile(path, os.devnull)
        Path("/proc/self/clear_refs").write_text("5")
        before, start, used = memory("VmRSS"), time.perf_counter(), time.process_time()
        run(Path(folder) / "out")
        seconds, used = time.perf_counter() - start, time.process_time() - used
        extra = memory("VmHWM") - before
        for path in (path for path in (Path(folder) / "out").rglob("*") if path.is_file()):
            with path.open("rb") as file:
                os.fsync(file.fileno())
        return {"seconds": seconds, "on disk": time.perf_counter() - start, "processor": used, "extra": extra}


def drop_from_page_cache(path: Path) -> None:
    with path.open("rb") as file:
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def measured(arm: str, source: Path, *options: str) -> Any:
    command = [sys.executable, __file__, "--arm", arm, "--source", str(source), *options]
    output = subprocess.run(command, check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True).stdout
    return json.loads(output.splitlines()[-1])


def compare_with_copy(source: Path, runs: int, cold: bool) -> None:
    """Prints the medians; ratios are taken within a round, where the machine is equally busy."""
    options = ["--cold"] if cold else []
    rounds = [measured(BESIDE_COPY, source, *options, "--turn", str(turn)) for turn in range(runs)]
    for arm in (COPY, TYPICAL, EVERY):
        line = [f"{arm:33}"]
        for what in ("seconds", "on disk", "processor"):
            seconds = statistics.median(r[arm][what] for r in rounds)
            ratios = [r[arm][what] / r[COPY][what] for r in rounds]
            line.append(
                f"{what} {seconds:6.2f} ({statistics.median(ratios):4.2f} x; {min(ratios):.2f}-{max(ratios):.2f})"
            )
        extra = statistics.median(r[arm]["extra"] for r in rounds)
        print("  ".join((*line, f"{readable_size(extra)} beyond the model")), flush=True)
    print(f"Goal: {GOAL_RATIO} x, {readable_size(GOAL_EXTRA)}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--megabytes", type=int, default=500, help="size of the checkpoint (default 500)")
    parser.add_argument("--runs", type=int, default=3, help="runs of each arm, alternating (default 3)")
    parser.add_argument(
        "--shape", choices=sorted(SHAPES), help="time against a plain copy, with the shape of this model"
    )
    parser.add_argument("--folder", type=Path, help="on the disk to measure (default: the system's temporary folder)")
    parser.add_argument("--cold", action="store_true", help="with --shape: read the source from the disk")
    parser.add_argument("--arm", choices=(*ARMS, BESIDE_COPY), help=argparse.SUPPRESS)
    parser.add_argument("--source", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--turn", type=int, default=0, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.arm == BESIDE_COPY:
        run_beside_copy(options.source, options.cold, options.turn)
        return
    if options.arm:
        run_arm(options.arm, options.source)
        return
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        source = Path(folder) / "model"
        if options.shape:
            size = make_shaped_checkpoint(source, options.shape, options.megabytes)
        else:
            size = make_checkpoint(source, options.megabytes)
        print(f"{readable_size(size)} in {len(list(source.glob('*.safetensors')))} shards, median of {options.runs}")
        if options.shape:
            compare_with_copy(source, options.runs, options.cold)
            return
        rounds = [{arm: measured(arm, source) for arm in ARMS} for _ in range(options.runs)]
    median = {arm: {k: statistics.median(r[arm][k] for r in rounds) for k in ("seconds", "extra")} for arm in ARMS}
    base = median[BASE]
    for arm in ARMS:
        seconds, extra = median[arm]["seconds"], median[arm]["extra"]
        print(
            f"{arm:38} {seconds:6.2f} s ({seconds / base['seconds']:4.2f} x)   {readable_size(extra):>8} beyond the "
            f"model ({extra / base['extra']:4.2f} x, {extra / size:.2f} of the weights)"
        )


if __name__ == "__main__":
    main()
