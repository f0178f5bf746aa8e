"""Why a component matters: (store, session, component) to the values that the card, the strip and the causal map draw.

Knows the core's figures and the store; no event. What is the same for every visitor of an extraction is kept, bounded.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

from components.compare.handlers import Request, check_request
from components.shared.kept import Kept
from components.shared.progress import duration, progress_bar
from components.shared.session import Scored, Session
from components.shared.store import ModelStore
from components.shared.work import Work
from s2e_core import Example, Original, SettingsError, WeightEdit, build_edit, compare
from s2e_core.measure import is_slow
from s2e_core.model import LoadedModel, component_label
from s2e_core.progress import Progress, Stages, in_steps
from s2e_core.spec import Component, ModelSpec
from s2e_core.why import N_HEADS, N_NEURONS, Card, CausalMap, Study, causal_map, make_card, open_study, parting, plain

from . import words

FEW_HEADS, FEW_NEURONS = 60, 40
"""Components that are tried where a model answers slowly."""
READING_STEPS, TEXT_STEPS = 80, 20
"""Steps of the progress in which examples are read, and some of them once more for the kinds of heads."""
MOST_STUDIES, MOST_STUDY_BYTES = 8, 512_000_000
MOST_CHARS = 600
"""Characters of a text of one's own."""
Studies = Kept[Study]


def looked_at(
    store: ModelStore, studies: Studies, session: Session, number: Any, text: Any
) -> Iterator[dict[str, Any]]:
    """The card of the component with a number; before it, if the extraction was never studied, how far that is."""
    loaded, scored = store.model(session.model), session.scored
    component = component_at(loaded.spec, number)
    name = {"number": int(number), "name": component_label(loaded.spec, component)}
    study = studies.find(scored.key)
    if study is None:
        work = Work(lambda progress: _study(store, loaded, scored, progress))
        for done, total in work.ticks():
            share = f" {done / total:.0%}" if total else ""
            yield {**name, "busy": f"{words.STUDIES}{share} …"}
        study = studies.keep(scored.key, work.result, lambda: _is_full(studies))
    yield {**name, "busy": words.LOOKS}
    written = str(text or "")[:MOST_CHARS].strip()
    others = _other_edits(store, session)
    work_card = Work(
        lambda _: make_card(study, component, session.edit, written or scored.contrast.positive[0], others=others)
    )
    for _ in work_card.ticks():
        pass
    yield {**card_value(work_card.result, loaded.spec, session), **name, "text": written} | _titles(store, session)


def _study(store: ModelStore, loaded: LoadedModel, scored: Scored, progress: Progress) -> Study:
    """What the cards share; the examples are read once, for the pictures and for the cards."""
    stages = Stages(progress, examples=READING_STEPS, texts=TEXT_STEPS)
    known = store.chances.read(loaded, scored, in_steps(stages.of("examples"), READING_STEPS))
    texts_read = in_steps(stages.of("texts"), TEXT_STEPS)
    return open_study(loaded, scored.contrast, scored.extraction, known=known, progress=texts_read)


def card_value(card: Card, spec: ModelSpec, session: Session) -> dict[str, Any]:
    """The core's plain values, with the numbers by which the page knows components."""
    relatives = [
        {"number": number_of(spec, one.component), "name": component_label(spec, one.component), "cosine": one.cosine}
        for one in card.relatives
    ]
    return card.to_json() | {"relatives": relatives, "settings": {"strength": session.settings.strength}}


def _titles(store: ModelStore, session: Session) -> dict[str, str]:
    behavior = store.named_behavior(session.behavior)
    title = behavior.title if behavior else session.label
    return {"behavior": title, "model": session.model, "about": words.ABOUT.format(behavior=title)}


def _other_edits(store: ModelStore, session: Session) -> dict[str, WeightEdit]:
    """The suggested elastic nets of the model's other behaviours, of those that somebody has read here already."""
    loaded, found = store.model(session.model), {}
    for behavior in store.fitting(session.model):
        scored = store.cached(loaded, behavior.contrast, behavior) if behavior.name != session.behavior else None
        suggestion = None if scored is None else scored.suggestion("elastic net")
        if scored is not None and suggestion is not None:
            found[behavior.title] = build_edit(scored.extraction, suggestion.settings)
    return found


def _is_full(studies: Studies) -> bool:
    return len(studies) > MOST_STUDIES or sum(one.means.n_bytes for one in studies.values()) > MOST_STUDY_BYTES


def component_at(spec: ModelSpec, number: Any) -> Component:
    """Components are numbered through all sites, as in the tab. Raises SettingsError for a number of none."""
    rest = int(number) if isinstance(number, int | float) and float(number).is_integer() else -1
    for index, site in enumerate(spec.sites):
        if 0 <= rest < site.n_components:
            return Component(index, rest)
        rest -= site.n_components
    raise SettingsError("There is no such component. Click a cell of a picture or a row of the table.")


def number_of(spec: ModelSpec, component: Component) -> int:
    """The number of a component through all sites."""
    return sum(site.n_components for site in spec.sites[: component.site]) + component.index


def parted(store: ModelStore, session: Session, request: Request) -> Iterator[dict[str, Any]]:
    """Where the edited text parts from the original's answer to the prompt of the page."""
    check_request(request, store.limits)
    loaded = store.model(session.model)
    stream = compare(
        loaded, request.prompt, [Original()], max_new_tokens=int(request.length),
        temperature=float(request.temperature), seed=int(request.seed),
    )  # fmt: skip
    answer = ""
    for grown in stream:
        (answer,) = grown
        yield {"busy": words.READS}
    if not answer:
        raise SettingsError(words.NO_ANSWER)
    found = parting(loaded, Example(request.prompt, answer), session.variant)
    yield plain(found) | {"first": found.first, "mean_kl": found.mean_kl}


def caused(store: ModelStore, session: Session) -> Iterator[tuple[str, dict[str, Any] | None]]:
    """How far the causal map is, and at last the map: (HTML, value)."""
    loaded, start = store.model(session.model), time.monotonic()
    n_heads, n_neurons = (FEW_HEADS, FEW_NEURONS) if is_slow(loaded) else (N_HEADS, N_NEURONS)

    def stage(progress: Progress) -> CausalMap:
        scored = session.scored
        return causal_map(
            loaded,
            scored.extraction,
            session.edit,
            scored.contrast,
            n_heads=n_heads,
            n_neurons=n_neurons,
            progress=progress,
        )  # fmt: skip

    work = Work(stage)

    for done, total in work.ticks():
        said = words.MAP_RUNS.format(done=done, total=total) if total else words.MAP_WAITS
        yield progress_bar(said, done, total), None
    found = work.result
    told = words.MAP_DONE.format(
        count=len(found.g), total=len(found.effects), texts=found.n_texts, time=duration(time.monotonic() - start)
    )
    yield progress_bar(told), map_value(found)


def map_value(found: CausalMap) -> dict[str, Any]:
    """The core's plain values, with the numbers by which the page knows components."""
    spec = found.spec
    rows = [
        row | {"number": number_of(spec, effect.component)}
        for effect, row in zip(found.effects, found.rows(), strict=True)
    ]
    zeroed = {row["number"]: row for row in rows if row["how"] == "zeroed"}
    friends = {
        name: [zeroed[number_of(spec, effect.component)] for effect in some]
        for name, some in (("unneeded", found.unneeded()), ("overlooked", found.overlooked()))
    }
    return plain({**found.to_json(), **friends, "effects": [], "rows": rows})
