"""What the operator sets on the command line: models, limits, host. Knows the store, no page."""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from pathlib import Path

import torch

from components.shared.limits import Limits
from components.shared.model_names import model_sources
from components.shared.store import ModelStore
from s2e_core import ModelLoadError
from s2e_core.cache import default_cache
from s2e_core.cli import ProgressLine, add_outliers, add_variations, chosen_outliers, parse_memory
from s2e_core.loading import BUNDLED, hub_name, split_revision
from s2e_core.measure import SMALL_MODEL
from s2e_core.model import QUANTIZE

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


def options(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="app.py", description="Steer2Edit in the browser.")
    # Without these two gradio reads its own variables, which is how a Space tells it where to listen.
    parser.add_argument("--host", help="address to listen on: this machine alone, or 0.0.0.0 for the whole network")
    parser.add_argument("--port", type=int, help="by default the first free one from 7860 on")
    parser.add_argument(
        "--model", default=BUNDLED,
        help='"bundled", "smollm2" (a chat model, if its package is installed), a model folder, a GGUF file or a Hub '
        "id; loaded at the start",
    )  # fmt: skip
    parser.add_argument("--revision", help="branch, tag or commit of a Hub model; visitors write owner/name@revision")
    parser.add_argument(
        "--allow-folder", action="append", default=[], type=_folder, metavar="DIR",
        help="let visitors choose this model folder, or any model folder or GGUF file in it (may be repeated)",
    )  # fmt: skip
    parser.add_argument(
        "--allow-hub", action="store_true", help="let visitors load any model or data set of the Hub by its id"
    )
    parser.add_argument(
        "--allow-push", action=argparse.BooleanOptionalAction,
        help="let visitors send their edited model to the Hub with a token of their own; by default only where nobody "
        "but this machine can open the page: a token is safe on one's own machine or behind https, and an upload costs "
        "this machine's connection",
    )  # fmt: skip
    parser.add_argument("--behaviors", type=_folder, metavar="DIR", help="a folder of behaviours of your own")
    parser.add_argument(
        "--device", help="cpu, cuda, mps; by default the fastest there is; auto: spread over GPUs, memory and disk"
    )
    parser.add_argument("--dtype", choices=DTYPES, help="by default float32 on a CPU, else as stored")
    parser.add_argument(
        "--max-memory", type=parse_memory, metavar="PLACE=GB", help="for auto: at most so much, as in 0=20,cpu=32"
    )
    parser.add_argument(
        "--quantize", choices=QUANTIZE, help="run models in fewer bits; scores and exports keep to their files"
    )
    parser.add_argument(
        "--originals",
        metavar="MODEL",
        help="where the files of --model are quantised: the full-precision folder or Hub id that they were made from, "
        "which is then scored and exported",
    )
    add_variations(parser)
    parser.add_argument("--no-cache", action="store_true", help="extract anew, and keep nothing for the next start")
    add_outliers(parser)
    parser.add_argument("--server-only", action="store_true", help="never run the bundled model in visitors' browsers")
    parser.add_argument("--threads", type=int, help="of the CPU; by default one for a small model, else all")
    _add_limits(parser)
    return parser.parse_args(arguments)


def _add_limits(parser: argparse.ArgumentParser) -> None:
    """How much one visitor may ask for."""
    limits = Limits()
    parser.add_argument("--max-tokens", type=int, default=limits.new_tokens, help="longest answer")
    parser.add_argument("--max-prompt", type=int, default=limits.prompt_chars, help="longest prompt, in characters")
    parser.add_argument("--max-examples", type=int, default=limits.examples, help="most examples a side")
    parser.add_argument("--max-file", type=int, default=limits.file_megabytes, metavar="MB", help="largest upload")
    parser.add_argument(
        "--max-settings", type=int, default=limits.sweep_settings, help="most settings of one search or sweep"
    )
    parser.add_argument(
        "--max-measured",
        type=int,
        default=limits.sweep_prompts,
        metavar="PROMPTS",
        help="most prompts a side of a sweep",
    )


def store_of(chosen: argparse.Namespace, work: Path) -> ModelStore:
    """Raises ModelLoadError where a revision was given for something else than a Hub id."""
    return ModelStore(
        sources=model_sources(_first_model(chosen), chosen.allow_folder),
        work=work,
        limits=Limits(
            prompt_chars=chosen.max_prompt,
            new_tokens=chosen.max_tokens,
            examples=chosen.max_examples,
            file_megabytes=chosen.max_file,
            sweep_settings=chosen.max_settings,
            sweep_prompts=chosen.max_measured,
        ),
        hub=chosen.allow_hub,
        in_tab=not chosen.server_only,
        push=_is_private(chosen.host) if chosen.allow_push is None else chosen.allow_push,
        device=chosen.device,
        dtype=DTYPES[chosen.dtype] if chosen.dtype else None,
        max_memory=chosen.max_memory,
        quantize=chosen.quantize,
        originals=chosen.originals,
        adapter=chosen.adapter,
        template_args=chosen.template_args,
        behaviors=chosen.behaviors,
        cache=None if chosen.no_cache else default_cache(),
        outliers=chosen_outliers(chosen),
    )


def _first_model(chosen: argparse.Namespace) -> str:
    first = str(chosen.model) if Path(chosen.model).exists() else hub_name(str(chosen.model))
    if chosen.revision is None:
        return first
    named = f"{first}@{chosen.revision}"
    if split_revision(named)[1] is None or Path(chosen.model).exists():
        raise ModelLoadError(
            f'"{named}" is no revision of a Hub model. Give --revision a branch, tag or commit, and --model a Hub id '
            "of the form owner/name; or leave --revision out."
        )
    return named


def _is_private(host: str | None) -> bool:
    """Whether the page can be opened from this machine alone, as far as that can be known."""
    listens = host or os.environ.get("GRADIO_SERVER_NAME") or "127.0.0.1"
    return listens in ("127.0.0.1", "localhost", "::1") and "SPACE_ID" not in os.environ


def set_threads(chosen: argparse.Namespace, store: ModelStore) -> None:
    """A small model loses more to waking threads for every token than they bring, and the page needs a core too."""
    with ProgressLine("downloading", "MB", 1_000_000) as progress:
        first = store.model(store.first_model, progress=progress)
    small = first.model.num_parameters() <= SMALL_MODEL
    threads = chosen.threads or (1 if small else None)
    if threads is not None:
        torch.set_num_threads(threads)


def read_first(store: ModelStore) -> None:
    """The examples that the page opens with, counted on the terminal: a large model takes minutes for them."""
    with ProgressLine("reading examples") as progress:
        behavior = store.behavior_list[0]
        store.scored(store.first_model, behavior.contrast, behavior, progress=progress)


def _folder(text: str) -> Path:
    path = Path(text)
    if not path.is_dir():
        raise argparse.ArgumentTypeError(f"{text} is not a folder")
    return path
