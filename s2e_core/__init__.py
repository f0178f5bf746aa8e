"""Steer2Edit: turn a steering direction into closed-form rank-1 edits of attention heads and MLP neurons.

Sun, Yan, Wang, Weng: "Steer2Edit: From Activation Steering to Component-Level Editing", arXiv 2602.09870.
"""

from .adapter import export_adapter
from .behaviors import Behavior, list_behaviors, load_behavior
from .capture import capture_means
from .contrast import contrast_set, load_contrast_set, parse_contrast_set, swapped
from .directions import steering_directions
from .edit import (
    EditSummary,
    build_edit,
    edited_weight,
    elastic_net,
    relative_changes,
    rho_for_count,
    summarize,
)
from .errors import (
    BehaviorError,
    Cancelled,
    ContrastDataError,
    ExportError,
    ModelLoadError,
    RecipeError,
    S2EError,
    SettingsError,
    UnsupportedModelError,
)
from .export import export_checkpoint, export_size
from .generate import compare, generate_responses
from .intervene import intervening, preview_logits
from .loading import load_model
from .recipe import load_edit, save_edit
from .scores import component_scores
from .settings import EditSettings, Selection
from .spec import Component, ModelSpec, Site
from .types import (
    ActivationMeans,
    ComponentScores,
    ContrastSet,
    Edited,
    Example,
    LoadedModel,
    Original,
    Provenance,
    Steered,
    SteeringDirections,
    Variant,
    WeightEdit,
)
from .verify import Verification, verify_export

__all__ = [
    "ActivationMeans",
    "Behavior",
    "BehaviorError",
    "Cancelled",
    "Component",
    "ComponentScores",
    "ContrastDataError",
    "ContrastSet",
    "EditSettings",
    "EditSummary",
    "Edited",
    "Example",
    "ExportError",
    "LoadedModel",
    "ModelLoadError",
    "ModelSpec",
    "Original",
    "Provenance",
    "RecipeError",
    "S2EError",
    "Selection",
    "SettingsError",
    "Site",
    "Steered",
    "SteeringDirections",
    "UnsupportedModelError",
    "Variant",
    "Verification",
    "WeightEdit",
    "build_edit",
    "capture_means",
    "compare",
    "component_scores",
    "contrast_set",
    "edited_weight",
    "elastic_net",
    "export_adapter",
    "export_checkpoint",
    "export_size",
    "generate_responses",
    "intervening",
    "list_behaviors",
    "load_behavior",
    "load_contrast_set",
    "load_edit",
    "load_model",
    "parse_contrast_set",
    "preview_logits",
    "relative_changes",
    "rho_for_count",
    "save_edit",
    "steering_directions",
    "summarize",
    "swapped",
    "verify_export",
]
