"""What the commands share: the model and the examples that options name, progress, and files to write.

Knows the terminal and the parsed options; every computation is a function of the core.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

import torch

from s2e_core.cache import default_cache, extract_cached
from s2e_core.data import (
    Behavior,
    GateTexts,
    choose_behaviors_folder,
    is_for_other_models,
    list_behaviors,
    load_behavior,
    load_contrast_set,
    without_long,
)
from s2e_core.errors import BehaviorError, SettingsError
from s2e_core.loading import download_data_set, is_data_set, load_model
from s2e_core.method import outlier_sentence
from s2e_core.model import LoadedModel
from s2e_core.progress import Progress
from s2e_core.values import ContrastSet, Extraction

from .arguments import chosen_outliers


def load_chosen_model(options: argparse.Namespace) -> LoadedModel:
    """The model that the options name, loaded as they say."""
    with ProgressLine("downloading", "MB", 1_000_000) as progress:
        return load_model(
            options.model,
            device=options.device,
            dtype=getattr(torch, options.dtype) if options.dtype else None,
            revision=options.revision,
            max_memory=options.max_memory,
            quantize=options.quantize,
            originals=options.originals,
            adapter=options.adapter,
            template_args=options.template_args,
            progress=progress,
        )


def load_chosen_behavior(options: argparse.Namespace) -> Behavior:
    """A bundled behaviour by its name, or a folder like one by its path."""
    folder = Path(options.behavior)
    if (folder / "behavior.json").is_file():
        return load_behavior(folder.resolve().name, folder.resolve().parent)
    return load_behavior(options.behavior)


def load_chosen_contrast(options: argparse.Namespace) -> ContrastSet:
    """The examples of --contrast or --behavior. Raises BehaviorError if neither is given."""
    if options.contrast:
        return load_contrast_set(local_file(options.contrast))
    if not options.behavior:
        raise BehaviorError("No examples were named. Give --behavior NAME or --contrast FILE.")
    return load_chosen_behavior(options).contrast


def load_contrast_and_model(options: argparse.Namespace) -> tuple[ContrastSet, LoadedModel]:
    """The examples that the model can read, and the model. The examples come first: they are sooner refused."""
    contrast, loaded = load_chosen_contrast(options), load_chosen_model(options)
    return readable(options, contrast, loaded), loaded


def readable(options: argparse.Namespace, contrast: ContrastSet, loaded: LoadedModel) -> ContrastSet:
    """The contrast set as --leave-out-long says: without what is longer than the model reads, or as it is."""
    return without_long(contrast, loaded) if options.leave_out_long else contrast


def local_file(path: Path) -> Path:
    """The path itself, or that of the file of a data set on the Hub, which is downloaded."""
    if not is_data_set(path):
        return path
    with ProgressLine("downloading", "MB", 1_000_000) as progress:
        file, sentence = download_data_set(str(path), progress=progress)
    print(f"note: {sentence}", file=sys.stderr)
    return file


def extract_chosen(
    options: argparse.Namespace, loaded: LoadedModel, contrast: ContrastSet, texts: GateTexts | None = None
) -> Extraction:
    """The extraction of a contrast set, from the cache if it is there and no option excludes it.

    What is odd about the examples goes to standard error. `texts` are for settings that are fitted on texts: the
    paper's edit is made faster without.
    """
    for note in contrast.notes:
        print(f"note: {note}", file=sys.stderr)
    if is_for_other_models(contrast, loaded.source):
        names = ", ".join(list_behaviors(choose_behaviors_folder(loaded.source)))
        print(f"note: {contrast.name} is written for other models than this one. For it: {names}.", file=sys.stderr)
    with ProgressLine("extracting") as progress:
        cache = None if options.no_cache else default_cache()
        outliers = chosen_outliers(options)
        extraction = extract_cached(loaded, contrast, texts=texts, outliers=outliers, cache=cache, progress=progress)
    if sentence := outlier_sentence(extraction.means):
        print(f"note: {sentence}", file=sys.stderr)
    return extraction


class ProgressLine:
    """Progress of one stage on standard error, while the context lasts.

    A terminal shows a line that counts. Anything else (a log file, a pipe) gets one line when the stage ends, with the
    total and the seconds. A stage that counts nothing shows nothing.
    """

    def __init__(self, label: str, unit: str = "", per_unit: int = 1) -> None:
        self.label, self.unit, self.per_unit = label, unit and f" {unit}", per_unit
        self.line = ""
        self.began = 0.0

    def __enter__(self) -> Progress:
        self.began = time.monotonic()
        return self.show

    def show(self, done: int, total: int) -> None:
        line = f"{self.label} {done // self.per_unit:,}/{total // self.per_unit:,}{self.unit}"
        if line != self.line and sys.stderr.isatty():
            print(f"\r{line}", end="", file=sys.stderr, flush=True)
        self.line = line

    def __exit__(self, *error: object) -> None:
        if not self.line:
            return
        if sys.stderr.isatty():
            print(file=sys.stderr)
        else:
            print(f"{self.line} in {time.monotonic() - self.began:.1f} s", file=sys.stderr, flush=True)


def check_exists(*paths: Path | None) -> None:
    """Raises SettingsError for a missing file or folder. Called before a model is loaded, which takes longer."""
    for path in paths:
        if path is not None and not path.exists():
            raise SettingsError(f"{path.name} does not exist. Check the name and the folder.")


def check_writable(path: Path | str | None) -> None:
    """Raises SettingsError if no file can be written to `path`. Called before the work; "-" is standard output."""
    if path is None or path == "-":
        return
    path = Path(path)
    if path.is_dir() or not os.access(path if path.exists() else path.parent, os.W_OK):
        raise SettingsError(f"{path} cannot be written. Choose another file, in a folder that exists.")


def check_formats(options: argparse.Namespace) -> None:
    """Raises SettingsError if both --csv and --json are given, or if the CSV file cannot be written."""
    if options.json and options.csv is not None:
        raise SettingsError("Both --csv and --json were given. Give one of them.")
    check_writable(options.csv)


@contextmanager
def open_output(path: str) -> Iterator[TextIO]:
    """A file to write text to; "-" is standard output, which stays open. Raises SettingsError if it is not writable."""
    if path == "-":
        yield sys.stdout
        return
    try:
        file = open(path, "w", newline="", encoding="utf-8")  # noqa: SIM115 - closed below
    except OSError as error:
        raise SettingsError(f"{path} cannot be written ({error.strerror}). Choose another file.") from None
    with file:
        yield file
