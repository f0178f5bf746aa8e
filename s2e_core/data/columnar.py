"""Rows of Parquet and Arrow files, which the optional package pyarrow reads.

Knows these formats, and not what a column means. Data is validated before it is used, since a file can claim anything.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from s2e_core.errors import ContrastDataError
from s2e_core.text import readable_size

from .thinning import Thinned, thin

COLUMNAR = (".parquet", ".arrow", ".feather")
MAX_GROUP_BYTES = 1_000_000_000
"""Largest unpacked part of a Parquet file, or whole Arrow file, that is read."""
_BATCH = 1024


def read_columnar(path: Path) -> Thinned[tuple[int, Mapping[str, object]]]:
    """(number, cells) of the rows, or of a sample. Raises ContrastDataError if the file is damaged or too large."""
    try:
        import pyarrow as pa
    except ImportError:
        raise ContrastDataError(
            f"{path.name} is a {path.suffix[1:].capitalize()} file, which the package pyarrow reads. Install it with "
            "pip install pyarrow, or save the file as JSONL or CSV."
        ) from None
    try:
        rows = _parquet_rows(path) if path.suffix.lower() == ".parquet" else _arrow_rows(path)
        return thin(rows, lambda row: len(str(row[1])))
    except (pa.ArrowException, OSError, ValueError, LookupError, TypeError, OverflowError, MemoryError) as error:
        reason = " ".join(str(error).split())[:200]
        raise ContrastDataError(
            f"{path.name} is damaged or not a {path.suffix[1:].capitalize()} file ({reason}). Save it again."
        ) from error


def _parquet_rows(path: Path) -> Iterator[tuple[int, Mapping[str, object]]]:
    from pyarrow import parquet

    with parquet.ParquetFile(path) as file:
        metadata = file.metadata
        for group in range(metadata.num_row_groups):
            _check_size(path, metadata.row_group(group).total_byte_size)
        yield from _rows(file.iter_batches(batch_size=_BATCH))


def _arrow_rows(path: Path) -> Iterator[tuple[int, Mapping[str, object]]]:
    """Rows of the stream format, which data sets of the Hub's library are kept in, or of the file format."""
    import pyarrow as pa

    _check_size(path, path.stat().st_size)
    with path.open("rb") as file:
        is_file = file.read(6) == b"ARROW1"
    with pa.OSFile(str(path)) as source:
        if is_file:
            reader = pa.ipc.open_file(source)
            yield from _rows(reader.get_batch(k) for k in range(reader.num_record_batches))
        else:
            yield from _rows(pa.ipc.open_stream(source))


def _rows(batches: Any) -> Iterator[tuple[int, Mapping[str, object]]]:
    """Every row of the batches; the first is number 1."""
    start = 1
    for batch in batches:
        batch.validate(full=True)
        yield from enumerate(batch.to_pylist(), start=start)
        start += batch.num_rows


def _check_size(path: Path, n_bytes: int) -> None:
    if n_bytes > MAX_GROUP_BYTES:
        raise ContrastDataError(
            f"{path.name} unpacks to {readable_size(n_bytes)} or more, and at most {readable_size(MAX_GROUP_BYTES)} "
            "are read at a time. Save a part of it."
        )
