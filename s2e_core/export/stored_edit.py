"""Find the stored tensors that an edit changes, apply the change, and measure how much of it was written.

Knows nothing of the layout of files.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from s2e_core.errors import ExportError
from s2e_core.files import Checkpoint, StoredTensor, read_rows
from s2e_core.method import edited_weight
from s2e_core.model import LoadedModel, weight_identities
from s2e_core.values import WeightEdit

from .factors import site_factors
from .locating import Piece, locate, split_by_matrix


@dataclass(frozen=True, eq=False)
class StoredChange:
    """The change of one stored tensor: left @ right in (out, in) order, for each of its matrices."""

    site: int
    """Index in `spec.sites`."""
    piece: Piece
    left: Tensor
    """The edit's directions at this site: (d, r)."""
    right: Tensor
    """The edit's `right` at the inputs of the piece: (r, n)."""

    def apply(self, first: int, rows: Tensor) -> Tensor:
        """The edited version of a block of stored rows that starts at row `first`; same shape and dtype."""
        if self.piece.transposed:
            return edited_weight(rows.T, self.left, self.right[:, first : first + len(rows)]).T
        right = self.right.unflatten(1, (-1, rows.shape[1]))  # (r, matrices, n)
        parts = [
            edited_weight(part, self.left[row : row + len(part)], right[:, matrix])
            for matrix, row, part in split_by_matrix(first, rows, len(self.left))
        ]
        return parts[0] if len(parts) == 1 else torch.cat(parts)

    def measure_written(self, after: StoredTensor) -> Tensor:
        """left . (after - before): (r, n) in fp64, read block by block from both files."""
        projection, left = torch.zeros(self.right.shape, dtype=torch.float64), self.left.double()
        for (first, old), (_, new) in zip(read_rows(self.piece.tensor), read_rows(after), strict=True):
            change = new.double() - old.double()
            if self.piece.transposed:
                projection[:, first : first + len(change)] = (change @ left).T
                continue
            for matrix, row, part in split_by_matrix(first, change, len(left)):
                projection.unflatten(1, (-1, part.shape[1]))[:, matrix] += left[row : row + len(part)].T @ part
        return projection


def stored_changes(checkpoint: Checkpoint, loaded: LoadedModel, edit: WeightEdit) -> Iterator[StoredChange]:
    """The change of every stored tensor that the edit changes; each tensor is verified when its change is requested.

    Raises ExportError immediately if the files are quantised or another module shares an edited weight, and during
    iteration if no stored tensor equals the loaded weight.
    """
    check_not_quantized(loaded)
    _check_not_shared(loaded, edit.edited_sites())
    return _verified_changes(checkpoint, loaded, edit)


def _verified_changes(checkpoint: Checkpoint, loaded: LoadedModel, edit: WeightEdit) -> Iterator[StoredChange]:
    for i, pieces in locate(checkpoint, loaded, edit.edited_sites()):
        factors = site_factors(edit, i)
        for piece in pieces:
            right = factors.right[:, piece.inputs]
            if bool(right.any()):  # experts without an edited neuron stay as they are
                yield StoredChange(i, piece, factors.left, right)


def check_not_quantized(loaded: LoadedModel) -> None:
    """Raise ExportError if the files to edit are quantised."""
    if loaded.source_quantization and loaded.full_precision is None:
        raise ExportError(
            f"The model's files are quantised ({loaded.source_quantization}), so an edit cannot be written into them. "
            "Export the edit as an adapter or a recipe; or start with --originals and the full-precision model, make "
            "the edit again, and export that model's files."
        )


def _check_not_shared(loaded: LoadedModel, sites: tuple[int, ...]) -> None:
    weights = weight_identities(loaded.source_model)
    users = Counter(weights.values())
    for site in (loaded.spec.sites[i] for i in sites):
        if users[weights[f"{site.name}.{site.parameter}"]] > len(site.places):
            raise ExportError(
                f"Another part of the model also uses the weight of {site.name}, so a checkpoint would change that "
                "part as well; export the adapter instead."
            )
