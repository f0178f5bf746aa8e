"""From a folder or the Hub to a model in memory, checked before anything is built."""

from .build import Target, budget, read_model
from .files import BUNDLED, BUNDLED_MODEL
from .hub import HUB_ID, split_revision
from .load import load_model
from .memory import WORKING_SHARE, available_memory, is_out_of_memory, memory_need
from .residence import memory_held, residence
from .tokenizer import described_template, described_tokenizer

__all__ = [
    "BUNDLED",
    "BUNDLED_MODEL",
    "HUB_ID",
    "Target",
    "WORKING_SHARE",
    "available_memory",
    "budget",
    "described_template",
    "described_tokenizer",
    "is_out_of_memory",
    "load_model",
    "memory_held",
    "memory_need",
    "read_model",
    "residence",
    "split_revision",
]
