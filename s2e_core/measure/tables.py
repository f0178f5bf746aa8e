"""Results and evaluations as lines for the terminal and as rows for CSV.

Measures and prints nothing. The columns of a sweep are those of the page's CSV.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from .estimates import Estimate
from .evaluation import HOW, Evaluation
from .plan import Result
from .trials import Trial

SWEEP_COLUMNS = (
    "stage", "arm", "label", "split", "rho_attn", "rho_mlp", "alpha", "strength", "gamma",
    "gate_gamma", "mu", "gate_size", "protect", "heads", "neurons",
    "attribute", "attribute_low", "attribute_high", "attribute_prompts",
    "utility", "utility_low", "utility_high", "utility_kept", "utility_kept_low", "utility_kept_high",
    "utility_prompts", "tokens", "tokens_low", "tokens_high", "empty", "repeated", "off_topic",
    "kl", "kl_low", "kl_high",
    "pareto_front", "recommended",
)  # fmt: skip
STAGES = {"development": "development", "test": "held-out"}
"""What the prompts of a split are for, as long as a row does not say that it is of the run-off."""
EVALUATION_COLUMNS = ("variant", "figure", "value", "low", "high", "prompts", "how")


def format_figure(figure: Estimate) -> str:
    """The value with its interval: shares with three digits, tokens with one."""
    digits = 1 if abs(figure.value) >= 10 else 3
    return f"{figure.value:.{digits}f} [{figure.low:.{digits}f}, {figure.high:.{digits}f}]"


def format_share(figure: Estimate) -> str:
    """A share with its interval in percent, with one decimal: "97.3 % [95.0, 99.1]"."""
    return f"{figure.value:.1%} [{figure.low * 100:.1f}, {figure.high * 100:.1f}]".replace("%", " %")


def format_results(
    results: Sequence[Result],
    front: Sequence[int] = (),
    order: Sequence[int] | None = None,
    *,
    less_is_better: bool = False,
) -> list[str]:
    """A header and one line per trial; those on the Pareto front are marked with a star.

    Shares are in percent. With `less_is_better` the attribute is a number of tokens.
    """
    format_attribute = format_figure if less_is_better else format_share
    measured = any(result.kl is not None for result in results)
    header = ("", "setting", "attribute", "utility kept", "tokens", "empty, repeated", *(["KL"] if measured else []))
    rows: list[tuple[str, ...]] = [header]
    for n in range(len(results)) if order is None else order:
        result = results[n]
        silent = result.flaws["empty"].value + result.flaws["repeated"].value
        figures = format_attribute(result.attribute), format_share(result.kept), format_figure(result.tokens)
        kl = ["" if result.kl is None else format_figure(result.kl)] if measured else []
        rows.append(("*" if n in front else "", result.trial.label, *figures, f"{silent:.1%}".replace("%", " %"), *kl))
    return _align(rows)


def format_evaluations(evaluations: Sequence[Evaluation]) -> list[str]:
    """One line per figure and one column per variant, and the number of prompts behind each figure."""
    figures = [evaluation.figures() for evaluation in evaluations]
    rows = [("figure", *(evaluation.label for evaluation in evaluations), "prompts")]
    for name in HOW:
        counts = {one[name].count for one in figures if name in one}
        if counts:
            cells = (format_figure(one[name]) if name in one else "" for one in figures)
            rows.append((name, *cells, str(max(counts))))
    return _align(rows)


def _align(rows: Sequence[Sequence[str]]) -> list[str]:
    """Rows of cells as lines with columns of one width."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]


def result_to_row(
    result: Result, split: str, size: tuple[int, int] | None, marks: Mapping[str, int], stage: str = ""
) -> dict[str, Any]:
    """One trial as a row of SWEEP_COLUMNS; shares lie between 0 and 1. `size` is heads and neurons of its edit.

    `stage` says what the figures were measured for; without it, the split does.
    """
    heads, neurons = size or ("", "")
    return {
        "stage": stage or STAGES.get(split, split),
        "arm": result.trial.arm,
        "label": result.trial.label,
        "split": split,
        **_dials(result.trial),
        "heads": heads,
        "neurons": neurons,
        **_interval("attribute", result.attribute),
        "attribute_prompts": result.attribute.count,
        **_interval("utility", result.utility),
        **_interval("utility_kept", result.kept),
        "utility_prompts": result.utility.count,
        **_interval("tokens", result.tokens),
        **{flaw.replace("-", "_"): figure.value for flaw, figure in result.flaws.items()},
        **({} if result.kl is None else _interval("kl", result.kl)),
        **marks,
    }


def evaluations_to_rows(evaluations: Sequence[Evaluation]) -> Iterator[tuple[str | float, ...]]:
    """Rows of EVALUATION_COLUMNS."""
    for evaluation in evaluations:
        for name, figure in evaluation.figures().items():
            yield evaluation.label, name, figure.value, figure.low, figure.high, figure.count, HOW[name]


def _dials(trial: Trial) -> dict[str, Any]:
    settings = trial.settings
    if settings is None:
        return {} if trial.gamma is None else {"gamma": trial.gamma}
    gate = settings.gate
    return {
        "rho_attn": settings.rho_attn,
        "rho_mlp": settings.rho_mlp,
        "alpha": settings.alpha,
        "strength": settings.strength,
        **({} if gate is None else {"gate_gamma": gate.gamma, "mu": gate.mu, "gate_size": gate.size}),
        **({"protect": settings.protect} if settings.needs_texts else {}),
    }


def _interval(name: str, figure: Estimate) -> dict[str, float]:
    return {name: figure.value, f"{name}_low": figure.low, f"{name}_high": figure.high}
