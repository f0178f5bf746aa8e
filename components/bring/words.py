"""Words of the fold that brings a file: what it takes, what was read, and what can and cannot be done with that.

Knows what was read and the session; no component. Names out of a file are escaped: the strings are HTML.
"""

from __future__ import annotations

import html

from components.shared.progress import progress_bar
from components.shared.session import Session
from s2e_core.interop import ImportedFile

BRING = "Bring a recipe, a direction or an edit from a file"
BRING_HELP = (
    "A recipe of this page; the directions or the edit pack (.pt) that the authors' code saves; or a steering vector, "
    "one vector for each layer, or one of one layer: safetensors, .npy, .npz, .svec, bare tensors in a .pt, or a GGUF "
    "control vector. What it is, "
    "is told from its content and shown before anything changes. Files that could run code are refused."
)
FILE = "Recipe, direction or edit"
TEXTS = "Your texts, prompts with responses (optional)"
OPPOSITE = "The other way round, for the opposite behaviour"
LAYER, LAYER_HELP = "Layer of this vector", "counted from 0; the vector is for the layer's output"
SKIP_FIRST = "Leave out the first row, which is for the embedding"
USE = "Use it"
NOTHING_READ = progress_bar("Nothing was read from this file; the page is as it was.")
NOT_USED = progress_bar("Nothing was changed. The file is still here.")
READING = progress_bar("Reading the file …")
TOO_MANY_EDITS = (
    "{} contains {} edits laid on each other, and the page shows two at most, one on top of the other. Use it with the "
    "commands export, verify, compare and evaluate, or bring two of its recipes, laid on each other by combine."
)
SCORING = progress_bar("Scoring every head and neuron …")
TITLES = {
    "recipe": "Recipe", "directions": "Directions", "edit pack": "Edit pack", "steering vector": "Steering vector",
}  # fmt: skip


def read_words(imported: ImportedFile, session: Session, behavior: str, home: str = "") -> str:
    """What a file is, and what using it will do.

    `behavior` is the title of the one on the page, `home` that of the one that a finished edit was made from.
    """
    name, sentence = html.escape(imported.name), html.escape(imported.sentence())
    return (
        f'<p role="status"><b>{TITLES[imported.kind]}</b> {name}</p><p>{sentence}</p>'
        f"<p>{html.escape(_what_then(imported, session, behavior, home))}</p>"
    )


def _what_then(imported: ImportedFile, session: Session, behavior: str, home: str) -> str:
    if home:
        return f"It was made from the examples of “{home}”: the page turns to that behaviour, and the dials follow."
    if imported.edit is not None and session.made_here(imported.edit):
        return "It was made from the examples on the page, so it sets the dials, too."
    if imported.edit is not None:
        shown = session.origin.name if session.origin else behavior
        return (
            "It can be compared, measured in full, downloaded and pushed. It brings no scores and no direction: the "
            f"colour g, the ranking, steering and the search stay those of “{shown}”, no dial can tune it, and "
            "moving one returns to your own edit (Undo brings this one back)."
        )
    stay = f"The prompts to compare and to measure with stay those of “{behavior}”."
    if imported.inputs is not None:
        return f"Heatmaps, dials and steering are then made of it. {stay}"
    return (
        "Heatmaps, dials and steering are then made of it. Scores need mean inputs beside it, averaged over texts like "
        f"those the edit is for: the examples of “{behavior}” on the page, unless you give texts of your own here. "
        f"{stay}"
    )


def open_words(name: str, question: str) -> str:
    """A steering vector of which the visitor has to say the layers."""
    return f'<p role="status"><b>Steering vector</b> {html.escape(name)}</p><p>{html.escape(question)}</p>'


def used_words(imported: ImportedFile) -> str:
    """After it was taken over."""
    return f'<p role="status"><b>{TITLES[imported.kind]}</b> {html.escape(imported.name)} is on the page now.</p>'


def capturing_words(done: int, total: int) -> str:
    """While mean inputs are captured."""
    return progress_bar(f"Reading texts for the mean inputs: {done:,} of {total:,}", done, total)
