"""Compressed, Parquet and Arrow files, and samples of files that are too large: always the same rows, and noted."""

import gzip
import json
import sys

import pyarrow as pa
import pytest
from pyarrow import feather, parquet

from s2e_core import ContrastDataError
from s2e_core.data import columnar, packed, read_examples, read_table, table, thinning

ROWS = [{"prompt": f"Q{k}?", "chosen": f"Yes, {k}.", "rejected": f"No, {k}."} for k in range(6)]
LINES = "".join(json.dumps(row) + "\n" for row in ROWS)


def cells(path):
    return [dict(row.cells) for row in read_table(path).rows]


def numbers(found):
    return [row.number for row in found.rows]


@pytest.mark.parametrize(
    ("name", "content"),
    [("a.jsonl.gz", LINES), ("a.json.GZ", json.dumps(ROWS)),
     ("a.csv.gz", "prompt,chosen,rejected\n" + "".join(",".join(f'"{v}"' for v in r.values()) + "\n" for r in ROWS))],
)  # fmt: skip
def test_compressed_files_are_read_like_the_files_inside(tmp_path, name, content):
    (tmp_path / name).write_bytes(gzip.compress(content.encode()))
    assert cells(tmp_path / name) == ROWS
    assert read_examples(tmp_path / name).name == "a"


@pytest.mark.parametrize("damage", [lambda d: d[:-20], lambda d: d[:30] + b"\xff" * 9 + d[39:], lambda d: b"plain"])
def test_a_damaged_compressed_file_gets_a_sentence(tmp_path, damage):
    (tmp_path / "a.jsonl.gz").write_bytes(damage(gzip.compress(LINES.encode() * 50)))
    with pytest.raises(ContrastDataError, match="damaged or not compressed with gzip"):
        read_table(tmp_path / "a.jsonl.gz")


def test_what_unpacks_to_too_much_is_refused(tmp_path, monkeypatch):
    (tmp_path / "a.jsonl.gz").write_bytes(gzip.compress(LINES.encode() * 2000))
    monkeypatch.setattr(table, "MAX_BYTES", 10_000)
    monkeypatch.setattr(table, "MAX_UNPACKED", 100_000)
    with pytest.raises(ContrastDataError, match="unpacks to more than 100.0 kB"):
        read_table(tmp_path / "a.jsonl.gz")
    (tmp_path / "b.json.gz").write_bytes(gzip.compress(b" " * 100_000))
    with pytest.raises(ContrastDataError, match="larger than"):
        read_table(tmp_path / "b.json.gz")
    (tmp_path / "c.jsonl").write_bytes(b"x" * 20_000)
    with pytest.raises(ContrastDataError, match="A line of c.jsonl has more than 10,000 characters"):
        read_table(tmp_path / "c.jsonl")


WRITERS = {
    "a.parquet": lambda rows, path: parquet.write_table(pa.Table.from_pylist(rows), path, row_group_size=2),
    "a.feather": lambda rows, path: feather.write_feather(pa.Table.from_pylist(rows), str(path)),
    "a.arrow": lambda rows, path: write_stream(rows, path),
    "file.arrow": lambda rows, path: write_stream(rows, path, pa.ipc.new_file),
}


def write_stream(rows, path, new=pa.ipc.new_stream):
    content = pa.Table.from_pylist(rows)
    with pa.OSFile(str(path), "wb") as file, new(file, content.schema) as writer:
        writer.write_table(content, max_chunksize=4)


@pytest.mark.parametrize("name", WRITERS)
def test_parquet_and_arrow_files_are_read_also_with_chats_in_their_cells(tmp_path, name):
    WRITERS[name](ROWS, tmp_path / name)
    assert cells(tmp_path / name) == ROWS and numbers(read_table(tmp_path / name)) == [1, 2, 3, 4, 5, 6]
    turns = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Yo", "tool_calls": None}]
    call = [{"role": "assistant", "content": None, "tool_calls": [{"id": "1"}]}]
    chats = [
        {"messages": turns, "label": True},
        {"messages": call, "label": False},
    ]
    WRITERS[name](chats, tmp_path / name)
    reading = read_examples(tmp_path / name)
    assert [(e.prompt, e.response) for e in reading.positive] == [("Hi", "Yo")] and reading.n_skipped == 1


