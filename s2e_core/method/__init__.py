"""The paper's method in reading order: capture, directions, scores, edit, and how reliable the examples are."""

from .capture import capture_inputs, capture_means
from .directions import opposite, steering_directions
from .edit import (
    EditSummary,
    build_edit,
    edited_mask,
    edited_weight,
    elastic_net,
    relative_changes,
    rho_for_count,
    summarize,
)
from .extract import extract, score_along
from .reliability import Reliability, Weakness, reliability
from .scores import component_scores

__all__ = [
    "EditSummary",
    "Reliability",
    "Weakness",
    "build_edit",
    "capture_inputs",
    "capture_means",
    "component_scores",
    "edited_mask",
    "edited_weight",
    "elastic_net",
    "extract",
    "opposite",
    "relative_changes",
    "reliability",
    "rho_for_count",
    "score_along",
    "steering_directions",
    "summarize",
]
