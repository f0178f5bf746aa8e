"""From a choice of model and examples to a fresh session: (store, choice) to progress and, at the end, the session.

Knows the store and the core's stages. The long part runs in a `Work`, so that closing the generator stops it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field, replace
from typing import Any

from s2e_core import ContrastDataError, ContrastSet, EditSettings, WeightEdit, build_edit, swapped
from s2e_core.data import without_long
from s2e_core.method import rho_for_count, summarize
from s2e_core.spec import Kind

from . import texts
from .brought import OwnExamples, own_contrast
from .limits import Limits
from .model_names import with_arguments
from .session import OWN, Scored, Session
from .store import BUNDLED, ModelStore
from .work import Work

ALPHA = 0.5
HEADS_SHARE, NEURONS_SHARE = 0.1, 0.01
LARGEST_CHANGE = 0.5
"""Where the dials start for examples that come without suggested settings; the last is |dW_i| / |W_i|."""


@dataclass(frozen=True, eq=False)
class Choice:
    """What the first panel says."""

    model: str
    behavior: str
    swap: bool = False
    own: OwnExamples = field(default_factory=OwnExamples)

    @classmethod
    def of(cls, model: str, behavior: str, swap: bool, template: str | None, *own: Any) -> Choice:
        """From the values of the page; the rest is `OwnExamples.of`.

        Raises ModelLoadError for arguments of a chat template that are no JSON object.
        """
        return cls(with_arguments(model, template or ""), behavior, swap, OwnExamples.of(*own))

    def is_of(self, session: Session) -> bool:
        """Whether the session has this model, behaviour and order of sides."""
        return (self.model, self.behavior, self.swap) == (session.model, session.behavior, session.swapped)


def extract(store: ModelStore, choice: Choice) -> Iterator[str | Session]:
    """Status lines while the model is loaded and the examples are read, then the finished session."""
    chosen_contrast(store, choice)  # refused before a model is loaded
    yield from model_made_ready(store, choice.model)
    contrast = chosen_contrast(store, choice)  # by now its tokens can be counted
    yield f"Reading {len(contrast.positive) + len(contrast.negative):,} examples …"
    behavior = store.named_behavior(choice.behavior)
    work = Work(lambda progress: store.scored(choice.model, contrast, behavior, progress=progress))
    with closing(work.ticks()) as ticks:
        for done, total in ticks:
            yield f"Reading examples and prompts: {done:,} of {total:,}" if total else texts.GETTING_READY
    yield opened(store, choice, work.result)


def model_made_ready(store: ModelStore, name: str) -> Iterator[str]:
    """Status lines while a model is downloaded and loaded; closing them stops the download, and keeps what came."""
    if store.is_loaded(name):
        return
    work = Work(lambda progress: store.model(name, progress=progress))
    with closing(work.ticks()) as ticks:
        for done, total in ticks:
            yield texts.DOWNLOADING.format(done / 1e6, total / 1e6) if done < total else texts.GETTING_READY


def offered(store: ModelStore, model: str, current: str = OWN) -> list[tuple[str, str]]:
    """(title, name) of the behaviours that fit a model, of the current one in any case, and of own examples."""
    fitting = list(store.fitting(model))
    if current != OWN and current not in [behavior.name for behavior in fitting]:
        fitting.append(store.behavior(current))
    return [*((behavior.title, behavior.name) for behavior in fitting), (texts.OWN_EXAMPLES, OWN)]


def carried_over(store: ModelStore, model: str, name: str) -> str:
    """What a choice of behaviour becomes with another model: that of the same title among those that fit, or the first.

    Own examples stay.
    """
    fitting = store.fitting(model)
    if name == OWN or name in [behavior.name for behavior in fitting]:
        return name
    title = store.behavior(name).title
    return next((behavior.name for behavior in fitting if behavior.title == title), fitting[0].name)


def choice_behind(store: ModelStore, model: str, edit: WeightEdit) -> Choice | None:
    """The behaviour that a finished edit was made from, among those that fit the model; None if it is unknown."""
    made_from = edit.provenance.contrast_hash
    for behavior in store.fitting(model):
        for swap, contrast in ((False, behavior.contrast), (True, swapped(behavior.contrast))):
            if contrast.content_hash == made_from:
                return Choice(model, behavior.name, swap)
    return None


def is_ready(store: ModelStore, choice: Choice, session: Session | None) -> bool:
    """Whether a choice is extracted at once; models still on the Hub and own examples not yet read wait for a click."""
    if choice.behavior != OWN:
        return choice.model in store.sources or store.is_loaded(choice.model)
    if session is None or (session.model, session.behavior) != (choice.model, OWN):
        return False
    try:
        contrast = chosen_contrast(store, choice)
    except ContrastDataError:
        return False  # still being typed
    return session.scored.contrast.content_hash in (contrast.content_hash, swapped(contrast).content_hash)


def opened(store: ModelStore, choice: Choice, scored: Scored) -> Session:
    """A session at the start of its dials."""
    behavior = store.named_behavior(choice.behavior)
    known = behavior is not None and store.sources.get(choice.model) == BUNDLED
    suggested = (behavior.best or behavior.settings) if behavior is not None and known else None
    if suggested is None:
        suggested = scored.suggestions[0].settings if scored.suggestions else strongest_few(scored)
    return Session.start(choice.model, choice.behavior, scored, suggested, swapped=choice.swap)


def strongest_few(scored: Scored) -> EditSettings:
    """Settings for examples that nobody has tuned: few components, each changed by a part of its weight."""
    scores = scored.scores
    shares: dict[Kind, float] = {"heads": HEADS_SHARE, "neurons": NEURONS_SHARE}
    counts = {kind: round(share * scores.spec.n_components(kind)) for kind, share in shares.items()}
    rho = {kind: rho_for_count(scores, kind, max(1, count), ALPHA) if count else None for kind, count in counts.items()}
    paper = EditSettings(rho["heads"], rho["neurons"], ALPHA)
    largest = summarize(scores, build_edit(scored.extraction, paper)).largest_change
    return replace(paper, strength=max(0.05, round(min(1.0, LARGEST_CHANGE / max(largest, 1e-9)), 2)))


def chosen_contrast(store: ModelStore, choice: Choice) -> ContrastSet:
    """The examples the visitor chose, checked against the limits, sides swapped where asked.

    Examples that are too long for the model can only be left out once it is loaded.
    """
    if choice.behavior != OWN:
        contrast = store.behavior(choice.behavior).contrast
    else:
        contrast = own_contrast(choice.model, choice.own, store.limits)
        if choice.own.correction.leave_out_long and store.is_loaded(choice.model):
            contrast = without_long(contrast, store.model(choice.model))
    _check_size(contrast, store.limits)
    return swapped(contrast) if choice.swap else contrast


def _check_size(contrast: ContrastSet, limits: Limits) -> None:
    most = max(len(contrast.positive), len(contrast.negative))
    if most > limits.examples:
        raise ContrastDataError(f"One side has {most:,} examples; at most {limits.examples:,} are read. Remove some.")
    longest = max(len(e.prompt) + len(e.response) for e in (*contrast.positive, *contrast.negative))
    if longest > limits.example_chars:
        raise ContrastDataError(
            f"One example has {longest:,} characters; at most {limits.example_chars:,} are read. Shorten or remove it."
        )
