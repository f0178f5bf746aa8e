"""What an edit does to the tensors of a checkpoint: which of them change, how, and how much of it was written.

Knows rows of stored matrices; neither reads a file's layout nor writes one.
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

from .locating import Piece, by_matrix, locate


@dataclass(frozen=True, eq=False)
class StoredChange:
    """The change of one stored tensor: outer(left, right) in (out, in) order, for each matrix that it holds."""

    site: int
    """Position in `spec.sites`."""
    piece: Piece
    left: Tensor
    """Unit direction: (d,)"""
    right: Tensor
    """Values (n,) of the site's `right` at the piece's inputs"""

    def applied(self, first: int, rows: Tensor) -> Tensor:
        """A block of stored rows, starting with row `first`, with the edit in it."""
        if self.piece.transposed:
            return edited_weight(rows.T, self.left, self.right[first : first + len(rows)]).T
        right = self.right.view(-1, rows.shape[1])  # a row for each matrix
        parts = [
            edited_weight(part, self.left[row : row + len(part)], right[matrix])
            for matrix, row, part in by_matrix(first, rows, len(self.left))
        ]
        return parts[0] if len(parts) == 1 else torch.cat(parts)

    def written(self, after: StoredTensor) -> Tensor:
        """left . (after - before), (n,) in fp64, read block by block from both files."""
        along, left = torch.zeros(len(self.right), dtype=torch.float64), self.left.double()
        for (first, old), (_, new) in zip(read_rows(self.piece.tensor), read_rows(after), strict=True):
            change = new.double() - old.double()
            if self.piece.transposed:
                along[first : first + len(change)] = change @ left
                continue
            for matrix, row, part in by_matrix(first, change, len(left)):
                along.view(-1, part.shape[1])[matrix] += left[row : row + len(part)] @ part
        return along


def stored_changes(checkpoint: Checkpoint, loaded: LoadedModel, edit: WeightEdit) -> Iterator[StoredChange]:
    """The change of every stored tensor that the edit changes, each proven to be the loaded weight as it is asked for.

    Raises ExportError at once where the files are quantised and where other modules use an edited weight too, and
    later where a tensor is not found.
    """
    check_stored_plain(loaded)
    _check_not_shared(loaded, edit.edited_sites())
    return _proven_changes(checkpoint, loaded, edit)


def _proven_changes(checkpoint: Checkpoint, loaded: LoadedModel, edit: WeightEdit) -> Iterator[StoredChange]:
    for i, pieces in locate(checkpoint, loaded, edit.edited_sites()):
        for piece in pieces:
            right = edit.right[i][piece.inputs]
            if bool(right.any()):  # experts without an edited neuron stay as they are
                yield StoredChange(i, piece, edit.left[i], right)


def check_stored_plain(loaded: LoadedModel) -> None:
    """Raise ExportError where the files that an edit would be written into are quantised."""
    if loaded.stored_quantized and loaded.precise is None:
        raise ExportError(
            f"The model's files are quantised ({loaded.stored_quantized}), so that an edit cannot be written into "
            "them. Take it as an adapter or a recipe; or start with --originals and the full-precision model that they "
            "were made from, make the edit again, and that model's files are exported."
        )


def _check_not_shared(loaded: LoadedModel, sites: tuple[int, ...]) -> None:
    weights = weight_identities(loaded.as_stored)
    users = Counter(weights.values())
    for site in (loaded.spec.sites[i] for i in sites):
        if users[weights[f"{site.name}.{site.parameter}"]] > len(site.places):
            raise ExportError(
                f"The weight of {site.name} is also used by another part of the model, which a checkpoint would change "
                "as well; export the adapter instead."
            )
