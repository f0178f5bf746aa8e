"""Take the edit home: checkpoint, adapter, recipe, model card, and the Hub."""

from .adapter import (
    CONFIG_FILE,
    PREFIX,
    WEIGHTS_FILE,
    adapter_change,
    adapter_factors,
    check_edit,
    export_adapter,
    factor_names,
)
from .card import RECIPE_FILE
from .checkpoint import ExportFormat, export_checkpoint, export_size
from .evaluating import EVALUATE_FILE, RUNS, STEERING_FILE, steering_vectors
from .factors import rank_of, site_factors
from .gguf_lora import export_gguf_lora, gguf_lora_factors, gguf_lora_header, tensor_name
from .how_to_load import GGUF_FILE, MLX_FILE, CardKind
from .locating import Piece, locate
from .mlx import export_mlx, mlx_config, mlx_factors
from .published import published_prefix
from .push import check_push, push_to_hub
from .recipe import is_recipe_header, load_edit, save_edit
from .shards import ExportDtype
from .stored_edit import stored_changes

__all__ = [
    "CONFIG_FILE",
    "CardKind",
    "EVALUATE_FILE",
    "ExportDtype",
    "ExportFormat",
    "GGUF_FILE",
    "MLX_FILE",
    "PREFIX",
    "Piece",
    "RECIPE_FILE",
    "RUNS",
    "STEERING_FILE",
    "WEIGHTS_FILE",
    "adapter_factors",
    "adapter_change",
    "check_edit",
    "check_push",
    "export_adapter",
    "export_checkpoint",
    "export_gguf_lora",
    "export_mlx",
    "export_size",
    "gguf_lora_factors",
    "gguf_lora_header",
    "is_recipe_header",
    "load_edit",
    "locate",
    "mlx_config",
    "mlx_factors",
    "published_prefix",
    "push_to_hub",
    "rank_of",
    "save_edit",
    "site_factors",
    "steering_vectors",
    "stored_changes",
    "factor_names",
    "tensor_name",
]
