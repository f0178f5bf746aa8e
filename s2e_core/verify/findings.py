"""Compare a written checkpoint or adapter with the base on disk and the edit, tensor by tensor.

Loads no model and runs nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import Tensor

from s2e_core.errors import ExportError
from s2e_core.export import (
    CONFIG_FILE,
    GGUF_FILE,
    PREFIX,
    WEIGHTS_FILE,
    CardKind,
    adapter_change,
    adapter_factors,
    site_factors,
    stored_changes,
)
from s2e_core.files import (
    FLOATS,
    INDEX,
    SINGLE,
    CheckpointError,
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
    """Compare every tensor of base and export, block by block; `meter` counts tensors.

    Raises ExportError if `folder` contains no checkpoint or a file cannot be read.
    """
    if not any((folder / name).is_file() for name in (SINGLE, INDEX)):
        raise ExportError(
            f"{folder.name} contains no export: {CONFIG_FILE}, {GGUF_FILE}, {SINGLE} and an index of shards are all "
            "missing. Name the folder of an export."
        )
    base = open_checkpoint(loaded.source)
    with _blame_export():
        written = open_checkpoint(folder).tensors()
    changes = {change.piece.tensor.name: change for change in stored_changes(base, loaded, edit)}
    projections, formats = _zero_projections(edit), set()
    unedited, unexpected = [], list(written.keys() - base.tensors().keys())
    for name, before in base.tensors().items():
        after = written.get(name)
        is_unchanged = after is not None and _is_same(before, after)
        if name not in changes:
            unexpected += [] if is_unchanged else [name]
        elif after is None or after.shape != before.shape or is_unchanged:
            unedited.append(name)
        else:
            change = changes[name]
            projections[change.site][:, change.piece.inputs] = change.measure_written(after)
            formats.add(after.dtype)
        meter.add(1)
    return Verification(
        kind="checkpoint",
        spec=edit.spec,
        number_format=" and ".join(sorted(formats)),
        intended_tensors=tuple(changes),
        unedited_tensors=tuple(unedited),
        unexpected_tensors=tuple(sorted(unexpected)),
        realised_shares=tuple(realised_share(edit, i, values) for i, values in enumerate(projections)),
    )


def adapter_findings(loaded: LoadedModel, edit: WeightEdit, folder: Path) -> Verification:
    """Compare the written factors with those of the edit; B A is the change that PEFT adds.

    Raises ExportError if a file cannot be read or the adapter belongs to another model.
    """
    intended = adapter_factors(loaded, edit)
    with _blame_export():
        shard = read_shard(folder / WEIGHTS_FILE)
    stored = {tensor.name: tensor for tensor in shard.tensors if tensor.dtype in FLOATS}
    for name in (name for name in intended if name in stored):
        shape, expected = list(stored[name].shape), list(intended[name].shape)
        if shape != expected:
            raise ExportError(
                f"The adapter in {folder.name} belongs to another model: {name.removeprefix(PREFIX)} has the "
                f"shape {shape}, and {expected} was expected. Load the model that it was made for."
            )
    names = intended.keys() & stored.keys()
    written = {name: torch.cat([rows for _, rows in read_rows(stored[name])]).float() for name in names}
    projections = _zero_projections(edit)
    for i in edit.edited_sites():
        projections[i] = adapter_change(loaded, edit, i, written)
    return Verification(
        kind="adapter",
        spec=edit.spec,
        number_format=" and ".join(sorted({tensor.dtype for tensor in stored.values()})),
        intended_tensors=tuple(intended),
        unedited_tensors=different(intended, written),
        unexpected_tensors=tuple(sorted(stored.keys() - intended.keys())),
        realised_shares=tuple(realised_share(edit, i, values) for i, values in enumerate(projections)),
    )


def different(intended: Mapping[str, Tensor], written: Mapping[str, Tensor]) -> tuple[str, ...]:
    """Names of the intended tensors that were not written as they are."""
    return tuple(
        name for name, tensor in intended.items() if name not in written or not torch.equal(tensor, written[name])
    )


def realised_share(edit: WeightEdit, site: int, projection: Tensor) -> Tensor:
    """realised . intended / |intended|^2 per component: (n_components,), NaN for a component without an edit.

    `projection` (r, n_inputs) is left . realised; the intended change of component i is left @ right_i, whose product
    with any other change sums up right_i times left . change.
    """
    factors, n = site_factors(edit, site), edit.spec.sites[site].n_components
    left, right = factors.left.double(), factors.right.double()
    realised, intended = ((right * values).sum(0).view(n, -1).sum(1) for values in (projection, left.T @ left @ right))
    return (realised / intended).float()  # 0 / 0 is NaN


@contextmanager
def _blame_export() -> Iterator[None]:
    """Advise a new export, not a new download, if a file of the export cannot be read."""
    try:
        yield
    except CheckpointError as error:
        raise CheckpointError(error.problem, "export it again") from error


def _zero_projections(edit: WeightEdit) -> list[Tensor]:
    """left . change for a change of 0, per site: (r, n_inputs) in fp64."""
    return [torch.zeros_like(site_factors(edit, i).right.double()) for i in range(len(edit.spec.sites))]


def _is_same(before: StoredTensor, after: StoredTensor) -> bool:
    """True if two tensors have the same bits, or, with different dtypes, the same bits as fp32."""
    if before.shape != after.shape:
        return False
    if before.dtype == after.dtype:
        return all(a == b for a, b in zip(read_bytes(before), read_bytes(after), strict=True))
    if before.dtype not in FLOATS or after.dtype not in FLOATS:
        return False
    pairs = zip(read_rows(before), read_rows(after), strict=True)
    return all(torch.equal(_bits(a), _bits(b)) for (_, a), (_, b) in pairs)


def _bits(rows: Tensor) -> Tensor:
    return rows.float().view(torch.int32)  # compares NaN and -0 by their bits


def factor_findings(
    kind: CardKind,
    edit: WeightEdit,
    intended: Mapping[str, Tensor],
    written: dict[str, Tensor],
    change: Callable[[WeightEdit, int, dict[str, Tensor]], Tensor],
    *,
    runs_in: str,
) -> Verification:
    """What the F32 factors in a file come to; `change` gives left . (the change of a site's weight) from them."""
    return Verification(
        kind=kind,
        spec=edit.spec,
        number_format="F32",
        intended_tensors=tuple(intended),
        unedited_tensors=different(intended, written),
        unexpected_tensors=tuple(sorted(written.keys() - intended.keys())),
        realised_shares=tuple(realised_share(edit, i, change(edit, i, written)) for i in range(len(edit.spec.sites))),
        runs_in=runs_in,
    )
