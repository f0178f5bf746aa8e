"""A model in memory: where its heads and neurons are, their weights, their names, its tokens."""

from .experts import Call, watch
from .gguf_origin import GGUFOrigin
from .loaded import LoadedModel
from .names import component_label, component_name, component_namer, grid_parts, remarks
from .placement import (
    QUANTIZE,
    SPREAD,
    Placement,
    Quantize,
    bytes_by_device,
    embedding,
    is_quantized,
    offload_maps,
    parameter_count,
    parse_memory_limits,
    read_parameter,
    running_device,
    weight_identities,
)
from .probe import verify_sites
from .sites import find_sites, refuse_by_name
from .tokens import (
    begins_in_thought,
    example_ids,
    folds_system,
    has_chat_template,
    is_encodable,
    prompt_ids,
    rendered_prompt,
    response_text,
)
from .weights import site_weight, stored_weight, weight_blocks

__all__ = [
    "Call",
    "GGUFOrigin",
    "LoadedModel",
    "Placement",
    "QUANTIZE",
    "Quantize",
    "SPREAD",
    "begins_in_thought",
    "bytes_by_device",
    "component_label",
    "component_name",
    "embedding",
    "example_ids",
    "find_sites",
    "folds_system",
    "grid_parts",
    "has_chat_template",
    "stored_weight",
    "is_quantized",
    "is_encodable",
    "parse_memory_limits",
    "component_namer",
    "offload_maps",
    "parameter_count",
    "prompt_ids",
    "refuse_by_name",
    "remarks",
    "rendered_prompt",
    "response_text",
    "running_device",
    "site_weight",
    "verify_sites",
    "watch",
    "weight_blocks",
    "weight_identities",
    "read_parameter",
]
