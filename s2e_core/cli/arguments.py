"""What several commands take: the shared groups of arguments, and one type for each kind of value.

Knows argparse and which values an option may have; not what a command does with them.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, TypeVar, get_args

from s2e_core.errors import ModelLoadError
from s2e_core.loading import read_template_args
from s2e_core.model import QUANTIZE, parse_memory_limits
from s2e_core.values import OUTLIERS, Outliers

from .json_output import Fields, field_lines

DTYPES = ("float32", "bfloat16", "float16")
PAPER = "paper"
OFF = "off"
ALL = "all"
LARGEST_SEED = 2**31 - 1

T = TypeVar("T")


def add_model(parser: argparse.ArgumentParser, *, default: str | None = "bundled", purpose: str = "") -> None:
    sources = (
        f'"bundled"{" (default)" if default else ""}, "smollm2" (a chat model, if its package is installed), a local '
        "folder, a GGUF file or a Hub id; one of several GGUF files is folder/file.gguf or owner/name/file.gguf"
    )
    parser.add_argument("--model", default=default, help=purpose + sources)
    parser.add_argument("--revision", help="branch, tag or commit of a Hub model")
    parser.add_argument(
        "--device",
        help="cpu, cuda, cuda:1, mps (default: the fastest there is); auto: spread over GPUs, memory and disk",
    )
    parser.add_argument("--dtype", choices=DTYPES, help="default: fp32 on a CPU, else as stored")
    parser.add_argument(
        "--max-memory",
        type=parse_memory,
        metavar="DEVICE=GB,...",
        help="for auto: gigabytes to use at most of each device, as in 0=20,cpu=32",
    )
    parser.add_argument(
        "--quantize", choices=QUANTIZE, help="run in fewer bits; scores and exports use the weights of the files"
    )
    parser.add_argument(
        "--originals",
        metavar="MODEL",
        help="if the files of --model are quantised: the full-precision folder or Hub id that they were made from, "
        "which is then scored and exported",
    )
    add_variations(parser)


def add_variations(parser: argparse.ArgumentParser) -> None:
    """What makes another model of the same files: a merged adapter, arguments of the chat template."""
    parser.add_argument(
        "--adapter",
        type=Path,
        metavar="FOLDER",
        help="a LoRA adapter, which is merged into the model first: edits and exports are those of the sum",
    )
    parser.add_argument(
        "--template-args",
        type=parse_template_args,
        metavar="JSON",
        help="arguments of the chat template, as in '{\"enable_thinking\": false}'",
    )


def add_contrast(parser: argparse.ArgumentParser) -> argparse._MutuallyExclusiveGroup:
    """The examples; returns the group, to which a command may add another source."""
    examples = parser.add_mutually_exclusive_group()
    examples.add_argument("--behavior", metavar="NAME", help="a bundled behaviour; `info` lists them")
    examples.add_argument(
        "--contrast",
        type=Path,
        metavar="FILE",
        help="your own examples, also a data set of the Hub; `data` shows how they are read",
    )
    add_leave_out_long(parser)
    return examples


def add_leave_out_long(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--leave-out-long", action="store_true", help="leave out examples that are longer than the model reads"
    )


def add_behavior(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--behavior", metavar="NAME", required=True, help="a bundled behaviour (`info` lists them) or a folder like one"
    )


def add_extraction(parser: argparse.ArgumentParser) -> None:
    """How examples are extracted."""
    parser.add_argument("--no-cache", action="store_true", help="extract anew, and keep nothing for the next command")
    add_outliers(parser)


def add_outliers(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--outliers",
        type=parse_outliers,
        choices=get_args(Outliers),
        metavar="keep|leave-out|weigh-down",
        help="positions whose residual norm is an outlier, which many chat models have: keep them, as the paper does, "
        f"leave them out, or weigh them down (default {OUTLIERS.replace(' ', '-')}; keep for the paper's grid)",
    )


def chosen_outliers(options: argparse.Namespace) -> Outliers:
    """What --outliers says; without it the default, or for the paper's grid what the paper does."""
    is_paper = getattr(options, "preset", None) == PAPER
    chosen: Outliers = options.outliers or ("keep" if is_paper else OUTLIERS)
    return chosen


def add_floor(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--floor",
        type=parse_floor,
        default=0.97,
        metavar="SHARE",
        help="share of the untouched model's utility to keep (default 0.97)",
    )


