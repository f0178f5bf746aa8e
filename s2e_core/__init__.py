"""Steer2Edit: turn a steering direction into closed-form rank-1 edits of attention heads and MLP neurons.

Sun, Yan, Wang, Weng: "Steer2Edit: From Activation Steering to Component-Level Editing", arXiv 2602.09870.
"""

from .adapter import export_adapter
from .answer_sides import Asked, answer_sides, asked_prompts, possible_rules
from .behaviors import Behavior, list_behaviors, load_behavior
from .capture import capture_inputs, capture_means
from .columns import Columns
from .contrast import contrast_set, contrast_set_from, load_contrast_set, parse_contrast_set, swapped
from .control_vector import CONTROL_VECTOR_NOTE, save_control_vector
from .damage import ChoiceQuestion, MultipleChoice, multiple_choice, next_token_kl, perplexity
from .directions import opposite, steering_directions
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
    InteropError,
    ModelLoadError,
    RecipeError,
    S2EError,
    SettingsError,
    SweepError,
    UnsupportedModelError,
)
from .estimates import Estimate
from .evaluate import evaluate
from .evaluation import Evaluation
from .export import export_checkpoint, export_size
from .generate import compare, generate_responses
from .import_file import Imported, import_file, read_texts
from .interop_directions import ImportedDirections, load_directions
from .interop_edit_pack import load_edit_pack
from .intervene import intervening, preview_logits
from .lint import Finding, averaged_span, lint
from .loading import load_model
from .own_responses import own_responses
from .plan import Answer, Outcome, Plan, Question, Result
from .push import push_to_hub
from .reading import Reading, parse_examples, read_examples
from .recipe import load_edit, save_edit
from .reliability import Reliability, reliability
from .response_file import OwnResponse
from .response_sides import reference_row, sides_by_agreement, sides_by_hand, sides_by_length, sides_by_prompt
from .scores import component_scores
from .scoring import Verdict, judge
from .search import Found, find_edit
from .settings import EditSettings, Selection
from .spec import Component, Kind, ModelSpec, Site
from .steering_vector import load_steering_vector
from .sweep import sweep, sweep_results
from .sweep_file import Sweep, load_sweep
from .trade_off import best_within, pareto_front
from .trials import Trial, edit_grid, leave_one_out, progressive, steering_grid
from .types import (
    ActivationMeans,
    ComponentScores,
    ContrastSet,
    Edited,
    Example,
    LoadedModel,
    MeanInputs,
    Original,
    Progress,
    Provenance,
    Steered,
    SteeringDirections,
    Variant,
    WeightEdit,
)
from .verify import Verification, verify_export

__all__ = [
    "ActivationMeans",
    "Answer",
    "Asked",
    "Behavior",
    "BehaviorError",
    "CONTROL_VECTOR_NOTE",
    "Cancelled",
    "ChoiceQuestion",
    "Columns",
    "Component",
    "ComponentScores",
    "ContrastDataError",
    "ContrastSet",
    "EditSettings",
    "EditSummary",
    "Edited",
    "Estimate",
    "Evaluation",
    "Example",
    "ExportError",
    "Finding",
    "Found",
    "Imported",
    "ImportedDirections",
    "InteropError",
    "Kind",
    "LoadedModel",
    "MeanInputs",
    "ModelLoadError",
    "ModelSpec",
    "MultipleChoice",
    "Original",
    "Outcome",
    "OwnResponse",
    "Plan",
    "Progress",
    "Provenance",
    "Question",
    "Reading",
    "RecipeError",
    "Reliability",
    "Result",
    "S2EError",
    "Selection",
    "SettingsError",
    "Site",
    "Steered",
    "SteeringDirections",
    "Sweep",
    "SweepError",
    "Trial",
    "UnsupportedModelError",
    "Variant",
    "Verdict",
    "Verification",
    "WeightEdit",
    "answer_sides",
    "asked_prompts",
    "averaged_span",
    "best_within",
    "build_edit",
    "capture_inputs",
    "capture_means",
    "compare",
    "component_scores",
    "contrast_set",
    "contrast_set_from",
    "edit_grid",
    "edited_weight",
    "elastic_net",
    "evaluate",
    "export_adapter",
    "export_checkpoint",
    "export_size",
    "find_edit",
    "generate_responses",
    "import_file",
    "intervening",
    "judge",
    "leave_one_out",
    "lint",
    "list_behaviors",
    "load_behavior",
    "load_contrast_set",
    "load_directions",
    "load_edit",
    "load_edit_pack",
    "load_model",
    "load_steering_vector",
    "load_sweep",
    "multiple_choice",
    "next_token_kl",
    "opposite",
    "own_responses",
    "pareto_front",
    "parse_contrast_set",
    "parse_examples",
    "perplexity",
    "possible_rules",
    "preview_logits",
    "progressive",
    "push_to_hub",
    "read_examples",
    "read_texts",
    "reference_row",
    "relative_changes",
    "reliability",
    "rho_for_count",
    "save_control_vector",
    "save_edit",
    "sides_by_agreement",
    "sides_by_hand",
    "sides_by_length",
    "sides_by_prompt",
    "steering_directions",
    "steering_grid",
    "summarize",
    "swapped",
    "sweep",
    "sweep_results",
    "verify_export",
]
