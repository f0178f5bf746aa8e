"""Whether an edit is good: what is asked, how answers are judged, sweeps, the search, damage."""

from .asking import Asker, ask, ask_here
from .budget import SHORT_BUDGET, SMALL_MODEL, SearchBudget, is_slow, search_budget
from .choosing import choose
from .damage import ChoiceQuestion, MultipleChoice, multiple_choice, next_token_kl, perplexity
from .estimates import RESAMPLES, Estimate, difference, mean, share
from .evaluate import evaluate
from .evaluation import HOW, Evaluation
from .greedy import Greedy, greedy_answers
from .keeping import WHY_KL, bar, by_utility, keeps, keeps_safely
from .likelihood import TextSpan, encode_text, token_log_probs
from .likelihood_search import Fifths, LikelihoodFound, find_by_likelihood, split_fifths
from .own_pairs import own_pairs
from .plan import Answer, Outcome, Plan, Question, Result, Share, per_prompt, results
from .probing import PROBE_FIGURES, PROBE_TOKENS, SOLUTION_TOKENS, Probed, probe
from .race import MATCHED_ARM, PLACEBO_ARM, PROMPT_ARM, STEERING_ARM, Race, measure_arms, placebo, run_race
from .ranks import RankCorrelation, spearman, spearman_interval
from .ray import RayWorkers
from .rolls import N_ROLLS, Roll, is_utility, rolls, row_for, shows
from .screening import (
    Likelihood,
    Screen,
    ScreenTexts,
    open_screen,
    screen,
    screen_texts,
    split_contrast,
)
from .search import find_edit
from .search_plan import Found, SearchPlan
from .shortlist import Screened, count_measurements, pick_shortlist, screen_shapes
from .suggest import KL_BOUND, USUAL_GAMMA, Suggestion, suggest, suggestions_from_json, suggestions_to_json
from .sweep import add_original, sweep, sweep_results
from .sweep_file import Sweep, load_sweep
from .tables import (
    EVALUATION_COLUMNS,
    SWEEP_COLUMNS,
    evaluations_to_rows,
    format_evaluations,
    format_figure,
    format_results,
    format_share,
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
    trial_to_json,
)

__all__ = [
    "N_ROLLS",
    "Roll",
    "is_slow",
    "rolls",
    "row_for",
    "is_utility",
    "shows",
    "Answer",
    "Arm",
    "Asker",
    "ChoiceQuestion",
    "EVALUATION_COLUMNS",
    "Estimate",
    "Evaluation",
    "Fifths",
    "Found",
    "HOW",
    "KL_BOUND",
    "Likelihood",
    "LikelihoodFound",
    "MultipleChoice",
    "Outcome",
    "PAPER_ALPHA",
    "PAPER_GAMMA",
    "PAPER_RHO_ATTN",
    "PAPER_RHO_MLP",
    "MATCHED_ARM",
    "Greedy",
    "PLACEBO_ARM",
    "PROBE_FIGURES",
    "PROBE_TOKENS",
    "PROMPT_ARM",
    "Plan",
    "Probed",
    "Question",
    "RESAMPLES",
    "Race",
    "RankCorrelation",
    "RayWorkers",
    "Result",
    "SOLUTION_TOKENS",
    "STEERING_ARM",
    "SWEEP_COLUMNS",
    "Screen",
    "ScreenTexts",
    "Screened",
    "SHORT_BUDGET",
    "SMALL_MODEL",
    "SearchBudget",
    "SearchPlan",
    "Share",
    "search_budget",
    "Suggestion",
    "Sweep",
    "TextSpan",
    "Trial",
    "USUAL_GAMMA",
    "ask",
    "ask_here",
    "best_within",
    "choose",
    "difference",
    "count_edited",
    "count_measurements",
    "edit_grid",
    "encode_text",
    "evaluate",
    "format_evaluations",
    "evaluations_to_rows",
    "format_figure",
    "find_by_likelihood",
    "find_edit",
    "WHY_KL",
    "bar",
    "by_utility",
    "keeps",
    "keeps_safely",
    "leave_one_out",
    "load_sweep",
    "greedy_answers",
    "mean",
    "measure_arms",
    "multiple_choice",
    "next_token_kl",
    "open_screen",
    "own_pairs",
    "pareto_front",
    "per_prompt",
    "placebo",
    "run_race",
    "perplexity",
    "pick_shortlist",
    "probe",
    "progressive",
    "screen",
    "screen_shapes",
    "screen_texts",
    "split_contrast",
    "split_fifths",
    "suggest",
    "suggestions_from_json",
    "suggestions_to_json",
    "format_results",
    "format_share",
    "result_to_row",
    "results",
    "settings_label",
    "share",
    "spearman",
    "spearman_interval",
    "steering_grid",
    "sweep",
    "sweep_results",
    "token_log_probs",
    "trial_key",
    "trial_to_json",
    "add_original",
]
