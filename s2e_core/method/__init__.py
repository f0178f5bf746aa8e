"""The paper's method in reading order: capture, directions, scores, edit, and how reliable the examples are."""

from .capture import capture_inputs, capture_means
from .directions import opposite, steering_directions
from .edit import EditSummary, build_edit, edited_weight, elastic_net, relative_changes, rho_for_count, summarize
from .extract import extract, score_along
from .reliability import Reliability, reliability
from .scores import component_scores

__all__ = [
    "extract",
    "score_along",
    "EditSummary",
    "Reliability",
    "build_edit",
    "capture_inputs",
    "capture_means",
    "component_scores",
    "edited_weight",
    "elastic_net",
    "opposite",
    "relative_changes",
    "reliability",
    "rho_for_count",
    "steering_directions",
    "summarize",
]
