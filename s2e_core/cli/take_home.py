"""The commands that take an edit home: export, verify, push.

Knows options, the terminal and where the access token comes from; writing, checking and sending is the core's.
"""

from __future__ import annotations

import argparse
import getpass
import os
import re
import sys
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from s2e_core.errors import SettingsError
from s2e_core.export import (
    ExportFormat,
    export_adapter,
    export_checkpoint,
    export_gguf_lora,
    export_mlx,
    export_size,
    load_edit,
    push_to_hub,
)
from s2e_core.files import check_empty
from s2e_core.model import LoadedModel, component_label
from s2e_core.text import readable_size
from s2e_core.values import Steered, WeightEdit
from s2e_core.verify import NotCheckedError, Verification, plan_second_model, verify_export

from .arguments import add_contrast, add_extraction
from .command import Command
from .json_output import MODEL, RECIPE, Fields, describe_model, describe_recipe
from .terminal import ProgressLine, check_exists, extract_chosen, load_chosen_contrast, load_chosen_model, readable

FORMATS: dict[str, ExportFormat] = {
    "stored": "checkpoint",
    "float32": "checkpoint-float32",
    "adapter": "adapter",
    "gguf-lora": "gguf-lora",
    "mlx": "mlx",
}
_KEPT: Fields = {
    "median": "Median over the edited components.",
    "least": "The smallest.",
    "worst": (
        "The components that kept least.",
        [{"name": "Name of the component.", "share": "Share of its change that is left."}],
    ),
}
VERIFY_FIELDS: Fields = {
    "model": ("The untouched model.", MODEL),
    "recipe": ("Recipe whose edit the folder should contain.", RECIPE),
    "folder": "The folder that was checked, as given.",
    "passed": "True if the folder contains the edit and computes what the preview showed; exit status 1 if not.",
    "not_checked": "Why nothing could be computed on this machine, so that it did not pass; null if it was computed.",
    "sentence": "The verdict for a person.",
    "warnings": "What a person should know, as sentences.",
    "kind": '"checkpoint", "adapter", "gguf-lora" or "mlx".',
    "number_format": "Number format of the edited weights on disk, such as BF16.",
    "tensors": (
        "The tensors on disk.",
        {
            "intended": "Number of tensors that should carry the edit.",
            "changed": "Number of them that do.",
            "missing": "Names of those that do not.",
            "unexpected": "Names of other tensors that differ from the untouched model's.",
            "not_found": "Names of weights for which transformers found no tensor.",
        },
    ),
    "logits": (
        "The reloaded model's logits.",
        {
            "difference": "Largest difference from the preview.",
            "tolerance": "Largest difference that passes.",
            "effect": "Largest difference that the edit itself makes.",
            "agreement": "Share of positions with the same next token as the preview.",
            "positions": "Number of positions compared.",
        },
    ),
    "kept": ("Share of each edited component's change that is left after rounding.", _KEPT),
    "reloaded_on": "Where the reloaded model had its weights, as a sentence.",
}


def add_export(sub: argparse.ArgumentParser) -> None:
    sub.add_argument("recipe", type=Path)
    sub.add_argument(
        "-o", "--output", type=Path, required=True, metavar="FOLDER", help="a folder that does not exist yet"
    )
    sub.add_argument(
        "--base-name",
        type=parse_base_name,
        metavar="OWNER/NAME",
        help="what the export calls its base (default: the id of a Hub model, the absolute path of a local one)",
    )
    sub.add_argument(
        "--format",
        choices=tuple(FORMATS),
        default="stored",
        help="the checkpoint in its stored dtype (default) or as fp32, or a LoRA adapter for PEFT, llama.cpp or MLX",
    )
    sub.add_argument(
        "--steer",
        type=float,
        metavar="GAMMA",
        help="steering strength that evaluate.sh compares with, along the directions of the recipe's own examples, "
        "which --behavior or --contrast names",
    )
    add_contrast(sub)
    add_extraction(sub)


def export(options: argparse.Namespace) -> int:
    check_exists(options.recipe)
    check_empty(options.output)
    _check_steering(options)
    loaded = _named(load_chosen_model(options), options.base_name)
    edit = load_edit(options.recipe, base=loaded)
    steered = _steered(options, loaded, edit)
    print(f"about {readable_size(export_size(loaded, edit, FORMATS[options.format], steered))}", file=sys.stderr)
    with ProgressLine("writing", "kB", 1000) as progress:
        if options.format == "adapter":
            folder = export_adapter(loaded, edit, options.output, steered=steered, progress=progress)
        elif options.format == "gguf-lora":
            folder = export_gguf_lora(loaded, edit, options.output, progress=progress)
        elif options.format == "mlx":
            folder = export_mlx(loaded, edit, options.output, progress=progress)
        else:
            folder = export_checkpoint(
                loaded, edit, options.output, dtype=options.format, steered=steered, progress=progress
            )
    print(folder)
    return _show_verification(_verify(loaded, edit, folder))


