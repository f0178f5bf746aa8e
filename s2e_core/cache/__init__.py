"""Extractions on the disk, so that a model reads the same examples only once."""

from .cached import extract_cached, suggest_cached
from .extraction_file import load_extraction, save_extraction
from .folder import MOST_BYTES, ExtractionCache, cache_folder, default_cache
from .key import ExtractionKey

__all__ = [
    "ExtractionCache",
    "ExtractionKey",
    "MOST_BYTES",
    "cache_folder",
    "default_cache",
    "extract_cached",
    "load_extraction",
    "save_extraction",
    "suggest_cached",
]
