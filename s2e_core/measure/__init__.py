"""Whether an edit is good: what is asked, how answers are judged, sweeps, the search, damage."""

from .asking import Asker, ask_here
from .choosing import choose
from .damage import ChoiceQuestion, MultipleChoice, multiple_choice, next_token_kl, perplexity
from .estimates import RESAMPLES, Estimate, difference
from .evaluate import evaluate
from .evaluation import HOW, Evaluation
from .plan import Answer, Outcome, Plan, Question, Result, per_prompt, results
from .ray import RayWorkers
from .search import Found, SearchPlan, find_edit
from .sweep import add_original, sweep, sweep_results
from .sweep_file import Sweep, load_sweep
from .tables import (
    EVALUATION_COLUMNS,
    SWEEP_COLUMNS,
    evaluations_to_rows,
    format_evaluations,
    format_figure,
    format_results,
    result_to_row,
)
from .trade_off import best_within, pareto_front
from .trials import (
    PAPER_ALPHA,
    PAPER_GAMMA,
    PAPER_RHO_ATTN,
    PAPER_RHO_MLP,
    Arm,
    Trial,
    count_edited,
    edit_grid,
    leave_one_out,
    progressive,
    settings_label,
    steering_grid,
    trial_key,
)

__all__ = [
    "Answer",
    "Arm",
    "Asker",
    "ChoiceQuestion",
    "EVALUATION_COLUMNS",
    "Estimate",
    "Evaluation",
    "Found",
    "HOW",
    "MultipleChoice",
    "Outcome",
    "PAPER_ALPHA",
    "PAPER_GAMMA",
    "PAPER_RHO_ATTN",
    "PAPER_RHO_MLP",
    "Plan",
    "Question",
    "RESAMPLES",
    "RayWorkers",
    "Result",
    "SWEEP_COLUMNS",
    "SearchPlan",
    "Sweep",
    "Trial",
    "ask_here",
    "best_within",
    "choose",
    "difference",
    "edit_grid",
    "count_edited",
    "evaluate",
    "format_evaluations",
    "evaluations_to_rows",
    "format_figure",
    "find_edit",
    "leave_one_out",
    "load_sweep",
    "multiple_choice",
    "next_token_kl",
    "pareto_front",
    "per_prompt",
    "perplexity",
    "progressive",
    "format_results",
    "result_to_row",
    "results",
    "settings_label",
    "steering_grid",
    "sweep",
    "sweep_results",
    "trial_key",
    "add_original",
]
