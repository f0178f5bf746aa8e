"""Which stored tensors are a site's weight: looked for by name, proven by content.

Names on disk often differ from those in memory, a matrix may be stored the other way round, and the experts of a layer
may be one stored tensor or one for each expert. Reads a checkpoint in blocks and compares; writes nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor

from s2e_core.errors import ExportError
from s2e_core.files import FLOATS, Checkpoint, StoredTensor, read_rows
from s2e_core.model import LoadedModel, held_weight
from s2e_core.spec import Site


@dataclass(frozen=True, eq=False)
class Piece:
    """A stored tensor that is a site's weight, or the part of it that belongs to one expert."""

    tensor: StoredTensor
    """One matrix, or several of the same shape one below the other."""
    inputs: slice
    """Which of the site's inputs it belongs to."""
    transposed: bool
    """Its matrices are stored (in, out)."""


_Candidate = tuple[str, tuple[StoredTensor, ...]]
"""A name, and the tensors that may be a weight together: one, or one for each expert (a * in place of its number)."""


def locate(
    checkpoint: Checkpoint, loaded: LoadedModel, sites: Sequence[int]
) -> Iterator[tuple[int, tuple[Piece, ...]]]:
    """(site, the stored tensors that together hold each of its inputs once), proven one site after the other.

    Raises ExportError naming the tensor where no stored ones hold the loaded weight.
    """
    stored = checkpoint.tensors()
    several = any(loaded.spec.sites[site].experts for site in sites)
    candidates = _by_shape(stored, several)
    owners: dict[str, int] = {}
    for site in sites:
        pieces = _located(stored, candidates, loaded, loaded.spec.sites[site])
        for piece in pieces:
            other = owners.setdefault(piece.tensor.name, site)
            if other != site:
                names = loaded.spec.sites[other].name, loaded.spec.sites[site].name
                raise ExportError(
                    f"{names[0]} and {names[1]} share the stored tensor {piece.tensor.name}, so that a checkpoint "
                    "cannot hold both edits; export the adapter instead."
                )
        yield site, pieces


def by_matrix(first: int, rows: Tensor, n_rows: int) -> Iterator[tuple[int, int, Tensor]]:
    """A block of rows of stacked matrices, which begins with row `first` of the stack, cut where a matrix ends.

    Yields (matrix, row of that matrix the part begins with, part); each matrix has `n_rows` rows.
    """
    done = 0
    while done < len(rows):
        matrix, row = divmod(first + done, n_rows)
        part = rows[done : done + n_rows - row]
        yield matrix, row, part
        done += len(part)


def _by_shape(stored: Mapping[str, StoredTensor], several: bool) -> dict[tuple[int, ...], list[_Candidate]]:
    """Everything that may be a weight, by the shape of its matrices: (rows, columns) or (how many, rows, columns).

    Where `several`, tensors whose names differ in one number alone, counted from 0, are a candidate too.
    """
    candidates: dict[tuple[int, ...], list[_Candidate]] = {}
    numbered: dict[tuple[str, tuple[int, ...]], dict[int, StoredTensor]] = {}
    for name, tensor in stored.items():
        if tensor.dtype not in FLOATS:
            continue
        candidates.setdefault(tensor.shape, []).append((name, (tensor,)))
        parts = name.split(".") if several and len(tensor.shape) == 2 else []
        for i, part in enumerate(parts):
            if part.isdecimal():
                template = ".".join((*parts[:i], "*", *parts[i + 1 :]))
                numbered.setdefault((template, tensor.shape), {})[int(part)] = tensor
    for (template, shape), members in numbered.items():
        if len(members) > 1 and members.keys() == set(range(len(members))):
            together = tuple(members[i] for i in range(len(members)))
            candidates.setdefault((len(members), *shape), []).append((template, together))
    return candidates


def _located(
    stored: Mapping[str, StoredTensor],
    candidates: Mapping[tuple[int, ...], Sequence[_Candidate]],
    loaded: LoadedModel,
    site: Site,
) -> tuple[Piece, ...]:
    """The likeliest names first: one that is not the weight differs within its first rows."""
    name = f"{site.name}.{site.parameter}"
    weight = held_weight(loaded.as_stored, site)
    *_, rows, columns = weight.shape
    matrices = weight if site.experts else weight.unsqueeze(0)
    fitting = [
        (candidate, flipped)
        for flipped, matrix in ((False, (rows, columns)), (True, (columns, rows)))
        for shape in _shapes(len(matrices), *matrix)
        for candidate in candidates.get(shape, ())
    ]
    for (_, tensors), flipped in _likeliest_first(fitting, name):
        shares = matrices.transpose(1, 2) if flipped else matrices
        if all(_holds(*pair) for pair in zip(tensors, shares.chunk(len(tensors)), strict=True)):
            step = site.n_inputs // len(tensors)
            return tuple(
                Piece(tensor, slice(i * step, (i + 1) * step), site.transposed != flipped)
                for i, tensor in enumerate(tensors)
            )
    raise ExportError(_not_found(stored, weight, site, loaded))


def _likeliest_first(fitting: list[tuple[_Candidate, bool]], name: str) -> Iterator[tuple[_Candidate, bool]]:
    """The same name first; only where that is not the weight are all others compared, of which there may be many."""
    yield from (fit for fit in fitting if fit[0][0] == name)
    yield from sorted(fitting, key=lambda fit: -_likeness(fit[0][0], name))


def _shapes(count: int, rows: int, columns: int) -> set[tuple[int, ...]]:
    """How `count` matrices may be stored: as a stack, one below the other, or as one matrix."""
    return {(count, rows, columns), (count * rows, columns)}


def _likeness(stored: str, name: str) -> int:
    """How many parts two dotted names have in common, in the same order."""
    longest = [0] * (name.count(".") + 2)  # of what was seen of `stored` and the first parts of `name`
    for part in stored.split("."):
        before = longest.copy()
        for i, other in enumerate(name.split(".")):
            longest[i + 1] = before[i] + 1 if part == other else max(before[i + 1], longest[i])
    return longest[-1]


def _holds(tensor: StoredTensor, matrices: Tensor) -> bool:
    """Whether a stored tensor is these matrices (n, rows, columns), which may have been cast at load."""
    return all(
        _equal(part.to(matrices.dtype), matrices[matrix, row : row + len(part)].cpu())
        for first, rows in read_rows(tensor)
        for matrix, row, part in by_matrix(first, rows, matrices.shape[1])
    )


def _equal(stored: Tensor, held: Tensor) -> bool:
    """Whether all numbers are the same and finite; a third of the time of torch.equal in 16 bits."""
    least, most = (stored - held).aminmax()
    return bool(least == 0) and bool(most == 0)


def _not_found(stored: Mapping[str, StoredTensor], weight: Tensor, site: Site, loaded: LoadedModel) -> str:
    name = f"{site.name}.{site.parameter}"
    quantised = [t.dtype for t in stored.values() if t.name.startswith(f"{site.name}.") and t.dtype not in FLOATS]
    if quantised:
        return (
            f"{name} is stored quantised ({quantised[0]}), so that an edit cannot be written into it; export the "
            "adapter instead."
        )
    if not bool(weight.isfinite().all()):
        return f"{name} holds values that are not finite numbers (NaN or infinity); download the model again."
    return (
        f"No tensor in {loaded.source.name} holds the loaded weight {name}; the files may have changed since they were "
        "loaded. Load the model again, or export the adapter instead."
    )
