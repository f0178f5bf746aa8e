"""A file from elsewhere: (store, session, file) to what it is, and then to a session that has it.

Knows the store and the core's readers; no page. What a file is, is read twice, when it arrives and when it is used: the
model on the page may be another one by then. Whatever is refused leaves the session as it was.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from secrets import token_urlsafe
from typing import Any, TypeVar

from components.shared.choices import Choice, choice_behind, chosen_contrast, opened, strongest_few
from components.shared.session import Brought, Origin, Scored, Session
from components.shared.store import ModelStore
from components.shared.work import Work
from components.studio.place import place_of, title_below
from s2e_core import (
    ActivationMeans,
    ContrastDataError,
    InteropError,
    import_file,
    swapped,
)
from s2e_core.interop import AS_IN_FILE, ImportedFile, LayerChoice, read_texts
from s2e_core.method import capture_inputs, opposite, score_along
from s2e_core.model import LoadedModel
from s2e_core.progress import Progress
from s2e_core.values import MeanInputs, WeightEdit

from . import words as words

Result = TypeVar("Result")
TURNED = "Taken the other way round. "


@dataclass(frozen=True, eq=False)
class FromFile:
    """What is to be put on the page."""

    imported: ImportedFile
    scored: Scored | None = None
    """None for a finished edit whose examples are on the page, or unknown."""
    home: Choice | None = None
    """The behaviour whose examples a finished edit was made from, if it is another one than that on the page."""
    where: str = ""
    """Which way round it was taken, and where the mean inputs come from, as sentences."""


def inspected(store: ModelStore, session: Session, path: str | None, choice: LayerChoice = AS_IN_FILE) -> ImportedFile:
    """What a file is, checked against the model on the page; nothing changes yet.

    Raises OpenLayers for a steering vector of which the visitor has to say the layers.
    """
    if not path:
        raise InteropError("No file has arrived. Choose one and upload it again.")
    imported = import_file(path, store.model(session.model), choice)
    if imported.edit is not None and len(imported.edit.parts) > 2:
        raise InteropError(words.TOO_MANY_EDITS.format(imported.name, len(imported.edit.parts)))
    return imported


def layer_choice(layer: float | None, skip_first: bool) -> LayerChoice:
    """The fields of the page."""
    return LayerChoice(None if layer is None else int(layer), bool(skip_first))


def home_of(store: ModelStore, session: Session, imported: ImportedFile) -> Choice | None:
    """The behaviour that a finished edit belongs to, if it fits the model and is not the one on the page."""
    if imported.edit is None or session.made_here(imported.edit):
        return None
    return choice_behind(store, session.model, imported.edit)


def title_of(store: ModelStore, session: Session) -> str:
    """What the examples on the page are called."""
    behavior = store.named_behavior(session.behavior)
    return behavior.title if behavior else "your examples"


def prepared(
    store: ModelStore,
    session: Session,
    path: str | None,
    texts: str | None,
    turned: bool = False,
    layer: float | None = None,
    skip_first: bool = False,
) -> Iterator[str | FromFile]:
    """Progress as HTML, then what is to be put on the page.

    `texts` is a file of examples for the mean inputs; `turned` takes directions the other way round; `layer` and
    `skip_first` are those of LayerChoice.
    """
    yield words.READING
    imported = inspected(store, session, path, layer_choice(layer, skip_first))
    if imported.directions is None:
        home = home_of(store, session, imported)
        if home is None:
            yield FromFile(imported)
            return
        scored = yield from _worked(
            lambda progress: store.scored(
                home.model, chosen_contrast(store, home), store.behavior(home.behavior), progress=progress
            )
        )
        yield FromFile(imported, scored, home)
        return
    loaded, directions = store.model(session.model), opposite(imported.directions) if turned else imported.directions
    contrast = swapped(session.scored.contrast) if session.swapped else session.scored.contrast
    means: ActivationMeans | MeanInputs
    if imported.inputs is not None:
        means, where = imported.inputs, "The mean inputs are the file's own."
    elif texts:
        means = yield from _worked(lambda progress: _captured(loaded, texts, store, progress))
        where = f"Mean inputs of {means.n_examples:,} texts that you gave."
    else:
        behavior = store.named_behavior(session.behavior)
        scored = yield from _worked(lambda progress: store.scored(session.model, contrast, behavior, progress=progress))
        means, where = scored.means, f"Mean inputs of the examples of “{title_of(store, session)}”."
    yield words.SCORING
    extraction = yield from _worked(lambda progress: score_along(loaded, means, directions))
    scored = store.keep_scored(Scored(contrast, extraction, key=token_urlsafe()))
    yield FromFile(imported, scored, where=f"{TURNED if turned else ''}{where}")


def adopted(store: ModelStore, session: Session, given: FromFile) -> Session:
    """The session with what was given. Raises InteropError where the page has another model by now."""
    imported, scored = given.imported, given.scored
    if _weights_of(imported) != store.model(session.model).fingerprint:
        raise InteropError(f"The model was changed before {imported.name} was on the page. Press {words.USE} again.")
    if imported.edit is not None:
        if given.home is not None and scored is not None:
            session = opened(store, given.home, scored)
        return session.with_brought(_kept(store, imported.name, replace(imported.edit, also=())))
    assert scored is not None
    origin = Origin(imported.name, f"{imported.sentence()} {given.where}")
    return Session.start(session.model, session.behavior, scored, strongest_few(scored), origin=origin)


def place_below(store: ModelStore, session: Session, imported: ImportedFile) -> dict[str, Any] | None:
    """The place, for the tab, of the edit under that on the page; None if the file has none.

    It stands on the extraction on the page, of which it uses nothing.
    """
    if imported.edit is None or not imported.edit.also:
        return None
    below = replace(session, brought=_kept(store, imported.name, imported.edit.also[0]), under=None)
    return {**place_of(below), "weight": 1.0, "title": title_below(store, below)}


def _kept(store: ModelStore, name: str, edit: WeightEdit) -> Brought:
    return store.keep_edit(Brought(name, token_urlsafe(), edit))


def _weights_of(imported: ImportedFile) -> str:
    """Fingerprint of the weights that a file was read for."""
    made_for = imported.edit if imported.edit is not None else imported.directions
    assert made_for is not None
    return made_for.provenance.fingerprint


def _captured(loaded: LoadedModel, path: str, store: ModelStore, progress: Progress) -> MeanInputs:
    """Mean inputs of a file of texts, within the limits."""
    texts, limits = read_texts(path), store.limits
    longest = max(len(text.prompt) + len(text.response) for text in texts)
    if len(texts) > 2 * limits.examples or longest > limits.example_chars:
        raise ContrastDataError(
            f"{Path(path).name} has {len(texts):,} texts of up to {longest:,} characters; at most "
            f"{2 * limits.examples:,} of up to {limits.example_chars:,} are read. Remove some."
        )
    return capture_inputs(loaded, texts, name=Path(path).name, outliers=store.outliers, progress=progress)


def _worked(stage: Callable[[Progress], Result]) -> Generator[str, None, Result]:
    """Progress of a long stage; closing it stops the stage."""
    work = Work(stage)
    with closing(work.ticks()) as ticks:
        for done, total in ticks:
            if total:
                yield words.capturing_words(done, total)
    return work.result
