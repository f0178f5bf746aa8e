"""Find the stored tensors of a site's weight: candidates by name, verified by content.

Names on disk often differ from those in memory, a matrix may be stored transposed, and the experts of a layer may be
one stored tensor or one per expert. The checkpoint is read in blocks; nothing is written.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor

from s2e_core.errors import ExportError
from s2e_core.files import FLOATS, Checkpoint, StoredTensor, read_rows
from s2e_core.model import LoadedModel, stored_weight
from s2e_core.spec import Site


@dataclass(frozen=True, eq=False)
class Piece:
    """A stored tensor that is a site's weight, or the part of it that belongs to one expert."""

    tensor: StoredTensor
    """One matrix, or several of the same shape stacked along the rows."""
    inputs: slice
    """Inputs of the site that the tensor belongs to."""
    transposed: bool
    """True if the matrices are stored (in, out)."""


_Candidate = tuple[str, tuple[StoredTensor, ...]]
"""A name, and the tensors that together may be a weight: one, or one per expert (the name has * for the number)."""


def locate(
    checkpoint: Checkpoint, loaded: LoadedModel, sites: Sequence[int]
) -> Iterator[tuple[int, tuple[Piece, ...]]]:
    """(site, stored tensors that together contain each of its inputs once), verified one site at a time.

    Raises ExportError with the tensor's name if no stored tensors equal the loaded weight.
    """
    stored = checkpoint.tensors()
    has_experts = any(loaded.spec.sites[site].experts for site in sites)
    candidates = _candidates_by_shape(stored, has_experts)
    owners: dict[str, int] = {}
    for site in sites:
        pieces = _locate_site(stored, candidates, loaded, loaded.spec.sites[site])
        for piece in pieces:
            other = owners.setdefault(piece.tensor.name, site)
            if other != site:
                names = loaded.spec.sites[other].name, loaded.spec.sites[site].name
                raise ExportError(
                    f"{names[0]} and {names[1]} share the stored tensor {piece.tensor.name}, so a checkpoint cannot "
                    "contain both edits; export the adapter instead."
                )
        yield site, pieces


def split_by_matrix(first: int, rows: Tensor, n_rows: int) -> Iterator[tuple[int, int, Tensor]]:
    """Split a block of rows of stacked matrices, which starts at row `first` of the stack, at the ends of matrices.

    Yields (matrix, first row of the part in that matrix, part); each matrix has `n_rows` rows.
    """
    position = 0
    while position < len(rows):
        matrix, row = divmod(first + position, n_rows)
        part = rows[position : position + n_rows - row]
        yield matrix, row, part
        position += len(part)


def _candidates_by_shape(
    stored: Mapping[str, StoredTensor], has_experts: bool
) -> dict[tuple[int, ...], list[_Candidate]]:
    """Candidates for a weight by the shape of their matrices: (rows, columns) or (count, rows, columns).

    With `has_experts`, tensors whose names differ only in a number, counted from 0, are one candidate as well.
    """
    candidates: dict[tuple[int, ...], list[_Candidate]] = {}
    numbered: dict[tuple[str, tuple[int, ...]], dict[int, StoredTensor]] = {}
    for name, tensor in stored.items():
        if tensor.dtype not in FLOATS:
            continue
        candidates.setdefault(tensor.shape, []).append((name, (tensor,)))
        parts = name.split(".") if has_experts and len(tensor.shape) == 2 else []
        for i, part in enumerate(parts):
            if part.isdecimal():
                template = ".".join((*parts[:i], "*", *parts[i + 1 :]))
                numbered.setdefault((template, tensor.shape), {})[int(part)] = tensor
    for (template, shape), members in numbered.items():
        if len(members) > 1 and members.keys() == set(range(len(members))):
            tensors = tuple(members[i] for i in range(len(members)))
            candidates.setdefault((len(members), *shape), []).append((template, tensors))
    return candidates


def _locate_site(
    stored: Mapping[str, StoredTensor],
    candidates: Mapping[tuple[int, ...], Sequence[_Candidate]],
    loaded: LoadedModel,
    site: Site,
) -> tuple[Piece, ...]:
    """Try the likeliest names first; a wrong tensor differs within its first rows."""
    name = f"{site.name}.{site.parameter}"
    weight = stored_weight(loaded.source_model, site)
    *_, rows, columns = weight.shape
    matrices = weight if site.experts else weight.unsqueeze(0)
    candidates_of_site = [
        (candidate, flipped)
        for flipped, matrix in ((False, (rows, columns)), (True, (columns, rows)))
        for shape in _shapes(len(matrices), *matrix)
        for candidate in candidates.get(shape, ())
    ]
    for (_, tensors), flipped in _likeliest_first(candidates_of_site, name):
        shares = matrices.transpose(1, 2) if flipped else matrices
        if all(_equals(*pair) for pair in zip(tensors, shares.chunk(len(tensors)), strict=True)):
            step = site.n_inputs // len(tensors)
            return tuple(
                Piece(tensor, slice(i * step, (i + 1) * step), site.transposed != flipped)
                for i, tensor in enumerate(tensors)
            )
    raise ExportError(_explain_mismatch(stored, weight, site, loaded))


def _likeliest_first(candidates: list[tuple[_Candidate, bool]], name: str) -> Iterator[tuple[_Candidate, bool]]:
    """The same name first, then all other candidates, of which there may be many, by the likeness of their names."""
    yield from (candidate for candidate in candidates if candidate[0][0] == name)
    yield from sorted(candidates, key=lambda candidate: -_likeness(candidate[0][0], name))


def _shapes(count: int, rows: int, columns: int) -> set[tuple[int, ...]]:
    """Shapes in which `count` matrices may be stored: (count, rows, columns), or one matrix of all rows."""
    return {(count, rows, columns), (count * rows, columns)}


def _likeness(stored: str, name: str) -> int:
    """Length of the longest common subsequence of the parts of two dotted names."""
    longest = [0] * (name.count(".") + 2)  # between the visited parts of `stored` and the first i of `name`
    for part in stored.split("."):
        before = longest.copy()
        for i, other in enumerate(name.split(".")):
            longest[i + 1] = before[i] + 1 if part == other else max(before[i + 1], longest[i])
    return longest[-1]


def _equals(tensor: StoredTensor, matrices: Tensor) -> bool:
    """True if a stored tensor equals the matrices (n, rows, columns), which may have been cast at load."""
    return all(
        _is_same(part.to(matrices.dtype), matrices[matrix, row : row + len(part)].cpu())
        for first, rows in read_rows(tensor)
        for matrix, row, part in split_by_matrix(first, rows, matrices.shape[1])
    )


def _is_same(stored: Tensor, loaded: Tensor) -> bool:
    """True if all numbers are equal and finite; in 16 bits this takes a third of the time of torch.equal."""
    least, most = (stored - loaded).aminmax()
    return bool(least == 0) and bool(most == 0)


def _explain_mismatch(stored: Mapping[str, StoredTensor], weight: Tensor, site: Site, loaded: LoadedModel) -> str:
    name = f"{site.name}.{site.parameter}"
    quantised = [t.dtype for t in stored.values() if t.name.startswith(f"{site.name}.") and t.dtype not in FLOATS]
    if quantised:
        return (
            f"{name} is stored quantised ({quantised[0]}), so an edit cannot be written into it; export the adapter "
            "instead."
        )
    if not bool(weight.isfinite().all()):
        return f"{name} contains values that are not finite (NaN or infinity); download the model again."
    return (
        f"No tensor in {loaded.source.name} equals the loaded weight {name}; the files may have changed since the "
        "model was loaded. Load the model again, or export the adapter instead."
    )
