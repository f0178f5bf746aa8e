"""Bytes on the disk: checkpoints tensor by tensor, copies, files and folders that appear only when complete."""

from .checkpoint import (
    FLOATS,
    INDEX,
    SINGLE,
    Checkpoint,
    CheckpointError,
    Shard,
    StoredTensor,
    open_checkpoint,
    read_bytes,
    read_rows,
    read_shard,
)
from .companions import CARD, LICENCES, is_companion
from .copying import Meter, Span, copy_alongside, copy_file, open_source, write_files, write_pieces
from .gguf_file import GGUFError, encode_gguf, read_gguf
from .growing_file import GrowingFile, Kind, growing_file, read_lines
from .staging import LEFTOVER, check_empty, stage_folder, write_whole

__all__ = [
    "CARD",
    "Checkpoint",
    "CheckpointError",
    "FLOATS",
    "GGUFError",
    "GrowingFile",
    "INDEX",
    "Kind",
    "LICENCES",
    "LEFTOVER",
    "Meter",
    "SINGLE",
    "Shard",
    "Span",
    "StoredTensor",
    "check_empty",
    "copy_alongside",
    "copy_file",
    "encode_gguf",
    "growing_file",
    "is_companion",
    "read_lines",
    "open_checkpoint",
    "open_source",
    "read_bytes",
    "read_gguf",
    "read_rows",
    "read_shard",
    "stage_folder",
    "write_files",
    "write_pieces",
    "write_whole",
]
