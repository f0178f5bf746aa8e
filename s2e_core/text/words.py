"""Numbers and lists as words for a person: counts, sizes, layer ranges, number formats."""

from __future__ import annotations

from collections.abc import Iterable

import torch


def readable_size(n_bytes: float) -> str:
    """A size for a person: 1234567 is '1.2 MB'."""
    for unit in ("bytes", "kB", "MB", "GB"):
        if n_bytes < 1000:
            return f"{n_bytes:.0f} bytes" if unit == "bytes" else f"{n_bytes:.1f} {unit}"
        n_bytes /= 1000
    return f"{n_bytes:.1f} TB"


def counted(count: int, word: str) -> str:
    """The number with its word in the singular or the plural."""
    return f"{count:,} {word}{'' if count == 1 else 's'}"


def layer_ranges(layers: Iterable[int]) -> str:
    """Layer numbers as text: [1, 2, 3, 7] gives '1-3, 7'."""
    spans: list[list[int]] = []
    for layer in sorted(set(layers)):
        if spans and layer == spans[-1][1] + 1:
            spans[-1][1] = layer
        else:
            spans.append([layer, layer])
    return ", ".join(str(first) if first == last else f"{first}-{last}" for first, last in spans)


def dtype_name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
