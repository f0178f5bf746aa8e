"""The command `import`: what a file from elsewhere is, and the recipe that follows from it.

Knows the terminal and the parsed options; what is in a file is told and read by `import_file`.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Iterator

from s2e_core.errors import SettingsError
from s2e_core.export import save_edit
from s2e_core.interop import Imported, import_file, read_texts
from s2e_core.method import build_edit, capture_inputs, capture_means, opposite, score_along
from s2e_core.model import LoadedModel
from s2e_core.values import ActivationMeans, MeanInputs, WeightEdit

from .terminal import (
    UNTUNED,
    check_place,
    check_settings,
    check_there,
    chosen_contrast,
    chosen_model,
    given_settings,
    progress_line,
)

TEXTS = ("texts", "contrast", "behavior")
"""Options for texts, of which at most one can be given."""
DIALS = ("rho_attn", "rho_mlp", "alpha", "strength", "heads", "neurons")


def import_foreign(options: argparse.Namespace) -> None:
    """What a recipe, directions, an edit pack or a steering vector is; with -o the recipe that follows from it."""
    check_there(options.file)
    check_place(options.output)
    check_settings(options)
    loaded = chosen_model(options)
    imported = import_file(options.file, loaded)
    print(imported.sentence())
    if imported.edit is not None and (options.opposite or any(getattr(options, d) is not None for d in DIALS)):
        raise SettingsError(
            "A finished edit has no dials to set and no opposite: its scores are not in the file. Leave them out."
        )
    for line in _left_out(options, imported):
        print(line)
    if options.output is not None:
        edit = imported.edit if imported.edit is not None else _edited(options, loaded, imported)
        print(f"{edit.count('heads')} heads and {edit.count('neurons')} neurons: {save_edit(edit, options.output)}")


def _left_out(options: argparse.Namespace, imported: Imported) -> Iterator[str]:
    """What was given and will not be used."""
    texts = _given(options, TEXTS)
    if options.output is None:
        unused = [*texts, *_given(options, (*DIALS, "opposite"))]
        if unused:
            verb = "was" if len(unused) == 1 else "were"
            yield f"Without -o nothing is made: {' and '.join(unused)} {verb} not used."
    elif texts and imported.edit is not None:
        yield f"A finished edit needs no mean inputs: those of {texts[0]} were not read."
    elif texts and imported.inputs is not None:
        yield f"The mean inputs are in the file: those of {texts[0]} were not read."


def _given(options: argparse.Namespace, names: Iterable[str]) -> list[str]:
    return [f"--{name.replace('_', '-')}" for name in names if getattr(options, name) not in (None, False)]


def _edited(options: argparse.Namespace, loaded: LoadedModel, imported: Imported) -> WeightEdit:
    """The edit of the given settings along directions from elsewhere."""
    assert imported.directions is not None
    inputs = imported.inputs or _captured(options, loaded)
    directions = opposite(imported.directions) if options.opposite else imported.directions
    extraction = score_along(loaded, inputs, directions)
    return build_edit(extraction, given_settings(options, extraction.scores, UNTUNED))


def _captured(options: argparse.Namespace, loaded: LoadedModel) -> ActivationMeans | MeanInputs:
    """Mean inputs beside a steering vector, of the texts that were named."""
    if options.texts is None and options.contrast is None and options.behavior is None:
        raise SettingsError(
            "A steering vector brings no mean inputs, which scores need: they are averaged over texts like those the "
            "edit is for. Give --texts FILE, --contrast FILE or --behavior NAME."
        )
    with progress_line("reading texts") as progress:
        if options.texts is not None:
            texts = read_texts(options.texts)
            return capture_inputs(loaded, texts, name=options.texts.name, progress=progress)
        return capture_means(loaded, chosen_contrast(options), progress=progress)
