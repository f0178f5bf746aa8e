"""What a tab needs, besides the studio's facts, to run an edit itself: directions, keys, and what gates are fitted on.

Knows the core's values; no page. The other ends are components/tab_model/edits.js and gates.js.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from s2e_core import Extraction, WeightEdit
from s2e_core.token_inputs import TokenInputs


def vectors(extraction: Extraction) -> dict[str, Any]:
    """Unit directions, their lengths and the keys of all components, site after site, as base64 of float32."""
    inputs = extraction.token_inputs
    return {
        "widths": [site.width for site in extraction.spec.sites],
        "unit": _floats(extraction.directions.unit),
        "norm": _floats([extraction.directions.norm]),
        "keys": _floats([keys.flatten() for keys in extraction.scores.keys]),
        "gates": None if inputs is None else _gates(inputs),
    }


def _gates(inputs: TokenInputs) -> dict[str, Any]:
    """The gates over all components that are solved already, and the mean inputs on and off the behaviour."""
    on, off = zip(*inputs.means, strict=True)
    return {
        "harmless": inputs.harmless,
        "mus": list(inputs.mus),
        "keys": _floats([keys.flatten() for keys in inputs.keys]),
        "on": _floats(on),
        "off": _floats(off),
    }


def moments(inputs: TokenInputs) -> bytes:
    """E[x x^T] of every site, on the behaviour's texts and then off them: upper triangles, row by row, float32."""
    return b"".join(
        _triangle(rows.double()).numpy().astype("<f4").tobytes()
        for site in zip(inputs.on, inputs.off, strict=True)
        for rows in site
    )


def _triangle(rows: Tensor) -> Tensor:
    """The upper triangle of E[x x^T] of `rows` (N, n), zero without rows: (n (n + 1) / 2,)."""
    n = rows.shape[1]
    row, column = torch.triu_indices(n, n)
    return (rows.T @ rows / max(len(rows), 1))[row, column]


def right_vectors(edit: WeightEdit) -> str:
    """The right vector a of every site, one after the other, as base64 of float32."""
    return _floats(edit.right)


def _floats(parts: Sequence[Tensor]) -> str:
    return base64.b64encode(torch.cat(list(parts)).float().numpy().astype("<f4").tobytes()).decode()
