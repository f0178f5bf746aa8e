"""The paper's method in reading order: capture, directions, scores, edit, and how reliable the examples are."""

from .capture import (
    ExampleSpan,
    capture_inputs,
    capture_means,
    reduce_spans,
    refuse_not_finite,
    split_batches,
    tokenize_examples,
)
from .combine import combine
from .directions import opposite, project, steering_directions
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
from .gate import MUS, gate_masks, mean_firing, solve_keys
from .gate_fit import fit_gate
from .outliers import outlier_sentence
from .reliability import Reliability, Weakness, reliability
from .scores import component_scores
from .token_capture import capture_token_inputs, own_answers

__all__ = [
    "MUS",
    "EditSummary",
    "ExampleSpan",
    "Reliability",
    "Weakness",
    "build_edit",
    "capture_inputs",
    "capture_means",
    "capture_token_inputs",
    "combine",
    "component_scores",
    "edited_mask",
    "edited_weight",
    "elastic_net",
    "extract",
    "fit_gate",
    "gate_masks",
    "mean_firing",
    "opposite",
    "outlier_sentence",
    "own_answers",
    "project",
    "reduce_spans",
    "refuse_not_finite",
    "relative_changes",
    "reliability",
    "rho_for_count",
    "score_along",
    "solve_keys",
    "split_batches",
    "steering_directions",
    "summarize",
    "tokenize_examples",
]
