"""The arguments of the commands that measure: sweep, find and evaluate.

Knows argparse only; what the commands do is in `measure.py`.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

PAPER = "paper"
OFF = "off"
LARGEST_SEED = 2**31 - 1


def rho(text: str) -> float | str:
    return OFF if text == OFF else float(text)


def seed(text: str) -> int:
    """What every random generator takes that is used here."""
    if not text.isdecimal() or int(text) > LARGEST_SEED:
        raise argparse.ArgumentTypeError(f'"{text}" is no seed. Write a whole number from 0 to {LARGEST_SEED}')
    return int(text)


def add_sweep(sub: argparse.ArgumentParser) -> None:
    _add_behavior(sub)
    sub.add_argument(
        "--preset",
        choices=("suggested", PAPER),
        default="suggested",
        help="dials that are not given: the behaviour's suggested ones (default), or the paper's grid of 125 settings",
    )
    sub.add_argument("--rho-attn", type=rhos, metavar="RHO,...", help="budgets of the heads, each a number or off")
    sub.add_argument("--rho-mlp", type=rhos, metavar="RHO,...", help="budgets of the neurons, each a number or off")
    sub.add_argument("--alpha", type=numbers, metavar="ALPHA,...")
    sub.add_argument("--strength", type=numbers, metavar="X,...")
    sub.add_argument(
        "--gamma",
        type=gammas,
        default=PAPER,
        metavar="GAMMA,...",
        help="steering strengths to compare with; paper (default) is 0.1 to 1.5 in 15 steps, off is none",
    )
    _add_asking(sub, split="development", samples=1, prompts=60)
    _add_floor(sub)
    _add_ray(sub)
    sub.add_argument(
        "-o", "--output", type=Path, metavar="FILE.jsonl", help="keeps every answer; the same command goes on from it"
    )
    sub.add_argument("--csv", metavar="FILE", help="write the figures as CSV instead of the table; - is the terminal")


def _add_ray(sub: argparse.ArgumentParser) -> None:
    sub.add_argument(
        "--ray",
        nargs="?",
        const="",
        metavar="ADDRESS",
        help="let the workers of a ray cluster answer; without an address one is started on this machine",
    )
    sub.add_argument("--workers", type=positive, default=2, metavar="N", help="workers for --ray (default 2)")


def add_find(sub: argparse.ArgumentParser) -> None:
    _add_behavior(sub)
    _add_floor(sub)
    _add_ray(sub)
    sub.add_argument("--trials", type=count, default=48, metavar="N", help="edits to try (default 48)")
    sub.add_argument("--prompts", type=positive, default=60, metavar="N", help="prompts of each side to search on")
    sub.add_argument("--samples", type=positive, default=2, metavar="N", help="answers per prompt in the final rounds")
    _add_dice(sub)
    sub.add_argument(
        "-o", "--output", type=Path, metavar="FOLDER", help="keeps every answer; the same command goes on from it"
    )
    sub.add_argument("--recipe", type=Path, metavar="RECIPE", help="save the edit that was found to this file")


def add_evaluate(sub: argparse.ArgumentParser) -> None:
    _add_behavior(sub)
    sub.add_argument(
        "--recipe", type=Path, action="append", default=[], help="a saved edit; may be given several times"
    )
    sub.add_argument(
        "--settings",
        type=settings,
        action="append",
        default=[],
        metavar="RHO_ATTN,RHO_MLP,ALPHA[,STRENGTH]",
        help='an edit by its dials, such as off,0.45,0.4,0.5, or "suggested"; may be given several times',
    )
    sub.add_argument("--gamma", type=gammas, metavar="GAMMA,...", help="steering strengths to compare with")
    _add_asking(sub, split="test", samples=1, prompts=None)
    sub.add_argument("--csv", metavar="FILE", help="write the figures as CSV instead of the table; - is the terminal")


def count(text: str) -> int:
    if int(text) < 0:
        raise ValueError
    return int(text)


def positive(text: str) -> int:
    if int(text) < 1:
        raise ValueError
    return int(text)


def floor(text: str) -> float:
    if not 0 < float(text) <= 1:
        raise argparse.ArgumentTypeError(f"{text} is not above 0 and at most 1 (0.97 is 97 %)")
    return float(text)


def _add_behavior(sub: argparse.ArgumentParser) -> None:
    sub.add_argument(
        "--behavior", metavar="NAME", required=True, help="a bundled behaviour (`info` lists them) or a folder like one"
    )


def _add_floor(sub: argparse.ArgumentParser) -> None:
    sub.add_argument(
        "--floor", type=floor, default=0.97, help="share of the untouched model's utility to keep (default 0.97)"
    )


def _add_asking(sub: argparse.ArgumentParser, *, split: str, samples: int, prompts: int | None) -> None:
    sub.add_argument("--split", default=split, help=f"which of the behaviour's prompts (default {split})")
    sub.add_argument(
        "--prompts",
        type=count_or_all,
        default=prompts,
        metavar="N",
        help=f"of each side, or all (default {prompts or 'all'})",
    )
    sub.add_argument(
        "--samples", type=positive, default=samples, metavar="N", help=f"answers per prompt (default {samples})"
    )
    _add_dice(sub)


def _add_dice(sub: argparse.ArgumentParser) -> None:
    sub.add_argument("--temperature", type=float, default=1.0, help="0 is greedy (default 1)")
    sub.add_argument("--seed", type=seed, default=0)
    sub.add_argument("--max-new-tokens", type=positive, metavar="N", help="default: the behaviour's own")


def _list(text: str, one: Callable[[str], float | str]) -> list[float | str]:
    return [one(part.strip()) for part in text.split(",")]


def numbers(text: str) -> list[float | str]:
    return _list(text, float)


def rhos(text: str) -> list[float | str]:
    return _list(text, rho)


def gammas(text: str) -> str | list[float | str]:
    return text if text in (PAPER, OFF) else numbers(text)


def settings(text: str) -> str | list[float | str]:
    parts = text if text == "suggested" else rhos(text)
    if len(parts) not in (3, 4) and text != "suggested":
        raise ValueError
    return parts


def count_or_all(text: str) -> int | None:
    return None if text == "all" else positive(text)
