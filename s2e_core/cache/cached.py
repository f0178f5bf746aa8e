"""Extract with a cache: from the disk if an earlier run has done the work, else with the model, and then stored.

Knows the order of looking up, computing and storing; no file and no formula.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace

from s2e_core.data import GateTexts
from s2e_core.errors import SettingsError
from s2e_core.measure import Suggestion, suggest, suggestions_from_json, suggestions_to_json
from s2e_core.method import capture_token_inputs, extract
from s2e_core.model import LoadedModel
from s2e_core.progress import Progress
from s2e_core.values import OUTLIERS, ContrastSet, Extraction, Outliers

from .folder import ExtractionCache
from .key import ExtractionKey

SUGGESTIONS = "suggestions"
"""Name of the suggested settings beside an extraction."""


def extract_cached(
    loaded: LoadedModel,
    contrast: ContrastSet,
    *,
    texts: GateTexts | None = None,
    outliers: Outliers = OUTLIERS,
    cache: ExtractionCache | None = None,
    progress: Progress | None = None,
) -> Extraction:
    """The same value as `extract`, from the cache if it is there; without a cache, `extract` itself.

    If only the examples were read before, only the texts are read now. `progress` is not called for what the cache
    has. Raises what `extract` raises; a cache that cannot be read or written is no error.
    """
    if cache is None:
        return extract(loaded, contrast, texts=texts, outliers=outliers, progress=progress)
    key = ExtractionKey(loaded, contrast, texts, outliers)
    extraction = cache.load(key)
    if extraction is None:
        extraction = _extract_rest(cache, key, progress)
        cache.store(key, extraction)
    return extraction


def suggest_cached(
    loaded: LoadedModel,
    extraction: Extraction,
    contrast: ContrastSet,
    texts: GateTexts,
    *,
    outliers: Outliers = OUTLIERS,
    cache: ExtractionCache | None = None,
    progress: Progress | None = None,
) -> tuple[Suggestion, ...]:
    """The same value as `suggest`, from the cache if it is there. `progress` and errors are those of `suggest`."""
    key = ExtractionKey(loaded, contrast, texts, outliers)
    if cache is not None:
        known = cache.load_extra(key).get(SUGGESTIONS)
        with suppress(KeyError, TypeError, ValueError, SettingsError):  # of another version: made again
            if known:
                return suggestions_from_json(known, loaded.spec)
    made = suggest(loaded, extraction, contrast, texts, progress=progress)
    if cache is not None:
        cache.store_extra(key, {SUGGESTIONS: suggestions_to_json(made)})
    return made


def _extract_rest(cache: ExtractionCache, key: ExtractionKey, progress: Progress | None) -> Extraction:
    loaded, texts = key.loaded, key.texts
    known = None if texts is None else cache.load(replace(key, texts=None))
    if known is None or texts is None:
        return extract(loaded, key.contrast, texts=texts, outliers=key.outliers, progress=progress)
    return replace(known, token_inputs=capture_token_inputs(loaded, texts, progress=progress))
