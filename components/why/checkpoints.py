"""Two checkpoints: (store, session, choice) to how the second differs, and then to a session with an edit.

Knows the store, uploaded files and the core's comparison; no event. A visitor names a model that the operator offers,
or uploads a file; no path that is typed is ever opened. Copies of uploads are gone when the comparison is over.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from secrets import token_urlsafe
from typing import Any

import torch

from components.shared.choices import model_made_ready
from components.shared.progress import progress_bar
from components.shared.session import Brought, Session
from components.shared.store import ModelStore
from components.shared.work import Work
from components.studio.place import read_settings
from s2e_core import EditSettings, InteropError, SettingsError
from s2e_core.export import CONFIG_FILE
from s2e_core.measure import settings_label
from s2e_core.model import LoadedModel, component_label
from s2e_core.progress import Progress
from s2e_core.settings_json import settings_to_json
from s2e_core.spec import Kind, layer_grid
from s2e_core.values import SteeringDirections, WeightSource
from s2e_core.why import ExplainedDifference, Nearest, explain_difference, open_weights, plain, unpack

from . import words
from .handlers import number_of

BINS = 96
"""Columns of the picture of neurons, each with the largest change among its neurons."""
N_LISTED = 12
"""Components that are listed by name."""
N_VALUES = 8
"""Singular values of a projection that are drawn."""


@dataclass(frozen=True, eq=False)
class Chosen:
    """What is to be compared with the model on the page."""

    model: str = ""
    """Name of a model that the operator offers, or of the Hub where visitors may name those."""
    files: tuple[str, ...] = ()
    """Uploaded files, which come before the model."""

    @classmethod
    def of(cls, model: object, files: object) -> Chosen:
        """From the fields of the page."""
        found = [files] if isinstance(files, str) else files if isinstance(files, list) else []
        return cls(model if isinstance(model, str) else "", tuple(map(str, found)))


def checkpoints_opened(
    store: ModelStore, session: Session, chosen: Chosen
) -> Iterator[tuple[str, dict[str, Any] | None]]:
    """How far the comparison is, and at last what was found: (HTML, value)."""
    if not chosen.model and not chosen.files:
        raise SettingsError(words.TWO_NOTHING)
    if not chosen.files:
        for sentence in model_made_ready(store, chosen.model):
            yield progress_bar(sentence), None
    loaded, others = store.model(session.model), _other_directions(store, session)
    name = Path(chosen.files[0]).name if chosen.files else chosen.model

    def stage(progress: Progress) -> ExplainedDifference:
        with _Folder(store) as folder:
            second = _uploaded(store, loaded, chosen.files, folder) if chosen.files else store.model(chosen.model)
            return explain_difference(
                loaded, second, session.scored.extraction, name=name, directions=others, known=_known(session),
                progress=progress,
            )  # fmt: skip

    work = Work(stage)
    with closing(work.ticks()) as ticks:
        for done, total in ticks:
            yield progress_bar(words.TWO_RUNS, done, total), None
    found = work.result
    own = store.keep_edit(Brought(words.TWO_OWN_NAME.format(name=name), token_urlsafe(), found.own))
    yield "", difference_value(store, session, found, name) | {"own": own.key}


class _Folder:
    """A folder below the server's work, for as long as the context lasts."""

    def __init__(self, store: ModelStore) -> None:
        self._below = store.work

    def __enter__(self) -> Path:
        self._below.mkdir(parents=True, exist_ok=True)
        self.path = Path(tempfile.mkdtemp(dir=self._below))
        return self.path

    def __exit__(self, *error: object) -> None:
        shutil.rmtree(self.path, ignore_errors=True)


def _uploaded(store: ModelStore, loaded: LoadedModel, files: Sequence[str], folder: Path) -> WeightSource:
    """The weights of an archive, or of one safetensors file with the settings of an adapter beside it."""
    paths = [Path(file) for file in files]
    if not all(path.is_file() for path in paths):
        raise InteropError(words.TWO_GONE)
    if sum(path.stat().st_size for path in paths) > store.limits.file_megabytes * 1e6:
        raise InteropError(words.TWO_TOO_LARGE.format(most=store.limits.file_megabytes))
    weights = [path for path in paths if path.suffix in (".safetensors", ".zip")]
    settings = [path for path in paths if path.suffix == ".json"]
    if len(weights) != 1 or len(settings) > 1 or len(weights) + len(settings) < len(paths):
        raise InteropError(words.TWO_FILES)
    if weights[0].suffix == ".zip":
        return open_weights(
            loaded, unpack(weights[0], folder / weights[0].name, int(2e6 * store.limits.file_megabytes))
        )
    inside = folder / words.TWO_UPLOAD  # as a sentence about a file calls its folder
    inside.mkdir()
    for path, target in ((weights[0], weights[0].name), *((one, CONFIG_FILE) for one in settings)):
        shutil.copyfile(path, inside / target)
    return open_weights(loaded, inside / weights[0].name)


