"""Times the streamed export against save_pretrained and compares their memory, as ratios of one run; by hand:

    .venv/bin/python tests/benchmarks/export_benchmark.py [--megabytes 500] [--runs 3]
    .venv/bin/python tests/benchmarks/export_benchmark.py --shape qwen --megabytes 2000

A random Llama-like checkpoint in bf16 and four shards is exported by each arm in a process of its own. Both arms start
from a model that is loaded in bf16; what counts is the time from there, and the peak memory beyond the model itself.
save_pretrained runs once as it must where the loaded model may not be written, on a second model that is loaded for
it, and once in its best case, with the loaded weights edited in place.

With --shape the checkpoint has the widths and the vocabulary of Qwen2.5-0.5B (tied embeddings) or of Llama 3.2 1B
(untied), and as many layers as fill the megabytes; the export is then timed against a plain copy of the same files.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, LlamaConfig, PreTrainedConfig, PreTrainedModel, Qwen2Config

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from s2e_core import WeightEdit, load_model
from s2e_core.edit import edited_weight
from s2e_core.export import export_checkpoint
from s2e_core.staging import readable_size
from tests.core.edits import random_edit
from tests.families import tiny_tokenizer

BASE = "save_pretrained of a second model"
IN_PLACE = "save_pretrained after an edit in place"
COPY = "plain file copy"
ARMS = ("streamed", "streamed float32", BASE, IN_PLACE)
COPY_ARMS = (COPY, "streamed")
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


def run_arm(arm: str, source: Path) -> None:
    """One export, in this process; prints seconds and bytes as JSON."""
    if arm == COPY:
        with tempfile.TemporaryDirectory(dir=source.parent) as folder:
            start = time.perf_counter()
            shutil.copytree(source, Path(folder) / "out")
            print(json.dumps({"seconds": time.perf_counter() - start, "extra": 0}))
        return
    torch.set_num_threads(1)  # all arms move bytes; threads only make the times of a busy machine jump
    loaded = load_model(source, device="cpu", dtype=torch.bfloat16)
    edit = random_edit(loaded)
    for parameter in loaded.model.parameters():
        parameter.data = parameter.data.clone()  # in memory, not mapped from the file: the same start for all arms
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


def measured(arm: str, source: Path) -> dict[str, float]:
    command = [sys.executable, __file__, "--arm", arm, "--source", str(source)]
    output = subprocess.run(command, check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True).stdout
    result: dict[str, float] = json.loads(output.splitlines()[-1])
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--megabytes", type=int, default=500, help="size of the checkpoint (default 500)")
    parser.add_argument("--runs", type=int, default=3, help="runs of each arm, alternating (default 3)")
    parser.add_argument(
        "--shape", choices=sorted(SHAPES), help="time against a plain copy, with the shape of this model"
    )
    parser.add_argument("--arm", choices=(*ARMS, COPY), help=argparse.SUPPRESS)
    parser.add_argument("--source", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.arm:
        run_arm(options.arm, options.source)
        return
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "model"
        if options.shape:
            size = make_shaped_checkpoint(source, options.shape, options.megabytes)
        else:
            size = make_checkpoint(source, options.megabytes)
        arms = COPY_ARMS if options.shape else ARMS
        print(f"{readable_size(size)} in {len(list(source.glob('*.safetensors')))} shards, median of {options.runs}")
        rounds = [{arm: measured(arm, source) for arm in arms} for _ in range(options.runs)]
    median = {arm: {k: statistics.median(r[arm][k] for r in rounds) for k in ("seconds", "extra")} for arm in arms}
    if options.shape:
        ratio = median["streamed"]["seconds"] / median[COPY]["seconds"]
        print(f"{COPY} {median[COPY]['seconds']:.2f} s, streamed export {median['streamed']['seconds']:.2f} s")
        print(
            f"time {ratio:.2f} x (goal {GOAL_RATIO} x), {readable_size(median['streamed']['extra'])} beyond the model "
            f"(goal {readable_size(GOAL_EXTRA)})"
        )
        return
    base = median[BASE]
    for arm in ARMS:
        seconds, extra = median[arm]["seconds"], median[arm]["extra"]
        print(
            f"{arm:38} {seconds:6.2f} s ({seconds / base['seconds']:4.2f} x)   {readable_size(extra):>8} beyond the "
            f"model ({extra / base['extra']:4.2f} x, {extra / size:.2f} of the weights)"
        )


if __name__ == "__main__":
    main()