def _check_steering(options: argparse.Namespace) -> None:
    """Raises SettingsError if --steer lacks its examples, or examples their --steer, or if nothing would use them."""
    has_examples = bool(options.behavior or options.contrast)
    if options.steer is None and has_examples:
        raise SettingsError("--behavior and --contrast are for --steer. Give --steer GAMMA too, or leave them out.")
    if options.steer is not None and not has_examples:
        raise SettingsError("--steer needs the recipe's examples. Give --behavior NAME or --contrast FILE.")
    if options.steer is not None and options.format in ("gguf-lora", "mlx"):
        raise SettingsError("--steer is for evaluate.sh, which only a checkpoint or an adapter for PEFT has.")


def _steered(options: argparse.Namespace, loaded: LoadedModel, edit: WeightEdit) -> Steered | None:
    """The steering that evaluate.sh compares with; None without --steer."""
    if options.steer is None:
        return None
    contrast = readable(options, load_chosen_contrast(options), loaded)
    if contrast.content_hash not in {part.provenance.contrast_hash for part in edit.parts}:
        raise SettingsError(f"The recipe was not made from {contrast.name}. Give its own examples for --steer.")
    return Steered(extract_chosen(options, loaded, contrast).directions, options.steer)


def parse_base_name(text: str) -> str:
    """A Hub id with its owner: a name alone would be taken for a model of that name."""
    if not re.fullmatch(r"[\w.-]+/[\w.-]+", text):
        raise argparse.ArgumentTypeError(f'"{text}" is no Hub id. Write owner/name')
    return text


def _named(loaded: LoadedModel, base_name: str | None) -> LoadedModel:
    """The model with what an export calls it: a local one by its absolute path, as PEFT does."""
    if not base_name and not loaded.revision:
        base_name = str((loaded.source if loaded.gguf is None else loaded.gguf.path.parent).resolve())
    return replace(loaded, base_name=base_name or "")


def add_verify(sub: argparse.ArgumentParser) -> None:
    sub.add_argument("recipe", type=Path)
    sub.add_argument("folder", type=Path, help="an exported folder")


def show_verification(options: argparse.Namespace) -> int:
    check_exists(options.recipe, options.folder)
    loaded = load_chosen_model(options)
    return _show_verification(_verify(loaded, load_edit(options.recipe, base=loaded), options.folder))


def describe_verification(options: argparse.Namespace) -> dict[str, Any]:
    check_exists(options.recipe, options.folder)
    loaded = load_chosen_model(options)
    edit = load_edit(options.recipe, base=loaded)
    verification = _verify(loaded, edit, options.folder)
    return {
        "model": describe_model(loaded),
        "recipe": describe_recipe(options.recipe, edit),
        "folder": str(options.folder),
        "passed": verification.passed,
        "not_checked": verification.not_checked or None,
        "sentence": verification.sentence(),
        "warnings": verification.warnings,
        "kind": verification.kind,
        "number_format": verification.number_format,
        "tensors": {
            "intended": len(verification.intended_tensors),
            "changed": verification.n_changed,
            "missing": verification.unedited_tensors,
            "unexpected": verification.unexpected_tensors,
            "not_found": verification.random_weights,
        },
        "logits": {
            "difference": verification.logit_difference,
            "tolerance": verification.logit_tolerance,
            "effect": verification.logit_effect,
            "agreement": verification.agreement,
            "positions": verification.n_positions,
        },
        "kept": {
            "median": verification.realised_median,
            "least": verification.realised_min,
            "worst": [
                {"name": component_label(verification.spec, component), "share": share}
                for component, share in verification.worst()
            ],
        },
        "reloaded_on": verification.placement,
    }


def _verify(loaded: LoadedModel, edit: WeightEdit, folder: Path) -> Verification:
    with suppress(NotCheckedError):  # the verdict says it
        print(f"note: {plan_second_model(loaded, edit, folder).sentence}", file=sys.stderr)
    with ProgressLine("verifying") as progress:
        return verify_export(loaded, edit, folder, progress=progress)


def _show_verification(verification: Verification) -> int:
    print("\n".join(verification.lines()))
    return 0 if verification.passed else 1


def add_push(sub: argparse.ArgumentParser) -> None:
    sub.add_argument("folder", type=Path, help="an exported folder")
    sub.add_argument("repo", metavar="OWNER/NAME", help="a repository that does not exist yet, or is empty")
    sub.add_argument("--public", action="store_true", help="for everybody to see (default: private)")


def push(options: argparse.Namespace) -> None:
    token = os.environ.get("HF_TOKEN", "")
    if not token and sys.stdin.isatty():
        token = getpass.getpass("Access token of your account on the Hub (not shown): ")
    with ProgressLine("uploading", "MB", 1_000_000) as progress:
        print(push_to_hub(options.folder, options.repo, token, private=not options.public, progress=progress))


COMMANDS = (
    Command(
        "export", "A folder with the edited checkpoint or with the adapter, verified after writing.", add_export, export
    ),
    Command(
        "verify", "Whether a written folder contains the recipe's edit.", add_verify, show_verification,
        describe=describe_verification, fields=VERIFY_FIELDS,
    ),
    Command(
        "push",
        "An exported folder to the Hub, private unless --public; the token comes from HF_TOKEN or is asked for.",
        add_push, push, needs_model=False,
    ),
)  # fmt: skip
