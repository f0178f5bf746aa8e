"""The models a server has loaded and the extractions it has finished, shared by all visitors.

Made in `main()`; knows which sources the operator allows. Models are read-only and every value kept here is frozen, so
visitors share them freely; the lock guards the dictionaries alone.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import Any

import torch

from s2e_core import (
    ActivationMeans,
    Behavior,
    BehaviorError,
    ContrastSet,
    Extraction,
    ModelLoadError,
    list_behaviors,
    load_behavior,
    load_model,
    steering_directions,
    swapped,
)
from s2e_core.cache import ExtractionCache, extract_cached, suggest_cached
from s2e_core.data import BUNDLED_BEHAVIORS, CHAT_BEHAVIORS, choose_behaviors_folder
from s2e_core.loading import BUNDLED, BUNDLED_MODEL, HUB_ID, hub_name, template_arguments, with_template_args
from s2e_core.measure import Suggestion
from s2e_core.method import capture_token_inputs, score_along
from s2e_core.model import LoadedModel, Quantize
from s2e_core.progress import Progress, Stages, in_steps
from s2e_core.values import OUTLIERS, Outliers

from .chances import Chances
from .gate_prompts import gate_texts, token_bytes
from .jobs import Jobs
from .kept import Kept
from .limits import Limits
from .model_names import split_arguments, split_text
from .session import OWN, Brought, Scored

MOST_KEYS = 10_000
"""Keys that are remembered; one is soon made again."""
MOST_VARIANTS = 16
"""Arguments of chat templates with which models are kept beside themselves; they share the weights."""
SUGGESTION_STEPS = 40
"""Steps that the suggested settings count in the progress of an extraction."""


@dataclass(eq=False)
class ModelStore:
    """Loaded models by name, finished extractions by model, examples and texts, behaviours by name."""

    sources: Mapping[str, str | Path]
    """What visitors may choose; the first is loaded before they come."""
    work: Path
    """Folder below which downloads are written."""
    limits: Limits = field(default_factory=Limits)
    hub: bool = False
    """Visitors may name a model on the Hub."""
    in_tab: bool = True
    """Visitors' browsers may run the bundled model."""
    push: bool = False
    """Visitors may send their edited model to the Hub, with their own token."""
    device: str | None = None
    dtype: torch.dtype | None = None
    max_memory: Mapping[str, int] | None = None
    quantize: Quantize | None = None
    originals: str | None = None
    """Of the first model, where its files are quantised: see `load_model`."""
    adapter: Path | None = None
    """LoRA adapter that is merged into the first model."""
    template_args: Mapping[str, Any] | None = None
    """Arguments of the first model's chat template."""
    behaviors: Path | None = None
    """Folder of behaviours in place of the bundled ones."""
    cache: ExtractionCache | None = None
    """Extractions on the disk, which outlast the program; None keeps them in memory alone."""
    outliers: Outliers = OUTLIERS
    """What becomes of positions whose residual norm is an outlier; "keep" is the paper's."""
    jobs: Jobs = field(default_factory=Jobs)
    """Runs of visitors that are to stop."""
    chances: Chances = field(default_factory=Chances)
    """What chance gives the components of extractions."""
    _models: OrderedDict[str, LoadedModel] = field(default_factory=OrderedDict)
    _variants: Kept[LoadedModel] = field(default_factory=Kept)
    _scored: Kept[Scored] = field(default_factory=Kept)
    _keys: dict[tuple[str, str, Behavior | None], str] = field(default_factory=dict)
    _edits: Kept[Brought] = field(default_factory=Kept)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _loading: threading.Lock = field(default_factory=threading.Lock)

    @property
    def first_model(self) -> str:
        return next(iter(self.sources))

    @property
    def behavior_list(self) -> tuple[Behavior, ...]:
        """The behaviours that fit the first model, in the order of their lessons."""
        return self.fitting(self.first_model)

    def fitting(self, model: str) -> tuple[Behavior, ...]:
        """The behaviours that fit a model, which need not be loaded; the operator's own fit every model."""
        model, _ = split_text(model)
        if self.behaviors is not None:
            return self._behaviors[self.behaviors]
        known, source = self._known(model), self.sources.get(model)
        local = BUNDLED_MODEL if source == BUNDLED else None if source is None else Path(source)
        return self._behaviors[choose_behaviors_folder(local if known is None else known.source)]

    @cached_property
    def _behaviors(self) -> Mapping[Path, tuple[Behavior, ...]]:
        folders = (BUNDLED_BEHAVIORS, CHAT_BEHAVIORS) if self.behaviors is None else (self.behaviors,)
        return {
            folder: tuple(self._limited(load_behavior(n, folder)) for n in list_behaviors(folder)) for folder in folders
        }

    def _limited(self, behavior: Behavior) -> Behavior:
        """Its answers are no longer than a visitor's may be, in what is compared and in what is measured."""
        return replace(behavior, max_new_tokens=min(behavior.max_new_tokens, self.limits.new_tokens))

    def behavior(self, name: str) -> Behavior:
        for behavior in chain(*self._behaviors.values()):
            if behavior.name == name:
                return behavior
        raise BehaviorError(f'There is no behaviour "{name[:80]}" here. Choose one from the list.')

    def named_behavior(self, name: str) -> Behavior | None:
        """A behaviour by name; None where a visitor brought the examples."""
        return None if name == OWN else self.behavior(name)

    def is_loaded(self, name: str) -> bool:
        return self._known(split_text(name)[0]) is not None

    def model(self, name: str, *, progress: Progress | None = None) -> LoadedModel:
        """A loaded model; loads it where the operator allows the source, and then forgets the one unused longest.

        With arguments of its chat template behind its name it is the same model beside itself: whoever gives none, or
        others, sees nothing of them. `progress` counts the bytes of a download. One that fails leaves the models that
        are loaded as they were.
        """
        plain, args = split_arguments(name)
        loaded = self._loaded(plain, progress)
        if not args:
            return loaded
        kept = self._variants.find(name)
        if kept is not None and kept.model is loaded.model:
            return kept
        variant = with_template_args(loaded, self.template_args_of(name))
        return self._variants.keep(name, variant, lambda: len(self._variants) > MOST_VARIANTS)

    def template_args_of(self, name: str) -> dict[str, Any]:
        """The operator's arguments of a model's chat template, and the visitor's in their place where both have one."""
        plain, args = split_arguments(name)
        operators = self.template_args if plain == self.first_model else None
        return {**(operators or {}), **args}

    def template_names(self, name: str) -> tuple[str, ...]:
        """Arguments that the chat template of a model takes; empty while the model is not loaded."""
        loaded = self._known(split_text(name)[0])
        return () if loaded is None else template_arguments(loaded)

    def _loaded(self, name: str, progress: Progress | None) -> LoadedModel:
        known = self._known(name)
        if known is not None:
            return known
        with self._loading:  # two visitors who ask for the same model wait for one load
            known = self._known(name)
            if known is not None:
                return known
            loaded = load_model(
                self._source(name),
                device=self.device,
                dtype=self.dtype,
                max_memory=self.max_memory,
                quantize=self.quantize,
                originals=self.originals if name == self.first_model else None,
                adapter=self.adapter if name == self.first_model else None,
                template_args=self.template_args if name == self.first_model else None,
                progress=progress,
            )
            with self._lock:
                self._models[name] = loaded
                self._evict()
            return loaded

    def _known(self, name: str) -> LoadedModel | None:
        with self._lock:
            if name in self._models:
                self._models.move_to_end(name)
            return self._models.get(name)

    def scored(
        self, name: str, contrast: ContrastSet, behavior: Behavior | None = None, *, progress: Progress | None = None
    ) -> Scored:
        """Means, directions, scores and what gates are fitted on, computed once.

        `behavior` is the one whose examples these are, in either order; None if they are a visitor's own.
        """
        loaded = self.model(name)
        known = self.cached(loaded, contrast, behavior)
        if known is not None:
            return known
        texts = gate_texts(loaded, contrast, behavior)
        n_prompts = 0 if texts is None else len(texts.on) + len(texts.off)
        steps = len(contrast.positive) + len(contrast.negative) + 2 * n_prompts
        stages = Stages(progress, extraction=steps, suggestions=SUGGESTION_STEPS if texts else 0)
        read = stages.of("extraction")
        extraction = self._of_swapped(loaded, contrast, behavior, read)
        if extraction is None:
            extraction = extract_cached(
                loaded, contrast, texts=texts, outliers=self.outliers, cache=self.cache, progress=read
            )
        suggestions: tuple[Suggestion, ...] = ()
        if texts is not None:
            suggestions = suggest_cached(
                loaded, extraction, contrast, texts, outliers=self.outliers, cache=self.cache,
                progress=in_steps(stages.of("suggestions"), SUGGESTION_STEPS),
            )  # fmt: skip
        stages.finish()
        return self.keep_scored(Scored(contrast, extraction, suggestions, self._key(loaded, contrast, behavior)))

    def cached(self, loaded: LoadedModel, contrast: ContrastSet, behavior: Behavior | None = None) -> Scored | None:
        return self.kept_scored(self._key(loaded, contrast, behavior))

    def _key(self, loaded: LoadedModel, contrast: ContrastSet, behavior: Behavior | None) -> str:
        """Names an extraction by the content of all that it rests on."""
        about = loaded.text_fingerprint, contrast.content_hash, behavior
        if about not in self._keys:  # the texts of a gate are looked through for those that the model can answer
            texts = gate_texts(loaded, contrast, behavior)
            with self._lock:
                if len(self._keys) >= MOST_KEYS:
                    self._keys.clear()
                self._keys[about] = "-".join((*about[:2], texts.content_hash if texts else "none"))
        return self._keys[about]

    def keep_scored(self, scored: Scored) -> Scored:
        """Keep an extraction under its key, and forget those unused longest."""
        return self._scored.keep(scored.key, scored, self._is_full)

    def kept_scored(self, key: str) -> Scored | None:
        """An extraction by its key; None if it was never made here, or is forgotten."""
        return self._scored.find(key)

    def keep_edit(self, brought: Brought) -> Brought:
        """Keep an edit from a file under its key, and forget the one unused longest."""
        return self._edits.keep(brought.key, brought, lambda: len(self._edits) > self.limits.scored_sets)

    def kept_edit(self, key: str) -> Brought | None:
        """An edit from a file by its key; None if it was never brought here, or is forgotten."""
        return self._edits.find(key)

    def _is_full(self) -> bool:
        size = sum(map(token_bytes, self._scored.values()))
        return len(self._scored) > self.limits.scored_sets or size > self.limits.scored_megabytes * 1e6

    def _of_swapped(
        self, loaded: LoadedModel, contrast: ContrastSet, behavior: Behavior | None, progress: Progress | None
    ) -> Extraction | None:
        """The extraction from that of the other order of the sides; the model runs only for texts that are others."""
        turned = swapped(contrast)
        other = self.cached(loaded, turned, behavior)
        if other is None or not isinstance(other.means, ActivationMeans):
            return None
        means = _turned_means(other.means, contrast)
        extraction = score_along(loaded, means, steering_directions(loaded, means))
        here, there = (gate_texts(loaded, it, behavior) for it in (contrast, turned))
        if here is None or (there is not None and here.content_hash == there.content_hash):
            inputs = other.extraction.token_inputs if here else None
        else:
            inputs = capture_token_inputs(loaded, here, progress=progress)
        return replace(extraction, token_inputs=inputs)

    def _source(self, name: str) -> str | Path:
        if name in self.sources:
            return self.sources[name]
        name = hub_name(name)
        found = HUB_ID.fullmatch(name)
        if found is None:
            raise ModelLoadError(f'There is no model "{name[:80]}" here. Choose one from the list.')
        if (
            not self.hub or Path(name).exists() or Path(*Path(found[1]).parts[:2]).exists()
        ):  # a name must never reach a folder that the operator did not offer
            raise ModelLoadError(
                f'Loading "{name[:80]}" from the Hub is switched off here. '
                "Start the program on your own machine with --allow-hub, or choose a model from the list."
            )
        return name

    def _evict(self) -> None:
        """Keep the first model and the ones used last; visitors who hold an older one load it again."""
        spare = [name for name in self._models if name != self.first_model]
        for name in spare[: max(0, len(self._models) - self.limits.models)]:
            del self._models[name]
            self._variants.drop([each for each in self._variants if split_text(each)[0] == name])


def _turned_means(means: ActivationMeans, contrast: ContrastSet) -> ActivationMeans:
    """The means of the same examples, with the sides as in `contrast`."""
    return replace(
        means,
        positive=means.negative,
        negative=means.positive,
        n_positive=means.n_negative,
        n_negative=means.n_positive,
        provenance=replace(means.provenance, contrast_name=contrast.name, contrast_hash=contrast.content_hash),
    )
