"""Data files and vectors damaged at random: each ends in a result, or in one sentence of the program's own errors.

`python -m tests.fuzz_data 20000` tries that many inputs and prints those that end otherwise, with their seeds;
`python -m tests.fuzz_data 1 SEED` repeats one of them.
"""

from __future__ import annotations

import contextlib
import csv
import gzip
import io
import json
import random
import sys
import tempfile
import traceback
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import pyarrow as pa
import torch
from pyarrow import feather, parquet
from safetensors.torch import save as save_safetensors

from s2e_core.data import Columns, contrast_set_from, lint, read_examples, sampled
from s2e_core.errors import S2EError
from s2e_core.files.gguf_file import encode_gguf
from s2e_core.interop import LayerChoice, import_file
from s2e_core.loading import load_model
from s2e_core.model import LoadedModel
from s2e_core.responses import possible_rules, read_prompts
from tests.core.data.test_marks import RENDERED
from tests.core.data.test_preferences import FORMATS
from tests.families import saved_folder

WIDTH, LAYERS = 64, 3
ODD = (
    None, True, 0, -1, 10**400, 1e308, float("nan"), "", " ", "\0", "\ud800", "\ufeff", "[", "[{}]", "{'role': 1}",
    "<|im_start|>", "Human: ", [], {}, [[]], [None], {"role": "user"}, "x" * 5000, "array([1", [{"role": "tool"}],
)  # fmt: skip
"""Values that take the place of another one in a row."""


@dataclass(frozen=True)
class Failure:
    """An input that ended in something else than a result or a sentence."""

    seed: int
    name: str
    error: str


# ---- good files


def _rows() -> list[dict[str, object]]:
    turns = [{"role": r, "content": c} for r, c in (("user", "Hi"), ("assistant", "Yes?"), ("user", "So?"))]
    answer = {"role": "assistant", "content": "Well, then."}
    return [
        *FORMATS.values(),
        {"prompt": "How?", "response": "Great, really.", "label": 1, "score": 81.5},
        {"messages": [*turns, answer], "label": True},
        {"messages": [*turns, {"role": "assistant", "tool_calls": [{}]}], "label": "no"},
        {"chosen": "\n\nHuman: Hi\n\nAssistant: Yes.", "rejected": "\n\nHuman: Hi\n\nAssistant: No."},
        {"question": "Is it?", "mc2_targets": {"choices": ["No.", "Yes."], "labels": [1, 0]}},
        {"question": "Is it?", "best answer": "No.", "correct answers": "No.; Never.", "incorrect answers": "Yes."},
        {"instruction": "Translate.", "input": "Good day", "positive": "Guten Tag", "negative": "Nein"},
        *({"prompt": prompt, "chosen": response, "rejected": "No."} for prompt, response in RENDERED.values()),
    ]


TRAIT = {"instruction": [{"pos": "Be curt.", "neg": "Be wordy."}], "questions": ["Who?", "Where?"]}


def _csv(rows: list[dict[str, object]], separator: str = ",") -> bytes:
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, list(rows[0]), delimiter=separator, extrasaction="ignore")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue().encode("utf-8", "surrogatepass")


def _jsonl(rows: list[dict[str, object]]) -> bytes:
    return "\n".join(map(json.dumps, rows)).encode()


def _arrow(write: Callable[[pa.Table, str], None]) -> Callable[[list[dict[str, object]]], bytes]:
    def encode(rows: list[dict[str, object]]) -> bytes:
        texts = [{k: json.dumps(v) if not isinstance(v, str) else _plain(v) for k, v in row.items()} for row in rows]
        with tempfile.NamedTemporaryFile() as file:
            write(pa.Table.from_pylist(texts), file.name)
            return Path(file.name).read_bytes()

    return encode


def _plain(text: str) -> str:
    """The text without unpaired surrogates, which Arrow cannot write."""
    return text.encode("utf-8", "replace").decode()


def _stream(table: pa.Table, path: str) -> None:
    with pa.OSFile(path, "wb") as file, pa.ipc.new_stream(file, table.schema) as writer:
        writer.write_table(table)


ENCODERS: Mapping[str, Callable[[list[dict[str, object]]], bytes]] = {
    "a.jsonl": _jsonl,
    "a.json": lambda rows: json.dumps(rows).encode(),
    "columns.json": lambda rows: json.dumps({k: [row.get(k) for row in rows] for k in rows[0]}).encode(),
    "lists.json": lambda rows: json.dumps({"positive": rows, "negative": rows[:1]}).encode(),
    "trait.json": lambda rows: json.dumps(TRAIT).encode(),
    "a.csv": _csv,
    "a.tsv": lambda rows: _csv(rows, "\t"),
    "semicolons.csv": lambda rows: _csv(rows, ";"),
    "a.txt": lambda rows: "\n".join(str(next(iter(row.values()))) for row in rows).encode("utf-8", "surrogatepass"),
    "a.jsonl.gz": lambda rows: gzip.compress(_jsonl(rows)),
    "a.parquet": _arrow(parquet.write_table),
    "a.arrow": _arrow(_stream),
    "a.feather": _arrow(lambda table, path: feather.write_feather(table, path)),
}


def _torch(content: object) -> bytes:
    buffer = io.BytesIO()
    torch.save(content, buffer)
    return buffer.getvalue()


