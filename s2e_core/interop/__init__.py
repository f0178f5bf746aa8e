"""Files of other programs: directions, edit packs, steering vectors, control vectors, results of lm-eval."""

from .control_vector import CONTROL_VECTOR_NOTE, save_control_vector
from .directions import ImportedDirections, load_directions
from .edit_pack import load_edit_pack
from .importing import ImportedFile, import_file, read_texts
from .lm_eval import EvaluationResults, TaskMetric, read_results
from .steering_vector import AS_IN_FILE, load_steering_vector
from .vector_layers import LayerChoice, OpenLayers

__all__ = [
    "AS_IN_FILE",
    "CONTROL_VECTOR_NOTE",
    "EvaluationResults",
    "ImportedFile",
    "ImportedDirections",
    "OpenLayers",
    "LayerChoice",
    "TaskMetric",
    "import_file",
    "load_directions",
    "load_edit_pack",
    "load_steering_vector",
    "read_results",
    "read_texts",
    "save_control_vector",
]
