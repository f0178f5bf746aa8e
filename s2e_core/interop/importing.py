"""A file that is no examples: what it is, told from its content, and what it gives for the loaded model.

Knows the kinds of files and which reader each has; the readers check everything. A finished edit (a recipe, an edit
pack) comes without scores; directions and steering vectors give scores and an edit of any settings.
"""

from __future__ import annotations

from dataclasses import dataclass
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
from .steering_vector import bare_tensors, file_form, load_steering_vector
from .torch_file import load_torch_file

ImportKind = Literal["recipe", "directions", "edit pack", "steering vector"]
EXPECTED = (
    "Expected a recipe or a steering vector (.safetensors), directions or an edit pack of the authors' code (.pt), or "
    "a steering vector as .pt, .npy, .npz or .gguf."
)


@dataclass(frozen=True, eq=False)
class Imported:
    """What a file gives: a finished edit, or directions, beside them the mean inputs where the file has them."""

    kind: ImportKind
    name: str
    """Of the file."""
    edit: WeightEdit | None = None
    directions: SteeringDirections | None = None
    inputs: MeanInputs | None = None
    """None where mean inputs are still to be captured: a steering vector."""

    def sentence(self) -> str:
        """What was read, for a person."""
        if self.edit is not None:
            what = "A recipe of this program" if self.kind == "recipe" else "An edit pack of the authors' code"
            made = f", made from {self.edit.provenance.contrast_name}" if self.kind == "recipe" else ""
            return f"{what}: a finished edit of {_size(self.edit)}{made}."
        assert self.directions is not None
        spec, norm = self.directions.spec, self.directions.norm
        layers = {site.layer for site, length in zip(spec.sites, norm.tolist(), strict=True) if length > 0}
        where = f"{len(layers)} of {spec.n_layers} layers ({layer_ranges(layers)}, counted from 0)"
        if self.kind == "steering vector":
            return f"A steering vector with a direction for {where}."
        return f"Directions of the authors' code, with the mean inputs, for {where}."


def import_file(path: str | Path, loaded: LoadedModel) -> Imported:
    """Tell what a file is by its content, and read it for the loaded model.

    Raises InteropError or RecipeError, with one sentence, for a file that is damaged, unsafe, of another model or of no
    kind that is known; nothing in a file is ever run.
    """
    path = Path(path)
    kind = _kind(path)
    if kind == "recipe":
        return Imported(kind, path.name, edit=load_edit(path, base=loaded))
    if kind == "edit pack":
        return Imported(kind, path.name, edit=load_edit_pack(path, loaded))
    if kind == "directions":
        given = load_directions(path, loaded)
        return Imported(kind, path.name, directions=given.directions, inputs=given.inputs)
    return Imported(kind, path.name, directions=load_steering_vector(path, loaded))


def read_texts(path: str | Path) -> tuple[Example, ...]:
    """Every example of a data file, whatever side it is on: texts for the mean inputs beside a steering vector.

    Raises ContrastDataError for a file that cannot be read or holds no prompt with a response.
    """
    reading = read_examples(path)
    texts = (*reading.positive, *reading.negative, *reading.unsided)
    if reading.responses_missing or not texts:
        raise ContrastDataError(
            f"{reading.name} holds no prompts with responses. Expected rows with the columns prompt and response; mean "
            "inputs are averaged over the responses."
        )
    return texts


def _kind(path: Path) -> ImportKind:
    try:
        with path.open("rb") as file:
            form = file_form(file, path)
            if form == "safetensors":
                return "recipe" if is_recipe_header(file) else "steering vector"
    except OSError as error:
        raise InteropError(f"{path.name} cannot be read ({error.strerror}). Choose another file.") from error
    if form in ("torch", "pickle"):
        return _torch_kind(path)  # a bare pickle is refused there, with the reason
    if form is None and path.suffix.lower() in SUFFIXES:
        raise InteropError(
            f"{path.name} is a file of examples by its name, and those are not imported here. Bring it as your own "
            f"examples, which is what the command data reads. {EXPECTED}"
        )
    if form is None:
        raise InteropError(f"{path.name} is none of the files that are read here, or it is damaged. {EXPECTED}")
    return "steering vector"


def _torch_kind(path: Path) -> ImportKind:
    content = load_torch_file(path)
    parts = set(content) if isinstance(content, dict) else set()
    if parts & {"pre", "post"}:
        return "directions"
    if parts & {"attn", "mlp"}:
        return "edit pack"
    if bare_tensors(content) is not None:
        return "steering vector"
    raise InteropError(
        f"{path.name} holds neither directions (pre, post) nor an edit pack (attn, mlp) of the authors' code, nor a "
        "steering vector as bare tensors. Expected one of these."
    )


def _size(edit: WeightEdit) -> str:
    layers = {edit.spec.sites[i].layer for i in edit.edited_sites()}
    counts = " and ".join(f"{edit.count(kind):,} {kind}" for kind in KINDS)
    return f"{counts} in {len(layers)} of {edit.spec.n_layers} layers"
