"""What the commands of the command line share: the model and the scores they work on, progress, and written output.

Knows the terminal and the parsed options; every computation is the core's public functions.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import Literal, TextIO

import torch

from s2e_core.data import Behavior, fitting_folder, is_unfit, list_behaviors, load_behavior, load_contrast_set
from s2e_core.errors import BehaviorError, SettingsError
from s2e_core.loading import load_model
from s2e_core.method import extract, rho_for_count
from s2e_core.model import LoadedModel
from s2e_core.progress import Progress
from s2e_core.settings import EditSettings
from s2e_core.spec import Kind
from s2e_core.values import ComponentScores, ContrastSet, Extraction

UNTUNED = EditSettings(rho_attn=0.3, rho_mlp=0.8, alpha=0.5)
"""Starting dials for examples that nobody has tuned."""


def chosen_model(options: argparse.Namespace) -> LoadedModel:
    """The model that --model and --revision name, held as the other options say."""
    dtype = getattr(torch, options.dtype) if options.dtype else None
    with progress_line("downloading", "MB", 1_000_000) as progress:
        return load_model(
            options.model,
            device=options.device,
            dtype=dtype,
            revision=options.revision,
            max_memory=options.max_memory,
            quantize=options.quantize,
            originals=options.originals,
            progress=progress,
        )


def chosen_behavior(options: argparse.Namespace) -> Behavior:
    """A bundled behaviour by its name, or a folder of one's own by its path."""
    folder = Path(options.behavior)
    if (folder / "behavior.json").is_file():
        return load_behavior(folder.resolve().name, folder.resolve().parent)
    return load_behavior(options.behavior)


def extracted(loaded: LoadedModel, contrast: ContrastSet) -> Extraction:
    """The extraction of a contrast set; what is odd about its examples goes to standard error."""
    for note in contrast.notes:
        print(f"note: {note}", file=sys.stderr)
    if is_unfit(contrast, loaded.source):
        fitting = ", ".join(list_behaviors(fitting_folder(loaded.source)))
        print(f"note: {contrast.name} is written for other models than this one. For it: {fitting}.", file=sys.stderr)
    with progress_line("extracting") as progress:
        return extract(loaded, contrast, progress=progress)


def chosen_contrast(options: argparse.Namespace) -> ContrastSet:
    """The examples that --contrast or --behavior names."""
    if options.contrast:
        return load_contrast_set(options.contrast)
    if not options.behavior:
        raise BehaviorError("No examples were named. Give --behavior NAME or --contrast FILE.")
    return load_behavior(options.behavior).contrast


def chosen_settings(options: argparse.Namespace, computed: ComponentScores) -> EditSettings:
    """The behaviour's suggested settings with every dial replaced that was given; counts become a rho."""
    suggested = load_behavior(options.behavior).settings if options.behavior else UNTUNED
    return given_settings(options, computed, suggested)


def check_settings(options: argparse.Namespace) -> None:
    """Raises SettingsError for dials that suit no model: rather before one is loaded and reads than after it."""
    given_settings(options, None, UNTUNED)


def given_settings(
    options: argparse.Namespace, computed: ComponentScores | None, suggested: EditSettings
) -> EditSettings:
    """The suggested settings with every dial replaced that was given; counts become a rho, once there are scores."""
    alpha = suggested.alpha if options.alpha is None else options.alpha
    return EditSettings(
        rho_attn=_given_rho(computed, "heads", suggested.rho_attn, options.rho_attn, options.heads, alpha),
        rho_mlp=_given_rho(computed, "neurons", suggested.rho_mlp, options.rho_mlp, options.neurons, alpha),
        alpha=alpha,
        strength=suggested.strength if options.strength is None else options.strength,
    )


def _given_rho(
    computed: ComponentScores | None,
    kind: Kind,
    suggested: float | None,
    rho: float | Literal["off"] | None,
    count: int | None,
    alpha: float,
) -> float | None:
    if rho is not None and count is not None:
        raise SettingsError(f"Both a rho and a number of {kind} were given; they set the same dial. Give one of them.")
    if count is not None and computed is not None:
        return rho_for_count(computed, kind, count, alpha) if count else None
    if rho is None:
        return suggested
    return None if rho == "off" else rho


class progress_line:
    """A line on standard error that counts while the context lasts; where nothing is counted there is no line."""

    def __init__(self, label: str, unit: str = "", per_unit: int = 1) -> None:
        self.label, self.unit, self.per_unit, self.shown = label, unit and f" {unit}", per_unit, ""

    def __enter__(self) -> Progress:
        return self.show

    def show(self, done: int, total: int) -> None:
        line = f"\r{self.label} {done // self.per_unit:,}/{total // self.per_unit:,}{self.unit}"
        if line != self.shown:
            print(line, end="", file=sys.stderr, flush=True)
            self.shown = line

    def __exit__(self, *error: object) -> None:
        if self.shown:
            print(file=sys.stderr)


def check_there(*paths: Path | None) -> None:
    """Raises SettingsError for a file or folder that is missing: rather before a model is loaded than after it."""
    for path in paths:
        if path is not None and not path.exists():
            raise SettingsError(f"{path.name} is not there. Check the name and the folder.")


def check_place(path: Path | None) -> None:
    """Raises SettingsError where a file could not be written to `path`: rather before the work than after it."""
    if path is not None and (path.is_dir() or not os.access(path if path.exists() else path.parent, os.W_OK)):
        raise SettingsError(f"{path} cannot be written. Choose another file, in a folder that exists.")


class output:
    """A file to write text to; "-" is standard output, which stays open."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.file: TextIO = sys.stdout

    def __enter__(self) -> TextIO:
        if self.path != "-":
            try:
                self.file = open(self.path, "w", newline="", encoding="utf-8")  # noqa: SIM115 - closed in __exit__
            except OSError as error:
                raise SettingsError(f"{self.path} cannot be written ({error.strerror}). Choose another file.") from None
        return self.file

    def __exit__(self, *error: object) -> None:
        if self.file is not sys.stdout:
            self.file.close()
