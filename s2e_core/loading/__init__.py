"""From a folder or the Hub to a model in memory, checked before anything is built."""

from .build import Target, budget, read_model
from .data_set import download_data_set, is_data_set
from .files import BUNDLED, BUNDLED_MODEL, SMOLLM2
from .hub_names import HUB_ID, hub_name, split_revision
from .load import load_model
from .memory import WORKING_SHARE, available_memory, estimate_memory, is_out_of_memory
from .residence import describe_weights_size, residence
from .template import read_template_args, template_arguments, with_template_args
from .tokenizer import describe_template, describe_tokenizer

__all__ = [
    "BUNDLED",
    "BUNDLED_MODEL",
    "HUB_ID",
    "SMOLLM2",
    "Target",
    "WORKING_SHARE",
    "available_memory",
    "budget",
    "describe_template",
    "describe_tokenizer",
    "download_data_set",
    "is_data_set",
    "is_out_of_memory",
    "load_model",
    "describe_weights_size",
    "estimate_memory",
    "hub_name",
    "read_model",
    "read_template_args",
    "residence",
    "split_revision",
    "template_arguments",
    "with_template_args",
]
