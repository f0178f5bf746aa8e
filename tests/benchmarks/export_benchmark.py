"""Times the streamed export against save_pretrained and compares their memory, as ratios of one run; by hand:

    .venv/bin/python tests/benchmarks/export_benchmark.py [--megabytes 500] [--runs 3]

A random Llama-like checkpoint in bf16 and four shards is exported by each arm in a process of its own. Both arms start
from a model that is loaded in bf16; what counts is the time from there, and the peak memory beyond the model itself.
save_pretrained runs once as it must where the loaded model may not be written, on a second model that is loaded for
it, and once in its best case, with the loaded weights edited in place.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, LlamaConfig, PreTrainedModel

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from s2e_core import WeightEdit, load_model
from s2e_core.edit import edited_weight
from s2e_core.export import export_checkpoint
from s2e_core.staging import readable_size
from tests.core.edits import random_edit
from tests.families import tiny_tokenizer

BASE = "save_pretrained of a second model"
IN_PLACE = "save_pretrained after an edit in place"
ARMS = ("streamed", "streamed float32", BASE, IN_PLACE)
HIDDEN, MLP = 1024, 2816


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
    parser.add_argument("--arm", choices=ARMS, help=argparse.SUPPRESS)
    parser.add_argument("--source", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.arm:
        run_arm(options.arm, options.source)
        return
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "model"
        size = make_checkpoint(source, options.megabytes)
        print(f"{readable_size(size)} in {len(list(source.glob('*.safetensors')))} shards, median of {options.runs}")
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