def add_questions(parser: argparse.ArgumentParser, *, split: str, prompts: int | None) -> None:
    """Which prompts of a behaviour are asked, and how often."""
    parser.add_argument("--split", default=split, help=f"which of the behaviour's prompts (default {split})")
    parser.add_argument(
        "--prompts",
        type=parse_count_or_all,
        default=prompts,
        metavar="N",
        help=f"prompts of each side, or all (default {prompts or 'all'})",
    )
    parser.add_argument("--samples", type=parse_positive, default=1, metavar="N", help="answers per prompt (default 1)")
    add_sampling(parser)


def add_sampling(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--temperature", type=float, default=1.0, help="0 is greedy (default 1)")
    parser.add_argument("--seed", type=parse_seed, default=0)
    parser.add_argument("--max-new-tokens", type=parse_positive, metavar="N", help="default: the behaviour's own")


def add_ray(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--ray",
        nargs="?",
        const="",
        metavar="ADDRESS",
        help="share the work among workers: of the ray cluster at this address (auto: the one that runs on this "
        "machine), or without an address of a cluster that is started here and ends with the command",
    )
    parser.add_argument("--workers", type=parse_positive, metavar="N", help="number of workers of --ray (default 2)")


def add_json(parser: argparse.ArgumentParser, command: str, fields: Fields) -> None:
    parser.add_argument(
        "--json",
        action=_Json,
        fields=fields,
        command=command,
        help="print one JSON object instead; --json --help describes its fields",
    )


class _Json(argparse.Action):
    """Sets `json` to True; a `--help` that follows it ends with the meaning of every field."""

    def __init__(self, *, fields: Fields, command: str, **options: Any) -> None:
        super().__init__(nargs=0, default=False, **options)
        self.fields, self.command = fields, command

    def __call__(self, parser: argparse.ArgumentParser, namespace: argparse.Namespace, *_: Any) -> None:
        namespace.json = True
        parser.epilog = "\n".join(field_lines(self.command, self.fields))


def parse_outliers(text: str) -> str:
    return text.replace("-", " ")


def parse_rho(text: str) -> float | str:
    return OFF if text == OFF else _parse_number(text)


def parse_seed(text: str) -> int:
    """A random seed that every generator in use takes."""
    if not text.isdecimal() or int(text) > LARGEST_SEED:
        raise argparse.ArgumentTypeError(f'"{text}" is no seed. Write a whole number from 0 to {LARGEST_SEED}')
    return int(text)


def parse_count(text: str, least: int = 0) -> int:
    try:
        number = int(text)
    except ValueError:
        number = least - 1
    if number < least:
        raise argparse.ArgumentTypeError(f'"{text}" is not a whole number of {least} or more')
    return number


parse_positive = partial(parse_count, least=1)


def parse_count_or_all(text: str) -> int | None:
    return None if text == ALL else parse_positive(text)


def parse_floor(text: str) -> float:
    number = _parse_number(text)
    if not 0 < number <= 1:
        raise argparse.ArgumentTypeError(f"{text} is not above 0 and at most 1 (0.97 is 97 %)")
    return number


def parse_kl(text: str) -> float:
    number = _parse_number(text)
    if not 0 < number < float("inf"):
        raise argparse.ArgumentTypeError(f"{text} is not above 0 (0.05 nats a token are little)")
    return number


def parse_finite(text: str) -> float:
    number = _parse_number(text)
    if not math.isfinite(number):
        raise argparse.ArgumentTypeError(f"{text} is not a finite number")
    return number


def parse_memory(text: str) -> dict[str, int]:
    """Bytes by device, from gigabytes as in "0=20,cpu=32"."""
    try:
        return parse_memory_limits(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f'"{text}" is no limit. Write gigabytes by place, as in 0=20,cpu=32') from None


def parse_template_args(text: str) -> dict[str, Any]:
    """Arguments of a chat template by name, from a JSON object."""
    try:
        return read_template_args(text)
    except ModelLoadError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def parse_names(text: str) -> list[str]:
    return text.split(",")


def parse_numbers(text: str) -> list[float]:
    return _parse_list(text, _parse_number)


def parse_rhos(text: str) -> list[float | str]:
    return _parse_list(text, parse_rho)


def parse_gammas(text: str) -> str | list[float]:
    return text if text in (PAPER, OFF) else parse_numbers(text)


def _parse_number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f'"{text}" is not a number') from None


def _parse_list(text: str, parse_one: Callable[[str], T]) -> list[T]:
    return [parse_one(part.strip()) for part in text.split(",")]