def _numpy(save: Callable[..., None], *arrays: np.ndarray, **named: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    save(buffer, *arrays, **named)
    return buffer.getvalue()


@cache
def vectors() -> Mapping[str, bytes]:
    """A good file of every kind of vector."""
    array = torch.randn(LAYERS, WIDTH, generator=torch.Generator().manual_seed(3))
    more = torch.cat([array[:1], array])
    return {
        "a.npy": _numpy(np.save, array.numpy()),
        "layer_1.npy": _numpy(np.save, array[1].numpy()),
        "one.npy": _numpy(np.save, array[1].numpy()),
        "more.npy": _numpy(np.save, more.numpy()),
        "a.npz": _numpy(np.savez_compressed, layer_0=array[0].numpy(), layer_2=array[2].numpy()),
        "entry.npz": _numpy(np.savez, vector=array[0].numpy(), layer=np.array(1)),
        "a.pt": _torch(array),
        "named.pt": _torch({f"layer.{n}": row.clone() for n, row in enumerate(array)}),
        "entry.pt": _torch({"vector": array[1].clone(), "layer": 1, "note": "x"}),
        "list.pt": _torch([row.clone() for row in more]),
        "a.safetensors": save_safetensors({"vector": array}),
        "entry.safetensors": save_safetensors({"vector": array[0].clone(), "layer": torch.tensor([2])}),
        "a.gguf": encode_gguf({}, {f"direction.{n}": array[n].clone() for n in (1, 2)}),
        "a.svec": json.dumps({"directions": dict(enumerate(array.tolist())), "explained_variances": {}}).encode(),
    }


# ---- damage


def _damage(data: bytes, chance: random.Random) -> bytes:
    """The bytes with a few changes: some replaced, removed, repeated, or the end cut off."""
    content = bytearray(data)
    for _ in range(chance.choice((0, 1, 1, 2, 5, 20))):
        if not content:
            break
        at = chance.randrange(len(content))
        length = chance.choice((1, 1, 4, 16))
        kind = chance.randrange(5)
        if kind == 0:
            content[at : at + length] = chance.randbytes(length)
        elif kind == 1:
            del content[at : at + length]
        elif kind == 2:
            content[at:at] = content[at : at + length * 8]
        elif kind == 3:
            content[at] = chance.choice(b'"{}[],:\n\t;\x00\xff\\')
        else:
            del content[at:]
    return bytes(content)


def _damage_value(value: object, chance: random.Random, levels: int = 6) -> object:
    """A value in which one part, at any depth, is another one."""
    if levels and isinstance(value, dict) and value and chance.random() < 0.8:
        key = chance.choice(list(value))
        changed = {**value, key: _damage_value(value[key], chance, levels - 1)}
        if chance.random() < 0.15:
            del changed[key]
        return changed
    if levels and isinstance(value, list) and value and chance.random() < 0.8:
        k = chance.randrange(len(value))
        return [*value[:k], _damage_value(value[k], chance, levels - 1), *value[k + 1 :]]
    return chance.choice(ODD)


# ---- what is tried


def read_data(folder: Path, chance: random.Random) -> str:
    """Write a damaged data file, and do everything with it that the command `data` does before a model runs."""
    rows = [chance.choice(_rows())] * 3 if chance.random() < 0.7 else chance.sample(_rows(), 3)
    name = chance.choice(list(ENCODERS))
    changed = [_damage_value(row, chance) if chance.random() < 0.4 else row for row in rows]
    changed = [row for row in changed if isinstance(row, dict) and row] or rows
    data = ENCODERS[name](changed)
    path = folder / name
    path.write_bytes(_damage(data, chance) if chance.random() < 0.6 else data)
    options = {
        "above": chance.choice((None, None, None, 50.0)),
        "take_off_marks": chance.random() < 0.3,
        "columns": Columns(label=chance.choice((None, None, "label", "score", "better_response_id"))),
    }
    second = path if chance.random() < 0.1 else None
    with contextlib.suppress(S2EError):
        reading = read_examples(path, second, **options)
        assert reading.format and all(isinstance(note, str) for note in reading.notes)
        with contextlib.suppress(S2EError):
            possible_rules(read_prompts(sampled(reading, 2)))
        lint(contrast_set_from(reading))
    return name


def read_vector(folder: Path, chance: random.Random) -> str:
    """Write a damaged vector, and import it for the tiny model."""
    name = chance.choice(list(vectors()))
    path = folder / name
    path.write_bytes(_damage(vectors()[name], chance))
    choice = LayerChoice(chance.choice((None, None, 1, 9)), chance.random() < 0.3)
    with contextlib.suppress(S2EError):
        assert import_file(path, tiny_model(), choice).sentence()
    return name


@cache
def tiny_model() -> LoadedModel:
    """The model that vectors are imported for."""
    with tempfile.TemporaryDirectory() as folder:
        return load_model(saved_folder(Path(folder) / "model", "llama"), device="cpu")


def failures(n: int, first: int = 0) -> Iterator[Failure]:
    """Try `n` inputs, of the seeds from `first`; every third is a vector. Yields those that fail."""
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for seed in range(first, first + n):
            chance = random.Random(seed)
            read = read_vector if seed % 3 == 2 else read_data
            try:
                read(Path(folder), chance)
            except Exception:
                yield Failure(seed, read.__name__, traceback.format_exc())


def main() -> int:
    n, first = int(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 0
    found = 0
    for failure in failures(n, first):
        found += 1
        print(f"seed {failure.seed}, {failure.name}\n{failure.error}", flush=True)
    print(f"{n} inputs, {found} failures")
    return 1 if found else 0


if __name__ == "__main__":
    raise SystemExit(main())
