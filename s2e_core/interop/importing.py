"""Import of recipes, edit packs, directions and steering vectors: recognises a file by its content and reads it.

Knows the kinds of files and their readers, which check everything. A finished edit (a recipe or an edit pack) comes
without scores; directions and steering vectors lead to scores and to an edit of any settings.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from s2e_core.data import SUFFIXES, read_examples
from s2e_core.errors import ContrastDataError, InteropError
from s2e_core.export import is_recipe_header, load_edit
from s2e_core.model import LoadedModel
from s2e_core.spec import KINDS
from s2e_core.text import layer_ranges
from s2e_core.values import Example, MeanInputs, SteeringDirections, WeightEdit

from .directions import load_directions
from .edit_pack import load_edit_pack
from .steering_vector import AS_IN_FILE, bare_tensors, file_form, load_steering_vector
from .torch_file import load_torch_file
from .vector_layers import LayerChoice

ImportKind = Literal["recipe", "directions", "edit pack", "steering vector"]
EXPECTED = (
    "Expected a recipe (.safetensors), directions or an edit pack of the authors' code (.pt), or a steering vector "
    "(.safetensors, .pt, .npy, .npz, .gguf or .svec)."
)


@dataclass(frozen=True, eq=False)
class ImportedFile:
    """The content of a file: a finished edit, or directions with the mean inputs if the file has them."""

    kind: ImportKind
    name: str
    """Name of the file."""
    edit: WeightEdit | None = None
    """A finished edit, with those under it if the recipe combines several."""
    directions: SteeringDirections | None = None
    inputs: MeanInputs | None = None
    """Mean inputs; None for a steering vector, whose mean inputs are still to be captured."""

    def sentence(self) -> str:
        """Description of the content, for people."""
        if self.edit is not None:
            subject = "A recipe of this program" if self.kind == "recipe" else "An edit pack of the authors' code"
            if self.kind != "recipe":
                return f"{subject}: a finished edit of {_size(self.edit)}."
            return f"{subject}: {', on top of '.join(map(_described, self.edit.parts))}."
        assert self.directions is not None
        spec, norm = self.directions.spec, self.directions.norm
        layers = {site.layer for site, length in zip(spec.sites, norm.tolist(), strict=True) if length > 0}
        extent = f"{len(layers)} of {spec.n_layers} layers ({layer_ranges(layers)}, counted from 0)"
        if self.kind == "steering vector":
            return f"A steering vector with a direction for {extent}."
        return f"Directions of the authors' code, with the mean inputs, for {extent}."


def import_file(path: str | Path, loaded: LoadedModel, choice: LayerChoice = AS_IN_FILE) -> ImportedFile:
    """Recognise the kind of a file by its content, and read it for the loaded model.

    `choice` says what a steering vector leaves open about its layers; OpenLayers is raised if that is missing.
    Code in a file is never run. Raises InteropError or RecipeError if the file is damaged, unsafe, for another model or
    of an unknown kind.
    """
    path = Path(path)
    kind = _recognize_kind(path)
    if kind != "steering vector" and choice != AS_IN_FILE:
        raise InteropError(f"{path.name} is no steering vector, so its layers are known. Leave their setting out.")
    if kind == "recipe":
        return ImportedFile(kind, path.name, edit=load_edit(path, base=loaded))
    if kind == "edit pack":
        return ImportedFile(kind, path.name, edit=load_edit_pack(path, loaded))
    if kind == "directions":
        content = load_directions(path, loaded)
        return ImportedFile(kind, path.name, directions=content.directions, inputs=content.inputs)
    return ImportedFile(kind, path.name, directions=load_steering_vector(path, loaded, choice))


def read_texts(path: str | Path) -> tuple[Example, ...]:
    """Every example of a data file, whatever its side: the texts for the mean inputs of a steering vector.

    Raises ContrastDataError if the file cannot be read or contains no prompt with a response.
    """
    reading = read_examples(path)
    texts = (*reading.positive, *reading.negative, *reading.without_side)
    if reading.responses_missing or not texts:
        raise ContrastDataError(
            f"{reading.name} contains no prompts with responses. Expected rows with the columns prompt and response; "
            "mean inputs are averages over the responses."
        )
    return texts


def _recognize_kind(path: Path) -> ImportKind:
    try:
        with path.open("rb") as file:
            form = file_form(file, path)
            if form == "safetensors":
                return "recipe" if is_recipe_header(file) else "steering vector"
    except OSError as error:
        raise InteropError(f"{path.name} cannot be read ({error.strerror}). Choose another file.") from error
    if form in ("torch", "pickle"):
        return _recognize_torch_kind(path)  # refuses a bare pickle, with the reason
    if form is None and Path(path.name.lower().removesuffix(".gz")).suffix in SUFFIXES:
        raise InteropError(
            f"{path.name} has the name of a file of examples, which cannot be imported here. Load it as your own "
            f'examples on the page, or with the command "data". {EXPECTED}'
        )
    if form is None:
        raise InteropError(f"{path.name} is damaged or of an unknown kind. {EXPECTED}")
    return "steering vector"


def _recognize_torch_kind(path: Path) -> ImportKind:
    content = load_torch_file(path)
    parts = set(content) if isinstance(content, dict) else set()
    if parts & {"pre", "post"}:
        return "directions"
    if parts & {"attn", "mlp"}:
        return "edit pack"
    if bare_tensors(content) is not None:
        return "steering vector"
    raise InteropError(
        f"{path.name} contains neither directions (pre, post) nor an edit pack (attn, mlp) of the authors' code, nor a "
        "steering vector as bare tensors. Expected one of these."
    )


def _described(edit: WeightEdit) -> str:
    return f"a finished edit of {_size(edit)}, made from {edit.provenance.contrast_name}"


def _size(edit: WeightEdit) -> str:
    edit = replace(edit, also=())
    layers = {edit.spec.sites[i].layer for i in edit.edited_sites()}
    counts = " and ".join(f"{edit.count(kind):,} {kind}" for kind in KINDS)
    return f"{counts} in {len(layers)} of {edit.spec.n_layers} layers"
