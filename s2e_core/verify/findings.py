"""What a written checkpoint or adapter holds, against the base on disk and the edit, tensor by tensor.

Knows files and the edit; loads no model and runs nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import Tensor

from s2e_core.errors import ExportError
from s2e_core.export import CONFIG_FILE, PREFIX, WEIGHTS_FILE, adapter_factors, change_by_factors, stored_changes
from s2e_core.files import (
    FLOATS,
    INDEX,
    SINGLE,
    Meter,
    StoredTensor,
    open_checkpoint,
    read_bytes,
    read_rows,
    read_shard,
)
from s2e_core.model import LoadedModel
from s2e_core.values import WeightEdit

from .result import Verification


def checkpoint_findings(loaded: LoadedModel, edit: WeightEdit, folder: Path, meter: Meter) -> Verification:
    """Every tensor of base and export compared, block by block."""
    if not any((folder / name).is_file() for name in (SINGLE, INDEX)):
        raise ExportError(
            f"There is no export in {folder.name}: neither an {CONFIG_FILE} nor {SINGLE}, or an index of shards, was "
            "found. Name the folder that was written."
        )
    base = open_checkpoint(loaded.source)
    with _written():
        written = open_checkpoint(folder).tensors()
    changes = {change.piece.tensor.name: change for change in stored_changes(base, loaded, edit)}
    along, formats = _nothing_written(edit), set()
    missing, unexpected = [], list(written.keys() - base.tensors().keys())
    for name, before in base.tensors().items():
        after = written.get(name)
        unchanged = after is not None and _same(before, after)
        if name not in changes:
            unexpected += [] if unchanged else [name]
        elif after is None or after.shape != before.shape or unchanged:
            missing.append(name)
        else:
            along[changes[name].site][changes[name].piece.inputs] = changes[name].written(after)
            formats.add(after.dtype)
        meter.add(1)
    return Verification(
        kind="checkpoint",
        spec=edit.spec,
        number_format=" and ".join(sorted(formats)),
        intended=tuple(changes),
        missing=tuple(missing),
        unexpected=tuple(sorted(unexpected)),
        realised=tuple(realised_share(edit, i, values) for i, values in enumerate(along)),
    )


def adapter_findings(loaded: LoadedModel, edit: WeightEdit, folder: Path) -> Verification:
    """The written factors against the edit's; B A is the change that PEFT adds."""
    intended = adapter_factors(loaded, edit)
    with _written():
        shard = read_shard(folder / WEIGHTS_FILE)
    stored = {tensor.name: tensor for tensor in shard.tensors if tensor.dtype in FLOATS}
    for name in (name for name in intended if name in stored):
        shape, expected = list(stored[name].shape), list(intended[name].shape)
        if shape != expected:
            raise ExportError(
                f"The adapter in {folder.name} is of another model: {name.removeprefix(PREFIX)} has the "
                f"shape {shape}, and {expected} was expected. Load the model that it was made for."
            )
    both = intended.keys() & stored.keys()
    written = {name: torch.cat([rows for _, rows in read_rows(stored[name])]).float() for name in both}
    along = _nothing_written(edit)
    for i in edit.edited_sites():
        along[i] = change_by_factors(loaded, edit, i, written)
    return Verification(
        kind="adapter",
        spec=edit.spec,
        number_format=" and ".join(sorted({tensor.dtype for tensor in stored.values()})),
        intended=tuple(intended),
        missing=tuple(n for n, factor in intended.items() if n not in written or not torch.equal(factor, written[n])),
        unexpected=tuple(sorted(stored.keys() - intended.keys())),
        realised=tuple(realised_share(edit, i, values) for i, values in enumerate(along)),
    )


def realised_share(edit: WeightEdit, site: int, along: Tensor) -> Tensor:
    """realised . intended / |intended|^2 per component (n_components,), NaN where nothing was intended.

    `along` (n_inputs,) is left . realised; the intended change of component i is outer(left, right_i).
    """
    n = edit.spec.sites[site].n_components
    right = edit.right[site].double()
    intended = edit.left[site].double().square().sum() * right.square().view(n, -1).sum(1)
    return ((along * right).view(n, -1).sum(1) / intended).float()  # 0 / 0 is NaN


@contextmanager
def _written() -> Iterator[None]:
    """What cannot be read is no fault of the model that was loaded."""
    try:
        yield
    except ExportError as error:
        raise ExportError(f"{str(error).rsplit(';', 1)[0]}; export it once more.") from error


def _nothing_written(edit: WeightEdit) -> list[Tensor]:
    """left . change per site, (n_inputs,) in fp64, all 0."""
    return [torch.zeros(site.n_inputs, dtype=torch.float64) for site in edit.spec.sites]


def _same(before: StoredTensor, after: StoredTensor) -> bool:
    """Bit for bit; where the dtype was changed, as fp32."""
    if before.shape != after.shape:
        return False
    if before.dtype == after.dtype:
        return all(a == b for a, b in zip(read_bytes(before), read_bytes(after), strict=True))
    if before.dtype not in FLOATS or after.dtype not in FLOATS:
        return False
    pairs = zip(read_rows(before), read_rows(after), strict=True)
    return all(torch.equal(_bits(a), _bits(b)) for (_, a), (_, b) in pairs)


def _bits(rows: Tensor) -> Tensor:
    return rows.float().view(torch.int32)  # NaN and -0 count as they are
