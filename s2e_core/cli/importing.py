"""The command `import`: what a file from elsewhere is, and the recipe that follows from it.

Knows options and the terminal; `import_file` recognises and reads the file.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

from s2e_core.errors import SettingsError
from s2e_core.export import save_edit
from s2e_core.interop import ImportedFile, LayerChoice, import_file, read_texts
from s2e_core.method import build_edit, capture_inputs, capture_means, opposite, score_along
from s2e_core.model import LoadedModel
from s2e_core.values import ActivationMeans, MeanInputs, WeightEdit

from .arguments import add_contrast, add_outliers, chosen_outliers, parse_count
from .command import Command
from .dials import GATE_DIALS, NET_DIALS, UNTUNED, add_settings, adjust_settings, given_options
from .terminal import (
    ProgressLine,
    check_exists,
    check_writable,
    load_chosen_contrast,
    load_chosen_model,
    readable,
)

TEXTS = ("texts", "contrast", "behavior")
"""Options of which one at most can be given."""
DIALS = (*NET_DIALS, "strength", "family", *GATE_DIALS, "protect", "harmless")


def add_import(sub: argparse.ArgumentParser) -> None:
    sub.add_argument("file", type=Path, help="a recipe, directions or edit pack (.pt), or a steering vector")
    texts = add_contrast(sub)
    texts.add_argument(
        "--texts", type=Path, metavar="FILE", help="prompts with responses, for a steering vector's mean inputs"
    )
    sub.add_argument("--opposite", action="store_true", help="use directions and vectors the other way round")
    sub.add_argument(
        "--layer", type=parse_count, metavar="N", help="the layer of a file with one vector, counted from 0"
    )
    sub.add_argument(
        "--skip-first", action="store_true", help="leave out the first row of a vector, which is for the embedding"
    )
    add_outliers(sub)
    add_settings(sub)
    sub.add_argument("-o", "--output", type=Path, metavar="RECIPE", help="safetensors file to write")


def import_foreign(options: argparse.Namespace) -> None:
    check_exists(options.file)
    check_writable(options.output)
    _check_dials(options)
    loaded = load_chosen_model(options)
    imported = import_file(options.file, loaded, LayerChoice(options.layer, options.skip_first))
    print(imported.sentence())
    if imported.edit is not None and (options.opposite or any(getattr(options, d) is not None for d in DIALS)):
        raise SettingsError(
            "A finished edit has no dials to set and no opposite: its scores are not in the file. Leave them out."
        )
    for line in _unused_lines(options, imported):
        print(line)
    if options.output is not None:
        edit = imported.edit if imported.edit is not None else _edit_along(options, loaded, imported)
        print(f"{edit.count('heads')} heads and {edit.count('neurons')} neurons: {save_edit(edit, options.output)}")


def _check_dials(options: argparse.Namespace) -> None:
    """Raises SettingsError for dials that suit no model, or no file."""
    if adjust_settings(options, None, UNTUNED).needs_texts or options.harmless is not None:
        raise SettingsError(
            "A gate and --protect are fitted on texts, and a file from elsewhere brings none. Leave out "
            f"{' and '.join(given_options(options, ('family', *GATE_DIALS, 'protect', 'harmless')))}, or make the edit "
            "with `edit` from examples."
        )


def _unused_lines(options: argparse.Namespace, imported: ImportedFile) -> Iterator[str]:
    """Sentences about options that are not used."""
    texts = given_options(options, TEXTS)
    if options.output is None:
        unused = [*texts, *given_options(options, (*DIALS, "opposite"))]
        if unused:
            verb = "was" if len(unused) == 1 else "were"
            yield f"Without -o nothing is written: {' and '.join(unused)} {verb} not used."
    elif texts and imported.edit is not None:
        yield f"A finished edit needs no mean inputs: those of {texts[0]} were not read."
    elif texts and imported.inputs is not None:
        yield f"The mean inputs are in the file: those of {texts[0]} were not read."


def _edit_along(options: argparse.Namespace, loaded: LoadedModel, imported: ImportedFile) -> WeightEdit:
    """The edit along the imported directions, with the settings that were given."""
    assert imported.directions is not None
    inputs = imported.inputs or _capture_means(options, loaded)
    directions = opposite(imported.directions) if options.opposite else imported.directions
    extraction = score_along(loaded, inputs, directions)
    return build_edit(extraction, adjust_settings(options, extraction.scores, UNTUNED))


def _capture_means(options: argparse.Namespace, loaded: LoadedModel) -> ActivationMeans | MeanInputs:
    """Mean inputs of the texts that were named, for a steering vector."""
    if options.texts is None and options.contrast is None and options.behavior is None:
        raise SettingsError(
            "A steering vector has no mean inputs, which scores need: they are averaged over texts like those that the "
            "edit is for. Give --texts FILE, --contrast FILE or --behavior NAME."
        )
    outliers = chosen_outliers(options)
    with ProgressLine("reading texts") as progress:
        if options.texts is not None:
            texts = read_texts(options.texts)
            return capture_inputs(loaded, texts, name=options.texts.name, outliers=outliers, progress=progress)
        contrast = readable(options, load_chosen_contrast(options), loaded)
        return capture_means(loaded, contrast, outliers=outliers, progress=progress)


COMMANDS = (
    Command(
        "import",
        "What a recipe, directions, an edit pack or a steering vector is; with -o the recipe that follows from it.",
        add_import,
        import_foreign,
    ),
)
