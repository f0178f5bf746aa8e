"""Make an ordinary checkpoint of a GGUF file, once: dequantised by transformers, written as safetensors.

Everything else then reads the checkpoint, as it reads any other. It stays in a folder of the Hub's cache, because
transformers takes ten times as long to read the GGUF file; it may be deleted at any time.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
import transformers
from huggingface_hub import constants
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer, GgufConfig

from s2e_core.errors import ModelLoadError, S2EError
from s2e_core.files import CARD
from s2e_core.model import GGUFOrigin
from s2e_core.text import dtype_name, readable_size

from .config import check_config
from .file_names import BESIDE_GGUF
from .gguf_header import GGUFHeader, explain_unreadable, read_header
from .memory import available_memory, is_out_of_memory

if TYPE_CHECKING:
    from transformers import PreTrainedModel

ORIGIN = "origin.json"
"""File beside the checkpoint with the number formats."""
SHARD_SIZE = "5GB"
LARGEST_FLOAT16 = 65504.0
LAYOUT = 1
"""Version of the folders that this file writes."""


@dataclass(frozen=True, eq=False)
class GGUFFile:
    """A GGUF file, and where it comes from."""

    folder: Path
    """Local folder, or the snapshot of a repository of the Hub."""
    file: str
    """Path of the file inside the folder."""
    repository: str = ""
    """Hub id; empty for a local file."""

    @property
    def path(self) -> Path:
        return self.folder / self.file

    @property
    def model_id(self) -> str:
        """Name to show and to record."""
        return f"{self.repository}/{self.file}" if self.repository else self.file


def unpack(source: GGUFFile) -> tuple[Path, GGUFOrigin]:
    """Return (folder of the checkpoint made from a GGUF file, where its numbers come from).

    The first call dequantises the file in memory (4 bytes a weight) and writes 2 bytes a weight. Raises ModelLoadError
    if the file cannot be read or memory or disk are too small, and UnsupportedModelError for a type that cannot be
    edited.
    """
    folder = _folder(source.path)
    if not (folder / ORIGIN).is_file():
        _unpack(source, folder)
    facts = json.loads((folder / ORIGIN).read_text(encoding="utf-8"))
    origin = GGUFOrigin(source.path, source.repository, source.file, **facts)
    return folder / source.path.stem, origin


def cache_folder() -> Path:
    """Folder that contains the checkpoints made from GGUF files."""
    return Path(constants.HF_HOME) / "steer2edit"


def _folder(path: Path) -> Path:
    """Folder for the checkpoint of a file: another one if the file or transformers changes."""
    status = path.stat()
    key = f"{path.resolve()} {status.st_size} {status.st_mtime_ns} {transformers.__version__} {LAYOUT}"
    return cache_folder() / f"{path.stem}-{hashlib.sha256(key.encode()).hexdigest()[:16]}"


def _unpack(source: GGUFFile, folder: Path) -> None:
    header = read_header(source.path, source.model_id)
    place = {"pretrained_model_name_or_path": str(source.folder), "gguf_file": source.file}
    try:
        config = AutoConfig.from_pretrained(**place, trust_remote_code=False)
        check_config(config.to_dict(), source.model_id)
        _check_memory(source.model_id, header)
        with appearing(folder, source.model_id) as temporary:
            model = _read(config, place, source.model_id)
            dtype = _choose_dtype(header, model)
            checkpoint = temporary / source.path.stem
            model.to(dtype).save_pretrained(checkpoint, max_shard_size=SHARD_SIZE)
            AutoTokenizer.from_pretrained(**place, trust_remote_code=False).save_pretrained(checkpoint)
            _copy_licence(source.folder, header, checkpoint)
            facts = {"formats": " and ".join(header.formats), "dtype": dtype_name(dtype)}
            (temporary / ORIGIN).write_text(json.dumps(facts), encoding="utf-8")
    except S2EError:
        raise
    except Exception as error:  # metadata of another program can cause any error
        if is_out_of_memory(error):
            raise
        raise ModelLoadError(explain_unreadable(source.model_id, header.architecture, error)) from error


def _read(config: Any, place: dict[str, str], model_id: str) -> PreTrainedModel:
    """Read and dequantise the weights as fp32. Raises ModelLoadError if some are missing."""
    model, report = AutoModelForCausalLM.from_pretrained(
        **place,
        config=config,
        dtype=torch.float32,
        # Without this, transformers may fetch compiled kernels that multiply the packed weights.
        quantization_config=GgufConfig(dequantize=True),
        trust_remote_code=False,
        output_loading_info=True,
    )
    if missing := sorted(report["missing_keys"]):
        raise ModelLoadError(
            f"{model_id} could not be loaded: transformers {transformers.__version__} finds no weights for "
            f"{', '.join(missing[:3])} in it. Choose the transformers model that it was made from."
        )
    return _without_quantizer(model)


def _without_quantizer(model: PreTrainedModel) -> PreTrainedModel:
    """Remove what marks the model as quantised, which would forbid to save it."""
    for name in ("hf_quantizer", "quantization_method"):
        if name in vars(model):
            delattr(model, name)
    model.is_quantized = False
    if hasattr(model.config, "quantization_config"):
        del model.config.quantization_config
    return model


def _choose_dtype(header: GGUFHeader, model: PreTrainedModel) -> torch.dtype:
    """Choose the number format of the checkpoint: that of the file, and float16 for quantised numbers.

    The scales of all quantised formats are float16, so it loses far less than the quantisation did.
    """
    plain = {"F32": torch.float32, "BF16": torch.bfloat16, "F16": torch.float16}
    if all(name in plain for name in header.formats):
        return plain[header.formats[0]]
    largest = max(float(parameter.detach().abs().max()) for parameter in model.parameters())
    return torch.float16 if largest <= LARGEST_FLOAT16 else torch.float32


def _check_memory(model_id: str, header: GGUFHeader) -> None:
    need, free = 4 * header.n_numbers, available_memory(torch.device("cpu"))
    if free is not None and need > free:
        raise ModelLoadError(
            f"Dequantising {model_id} needs {readable_size(need)} of memory, and {readable_size(free)} are free. "
            "Choose a smaller model or a machine with more memory."
        )
    cache = next(path for path in (cache_folder(), *cache_folder().parents) if path.is_dir())
    need, free = 2 * header.n_numbers, shutil.disk_usage(cache).free
    if need > free:
        raise ModelLoadError(
            f"The dequantised weights of {model_id} need {readable_size(need)} on the disk, and {readable_size(free)} "
            "are free. Make room, or set HF_HOME to a folder on a larger disk."
        )


@contextmanager
def appearing(folder: Path, model_id: str) -> Iterator[Path]:
    """Provide a temporary folder that becomes `folder` if the block ends without an error."""
    try:
        temporary = folder.with_name(f".{folder.name}.{uuid.uuid4().hex[:8]}.unfinished")
        temporary.mkdir(parents=True)
    except OSError as error:
        raise ModelLoadError(
            f"The dequantised weights of {model_id} cannot be saved: the cache is not writable ({error.strerror}). Set "
            "HF_HOME to a folder that you may write to."
        ) from error
    try:
        yield temporary
        if not folder.exists():  # another process may have been faster
            os.replace(temporary, folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _copy_licence(source: Path, header: GGUFHeader, target: Path) -> None:
    """Copy card and licence from the folder of the file; without a card, write one with the licence that it states."""
    if header.licence:
        (target / CARD).write_text(f"---\nlicense: {header.licence}\n---\n", encoding="utf-8")
    for path in (path for pattern in BESIDE_GGUF for path in source.glob(pattern) if path.is_file()):
        shutil.copyfile(path, target / path.name)