def _known(session: Session) -> list[EditSettings]:
    """Settings that the difference may have been made with: those on the page, and the suggested ones."""
    return [session.settings, session.suggested, *(each.settings for each in session.scored.suggestions)]


def _other_directions(store: ModelStore, session: Session) -> dict[str, SteeringDirections]:
    """Directions of the model's behaviours, by title, of those that somebody has read here already."""
    loaded, found = store.model(session.model), {}
    for behavior in store.fitting(session.model):
        scored = store.cached(loaded, behavior.contrast, behavior)
        if scored is not None and behavior.name != session.behavior:
            found[behavior.title] = scored.directions
    return found


def difference_value(store: ModelStore, session: Session, found: ExplainedDifference, name: str) -> dict[str, Any]:
    """Plain values, with the numbers by which the page knows components."""
    difference, spec = found.difference, found.difference.spec
    return plain({
        "key": session.scored.key,
        "first": session.model,
        "second": name,
        "behavior": behavior_title(store, session),
        "relative_size": difference.relative_size,
        "heads": difference.count("heads"),
        "neurons": difference.count("neurons"),
        "of_heads": spec.n_components("heads"),
        "of_neurons": spec.n_components("neurons"),
        "changed": len(difference.changed),
        "of_changed": len(spec.sites),
        "each_rank_one": difference.each_rank_one,
        "shared": difference.shared,
        "by_chance": found.by_chance,
        "sites": [_site(found, i) for i in difference.changed],
        "along": [{"title": title, "share": share} for title, share in found.along.items()],
        "nearest": _nearest(found.nearest),
        "reversed": _nearest(found.reversed),
        "largest": [
            {
                "number": number_of(spec, one),
                "name": component_label(spec, one),
                "relative": float(difference.relative[one.site][one.index]),
            }
            for one in difference.largest(N_LISTED)
        ],
        "maps": {kind: _picture(found, kind) for kind in ("heads", "neurons")},
    })  # fmt: skip


def behavior_title(store: ModelStore, session: Session) -> str:
    """What the examples on the page are called."""
    behavior = store.named_behavior(session.behavior)
    return behavior.title if behavior else words.YOUR_EXAMPLES


def _site(found: ExplainedDifference, index: int) -> dict[str, Any]:
    site, difference = found.difference.spec.sites[index], found.difference
    return {
        "kind": site.kind,
        "layer": site.layer,
        "change": float(difference.changes[index].square().sum()) ** 0.5,
        "rank_one": float(difference.rank_one[index]),
        "spectrum": difference.spectrum[index][:N_VALUES],
    }


def _nearest(nearest: Nearest | None) -> dict[str, Any] | None:
    if nearest is None:
        return None
    return {
        "settings": settings_to_json(nearest.settings),
        "words": f"{nearest.settings.family}, {settings_label(nearest.settings, short=True)}",
        "explained": nearest.explained,
        "possible": nearest.possible,
    }


def _picture(found: ExplainedDifference, kind: Kind) -> dict[str, Any]:
    """Relative changes as rows of layers; of many components the largest of each of BINS columns, with its number."""
    spec = found.difference.spec
    numbers, first = [], 0
    for site in spec.sites:
        numbers.append(torch.arange(first, first + site.n_components, dtype=torch.float64))
        first += site.n_components
    values, places = layer_grid(spec, kind, found.difference.relative), layer_grid(spec, kind, tuple(numbers))
    per_bin = max(1, -(-values.shape[1] // BINS))
    width = -(-values.shape[1] // per_bin) * per_bin - values.shape[1]
    values = torch.nn.functional.pad(values.nan_to_num(0.0), (0, width)).unflatten(1, (-1, per_bin))
    places = torch.nn.functional.pad(places.nan_to_num(-1.0), (0, width), value=-1.0).unflatten(1, (-1, per_bin))
    largest, at = values.max(dim=2)
    chosen = places.gather(2, at.unsqueeze(2)).squeeze(2).long()
    return {"rows": largest, "numbers": chosen, "per_bin": per_bin}


def with_nearest(session: Session, value: object) -> Session:
    """The session with the dials of the recipe that was found. Raises SettingsError if it is of another page."""
    data = _fitting(session, value)
    try:
        settings = read_settings(data["nearest"]["settings"], session.scored.extraction.spec)
    except (LookupError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise SettingsError(words.TWO_NO_RECIPE) from error
    return session.with_settings(settings)


def with_own(store: ModelStore, session: Session, value: object) -> Session:
    """The session with the nearest edit along directions of its own. Raises SettingsError if it is no longer kept."""
    brought = store.kept_edit(str(_fitting(session, value).get("own")))
    if brought is None or brought.edit.provenance.fingerprint != store.model(session.model).fingerprint:
        raise SettingsError(words.TWO_FORGOTTEN)
    return replace(session, brought=brought)


def _fitting(session: Session, value: object) -> Mapping[str, Any]:
    """What was found, if it was found for the examples on the page."""
    if not isinstance(value, Mapping) or value.get("key") != session.scored.key:
        raise SettingsError(words.TWO_FORGOTTEN)
    return value
