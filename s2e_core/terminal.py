"""What the commands of the command line share: the model and the scores they work on, progress, and written output.

Knows the terminal and the parsed options; every computation is the core's public functions.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import TextIO

import torch

from . import (
    Behavior,
    ComponentScores,
    ContrastSet,
    LoadedModel,
    SettingsError,
    SteeringDirections,
    capture_means,
    component_scores,
    load_behavior,
    load_model,
    steering_directions,
)
from .types import Progress


def chosen_model(options: argparse.Namespace) -> LoadedModel:
    """The model that --model, --revision, --device and --dtype name."""
    dtype = getattr(torch, options.dtype) if options.dtype else None
    with progress_line("downloading", "MB", 1_000_000) as progress:
        return load_model(
            options.model, device=options.device, dtype=dtype, revision=options.revision, progress=progress
        )


def chosen_behavior(options: argparse.Namespace) -> Behavior:
    """A bundled behaviour by its name, or a folder of one's own by its path."""
    folder = Path(options.behavior)
    if (folder / "behavior.json").is_file():
        return load_behavior(folder.resolve().name, folder.resolve().parent)
    return load_behavior(options.behavior)


def extracted(loaded: LoadedModel, contrast: ContrastSet) -> tuple[ComponentScores, SteeringDirections]:
    """Scores and directions of a contrast set; what is odd about its examples goes to standard error."""
    for note in contrast.notes:
        print(f"note: {note}", file=sys.stderr)
    with progress_line("extracting") as progress:
        means = capture_means(loaded, contrast, progress=progress)
    directions = steering_directions(loaded, means)
    return component_scores(loaded, means, directions), directions


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
