"""The arguments of the command line: what every command takes, its defaults and its help.

Knows argparse only; what the commands do is in `__main__.py` and the `commands_*.py`.
"""

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path

from s2e_core.model import QUANTIZE, memory_limits
from s2e_core.spec import KINDS

from .arguments_measure import add_evaluate, add_find, add_sweep, rho, seed

PROGRAM = "python -m s2e_core"
DTYPES = ("float32", "bfloat16", "float16")


def parse(arguments: Sequence[str] | None, commands: Mapping[str, str]) -> argparse.Namespace:
    """The options of one command line; `commands` maps each command's name to its one-line description."""
    parser = argparse.ArgumentParser(
        prog=PROGRAM, description="Steer2Edit: turn a steering direction into rank-1 weight edits."
    )
    subparsers = parser.add_subparsers(dest="command", required=True, metavar="command")
    for name, description in commands.items():
        sub = subparsers.add_parser(name, help=description, description=description)
        if name not in WITHOUT_MODEL:
            _add_model(sub)
        ADDITIONS[name](sub)
    return parser.parse_args(arguments)


def _count(text: str) -> int:
    if int(text) < 0:
        raise ValueError
    return int(text)


def _positive(text: str) -> int:
    if int(text) < 1:
        raise ValueError
    return int(text)


def _add_scores(sub: argparse.ArgumentParser) -> None:
    _add_contrast(sub)
    _add_settings(sub)
    sub.add_argument("--kind", choices=("all", *KINDS), default="all")
    sub.add_argument("--top", type=_count, default=20, help="rows of the table (default 20)")
    sub.add_argument("--csv", metavar="FILE", help="write all components as CSV instead; - is standard output")


def _add_edit(sub: argparse.ArgumentParser) -> None:
    _add_contrast(sub)
    _add_settings(sub)
    sub.add_argument("-o", "--output", type=Path, required=True, metavar="RECIPE", help="safetensors file to write")


def _add_import(sub: argparse.ArgumentParser) -> None:
    sub.add_argument("file", type=Path, help="a recipe, directions or edit pack (.pt), or a steering vector")
    texts = _add_contrast(sub)
    texts.add_argument(
        "--texts", type=Path, metavar="FILE", help="prompts with responses, for a steering vector's mean inputs"
    )
    sub.add_argument("--opposite", action="store_true", help="directions and vectors the other way round")
    _add_settings(sub)
    sub.add_argument("-o", "--output", type=Path, metavar="RECIPE", help="safetensors file to write")


def _add_compare(sub: argparse.ArgumentParser) -> None:
    _add_contrast(sub)
    sub.add_argument("prompts", nargs="+", metavar="PROMPT")
    sub.add_argument("--recipe", type=Path, help="show the edited model's answer")
    sub.add_argument("--gamma", type=float, help="show the steered model's answer at this strength")
    sub.add_argument("--max-new-tokens", type=int, default=64)
    sub.add_argument("--temperature", type=float, default=0.0, help="0 is greedy (default)")
    sub.add_argument("--seed", type=seed, default=0)


def _add_export(sub: argparse.ArgumentParser) -> None:
    sub.add_argument("recipe", type=Path)
    sub.add_argument(
        "-o", "--output", type=Path, required=True, metavar="FOLDER", help="a folder that does not exist yet"
    )
    sub.add_argument(
        "--format",
        choices=("stored", "float32", "adapter"),
        default="stored",
        help="the checkpoint in its stored dtype (default) or as fp32, or a rank-1 LoRA adapter",
    )


def _add_verify(sub: argparse.ArgumentParser) -> None:
    sub.add_argument("recipe", type=Path)
    sub.add_argument("folder", type=Path, help="an exported checkpoint or adapter")


def _add_push(sub: argparse.ArgumentParser) -> None:
    sub.add_argument("folder", type=Path, help="an exported checkpoint or adapter")
    sub.add_argument("repo", metavar="OWNER/NAME", help="a repository that does not exist yet, or is empty")
    sub.add_argument("--public", action="store_true", help="for everybody to see (default: private)")