@pytest.mark.parametrize("name", WRITERS)
def test_damaged_parquet_and_arrow_files_get_a_sentence(tmp_path, name):
    WRITERS[name](ROWS, tmp_path / name)
    data = (tmp_path / name).read_bytes()
    for broken in (data[: len(data) // 2], b"", b"nothing of the kind", data[:-40] + b"\xff" * 40):
        (tmp_path / name).write_bytes(broken)
        with pytest.raises(ContrastDataError, match="damaged or not a") as error:
            read_table(tmp_path / name)
        assert "\n" not in str(error.value)


def test_without_pyarrow_the_sentence_names_it(tmp_path, monkeypatch):
    WRITERS["a.parquet"](ROWS, tmp_path / "a.parquet")
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(ContrastDataError, match="pip install pyarrow, or save the file as JSONL"):
        read_table(tmp_path / "a.parquet")


def test_a_parquet_file_with_too_large_a_part_is_refused(tmp_path, monkeypatch):
    WRITERS["a.parquet"](ROWS, tmp_path / "a.parquet")
    monkeypatch.setattr(columnar, "MAX_GROUP_BYTES", 10)
    with pytest.raises(ContrastDataError, match="unpacks to .* or more"):
        read_table(tmp_path / "a.parquet")


def many(n):
    return [{"prompt": f"Question {k}?", "response": "So, then.", "label": k % 3 % 2} for k in range(n)]


FILES = {
    "a.jsonl": lambda rows: "\n".join(map(json.dumps, rows)) + "\n",
    "a.jsonl.gz": lambda rows: "\n".join(map(json.dumps, rows)),
    "a.txt": lambda rows: "\n".join(row["prompt"] for row in rows),
    "a.csv": lambda rows: 'prompt,response\n' + "".join(f'{r["prompt"]},"one\ntwo"\n' for r in rows),
    "a.tsv": lambda rows: "prompt\tresponse\n" + "".join(f"{r['prompt']}\tso\n" for r in rows),
}  # fmt: skip


@pytest.mark.parametrize("name", FILES)
def test_of_a_large_file_every_nth_row_is_read_and_that_is_said(tmp_path, monkeypatch, name):
    monkeypatch.setattr(table, "MAX_BYTES", 2000)
    monkeypatch.setattr(thinning, "MAX_ROWS", 30)
    content = FILES[name](many(200)).encode()
    (tmp_path / name).write_bytes(gzip.compress(content) if name.endswith("gz") else content)
    found = read_table(tmp_path / name)
    prompts = [row.cells.get("prompt", row.cells.get("text")) for row in found.rows]
    assert prompts == [f"Question {k}?" for k in range(0, 200, 8)]
    assert found.notes == ("A sample was taken: every 8th of 200 rows, 25 in all.",)
    assert cells(tmp_path / name) == [row.cells for row in found.rows]


@pytest.mark.parametrize("name", ["a.jsonl", "a.json", "a.csv", "a.parquet"])
def test_of_many_rows_in_a_small_file_a_sample_is_read_too(tmp_path, monkeypatch, name):
    monkeypatch.setattr(thinning, "MAX_ROWS", 30)
    if name == "a.parquet":
        WRITERS[name](many(100), tmp_path / name)
    else:
        content = json.dumps(many(100)) if name == "a.json" else FILES[name](many(100))
        (tmp_path / name).write_text(content)
    reading = read_table(tmp_path / name)
    assert len(reading.rows) == 25 and "every 4th of 100 rows" in reading.notes[0]


def test_rows_of_many_characters_are_thinned_too(monkeypatch):
    monkeypatch.setattr(thinning, "MAX_CHARS", 100)
    thinned = thinning.thin(range(50), lambda row: 10)
    assert thinned.rows == list(range(0, 50, 8)) and (thinned.step, thinned.total) == (8, 50)
    assert thinning.thin([1, 2], lambda row: 1000).rows == [1]  # one row is always there
    assert thinning.thin([]).rows == [] and packed.MAX_UNPACKED > table.MAX_BYTES
