"""Files of other programs: directions, edit packs, steering vectors, control vectors."""

from .control_vector import CONTROL_VECTOR_NOTE, save_control_vector
from .directions import ImportedDirections, load_directions
from .edit_pack import load_edit_pack
from .importing import ImportedFile, import_file, read_texts
from .steering_vector import load_steering_vector

__all__ = [
    "CONTROL_VECTOR_NOTE",
    "ImportedFile",
    "ImportedDirections",
    "import_file",
    "load_directions",
    "load_edit_pack",
    "load_steering_vector",
    "read_texts",
    "save_control_vector",
]
