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
from .sweep import sweep, sweep_results, with_original
from .sweep_file import Sweep, load_sweep
from .tables import (
    EVALUATION_COLUMNS,
    SWEEP_COLUMNS,
    evaluation_lines,
    evaluation_records,
    figure_text,
    result_lines,
    result_record,
)
from .trade_off import best_within, pareto_front
from .trials import (
    PAPER_ALPHA,
    PAPER_GAMMA,
    PAPER_RHO_ATTN,
    PAPER_RHO_MLP,
    Arm,
    Trial,
    edit_grid,
    edit_size,
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
    "edit_size",
    "evaluate",
    "evaluation_lines",
    "evaluation_records",
    "figure_text",
    "find_edit",
    "leave_one_out",
    "load_sweep",
    "multiple_choice",
    "next_token_kl",
    "pareto_front",
    "per_prompt",
    "perplexity",
    "progressive",
    "result_lines",
    "result_record",
    "results",
    "settings_label",
    "steering_grid",
    "sweep",
    "sweep_results",
    "trial_key",
    "with_original",
]
