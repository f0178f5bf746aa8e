"""Steer2Edit: turn a steering direction into closed-form rank-1 edits of attention heads and MLP neurons.

Sun, Yan, Wang, Weng: "Steer2Edit: From Activation Steering to Component-Level Editing", arXiv 2602.09870.
"""

from .data import Behavior, list_behaviors, load_behavior, load_contrast_set, swapped
from .errors import (
    BehaviorError,
    Cancelled,
    ContrastDataError,
    ExportError,
    InteropError,
    ModelLoadError,
    RecipeError,
    S2EError,
    SettingsError,
    SweepError,
    UnsupportedModelError,
)
from .export import export_adapter, export_checkpoint, load_edit, push_to_hub, save_edit
from .generation import compare, generate_responses
from .interop import import_file
from .loading import load_model
from .measure import evaluate, find_edit, sweep
from .method import (
    build_edit,
    capture_means,
    component_scores,
    edited_weight,
    elastic_net,
    extract,
    steering_directions,
)
from .settings import EditSettings, Selection
from .spec import Component
from .values import (
    ActivationMeans,
    ComponentScores,
    ContrastSet,
    Edited,
    Example,
    Extraction,
    Original,
    Steered,
    SteeringDirections,
    Variant,
    WeightEdit,
)
from .verify import verify_export

__all__ = [
    # A model
    "load_model",
    # Examples
    "load_contrast_set",
    "ContrastSet",
    "Example",
    "swapped",
    "list_behaviors",
    "load_behavior",
    "Behavior",
    # The method
    "extract",
    "Extraction",
    "capture_means",
    "ActivationMeans",
    "steering_directions",
    "SteeringDirections",
    "component_scores",
    "ComponentScores",
    # The edit
    "EditSettings",
    "Selection",
    "Component",
    "elastic_net",
    "build_edit",
    "WeightEdit",
    "edited_weight",
    # Texts before and after
    "compare",
    "generate_responses",
    "Variant",
    "Original",
    "Edited",
    "Steered",
    # Is it good?
    "evaluate",
    "sweep",
    "find_edit",
    # Take it home
    "save_edit",
    "load_edit",
    "export_checkpoint",
    "export_adapter",
    "verify_export",
    "push_to_hub",
    # Files from elsewhere
    "import_file",
    # Errors
    "S2EError",
    "BehaviorError",
    "Cancelled",
    "ContrastDataError",
    "ExportError",
    "InteropError",
    "ModelLoadError",
    "RecipeError",
    "SettingsError",
    "SweepError",
    "UnsupportedModelError",
]