def _add_data(sub: argparse.ArgumentParser) -> None:
    sub.add_argument("file", type=Path, help="JSONL, JSON, CSV, TSV or TXT")
    sub.add_argument("second", type=Path, nargs="?", help="the negative side, where it stands in a file of its own")
    sub.add_argument("-o", "--output", metavar="FILE", help="write the examples as JSONL, for --contrast")
    sub.add_argument("--lint", action="store_true", help="say what is odd about the examples")
    sub.add_argument(
        "--reliability", action="store_true", help="run the model: are the sides separable, the scores stable?"
    )
    sub.add_argument(
        "--answers", type=Path, metavar="FILE", help="let the model answer the prompts; resumable, kept here"
    )
    sub.add_argument(
        "--sides",
        choices=("prompt", "agreement", "length", "hand"),
        help="of --answers: by which side the prompt is on, by agreement with the file's own answers (right, or true "
        "and false ones), the shortest against the longest, or by marks of your own (default: the first that the file "
        "allows)",
    )
    sub.add_argument("--share", type=float, default=0.05, help="of --sides length, each side (default 0.05)")
    sub.add_argument("--marks", type=Path, metavar="CSV", help="of --sides hand: written first, then to be filled in")
    sub.add_argument("--samples", type=_positive, default=1, metavar="N", help="answers to each prompt (default 1)")
    sub.add_argument("--max-new-tokens", type=int, default=256, help="of an answer (default 256)")
    sub.add_argument("--seed", type=seed, default=0)
    _add_model(sub, default=None, purpose="for --answers and --reliability, and for --lint to count in its tokens; ")
    for role, what in COLUMN_ROLES.items():
        sub.add_argument(f"--{role}", metavar="COLUMN", help=f"the column that holds {what}")
    for side in ("positive", "negative"):
        sub.add_argument(f"--{side}", metavar="COLUMN", help=f"the column, or the list, that is the {side} side")
        sub.add_argument(
            f"--{side}-labels", type=_values, metavar="A,B", help=f"the values of the label that mean the {side} side"
        )


def _values(text: str) -> list[str]:
    return text.split(",")


def _add_model(parser: argparse.ArgumentParser, *, default: str | None = "bundled", purpose: str = "") -> None:
    named = f'"bundled"{" (default)" if default else ""}, a local folder or a Hub id'
    parser.add_argument("--model", default=default, help=purpose + named)
    parser.add_argument("--revision", help="branch, tag or commit of a Hub model")
    parser.add_argument(
        "--device",
        help="cpu, cuda, cuda:1, mps (default: the fastest there is); auto: spread over GPUs, memory and disk",
    )
    parser.add_argument("--dtype", choices=DTYPES, help="default: fp32 on a CPU, else as stored")
    parser.add_argument(
        "--max-memory", type=memory_argument, metavar="PLACE=GB", help="for auto: at most so much, as in 0=20,cpu=32"
    )
    parser.add_argument("--quantize", choices=QUANTIZE, help="run in fewer bits; scores and exports keep to the files")
    parser.add_argument(
        "--originals",
        metavar="MODEL",
        help="where the files of --model are quantised: the full-precision folder or Hub id that they were made from, "
        "which is then scored and exported",
    )


def memory_argument(text: str) -> dict[str, int]:
    """Bytes by place, for argparse: "0=20,cpu=32"."""
    try:
        return memory_limits(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f'"{text}" is no limit. Write gigabytes by place, as in 0=20,cpu=32') from None


def _add_contrast(parser: argparse.ArgumentParser) -> argparse._MutuallyExclusiveGroup:
    examples = parser.add_mutually_exclusive_group()
    examples.add_argument("--behavior", metavar="NAME", help="a bundled behaviour; `info` lists them")
    examples.add_argument(
        "--contrast", type=Path, metavar="FILE", help="your own examples; `data` shows how they are read"
    )
    return examples


def _add_settings(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--rho-attn", type=rho, metavar="RHO", help="budget of the heads, or off")
    parser.add_argument("--rho-mlp", type=rho, metavar="RHO", help="budget of the neurons, or off")
    parser.add_argument("--alpha", type=float, help="L1 share of the budget, 0 <= alpha < 1")
    parser.add_argument("--strength", type=float, help="multiplies every lambda")
    parser.add_argument("--heads", type=_count, metavar="N", help="the N strongest heads, instead of --rho-attn")
    parser.add_argument("--neurons", type=_count, metavar="N", help="the N strongest neurons, instead of --rho-mlp")


COLUMN_ROLES = {
    "prompt": "the prompt",
    "context": "more of the prompt, joined on a new line",
    "response": "the response",
    "label": "the label of the side",
    "choices": "a question's choices with their labels",
    "system": "the system text",
    "messages": "a whole chat",
}
WITHOUT_MODEL = frozenset({"data", "push"})
ADDITIONS = {
    "info": lambda sub: None,
    "data": _add_data,
    "scores": _add_scores,
    "edit": _add_edit,
    "import": _add_import,
    "compare": _add_compare,
    "export": _add_export,
    "verify": _add_verify,
    "push": _add_push,
    "sweep": add_sweep,
    "find": add_find,
    "evaluate": add_evaluate,
}
