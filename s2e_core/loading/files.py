"""Find the files of a model, in a folder or on the Hub, and check them before anything is built.

Reads the configuration, the settings files and the headers of the weights; reads no weight and builds no model.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from s2e_core.bundled import BUNDLED_FOLDER
from s2e_core.errors import ExportError, ModelLoadError
from s2e_core.files import INDEX, SINGLE, Checkpoint, open_checkpoint
from s2e_core.progress import Progress

from . import hub
from .config import check_config, read_json
from .file_names import CONFIG, check_names
from .quantized import check_number_formats, check_stored, read_quantization_method
from .quanto_file import MAP

BUNDLED = "bundled"
BUNDLED_MODEL = BUNDLED_FOLDER / "demo_model"
TOKENIZER_CONFIG = "tokenizer_config.json"
SETTINGS_FILES = (
    TOKENIZER_CONFIG, "tokenizer.json", "special_tokens_map.json", "added_tokens.json", "generation_config.json"
)  # fmt: skip
"""Settings files beside config.json, all optional."""


@dataclass(frozen=True, eq=False)
class ModelFiles:
    """A folder from which a model can be built."""

    folder: Path
    model_id: str
    """Name to show and to record."""
    revision: str | None
    """Commit on the Hub; None for a folder outside the Hub's cache."""
    config: Mapping[str, Any]
    """Content of config.json."""
    checkpoint: Checkpoint
    method: str | None
    """Method by which the stored weights are quantised; None if they are not."""


def find_files(source: str | Path, *, revision: str | None = None, progress: Progress | None = None) -> ModelFiles:
    """Find the files of "bundled", a local folder or a Hub id, which may include a revision: owner/name@revision.

    `progress` receives the bytes of a download. Raises ModelLoadError if the files cannot be read, are damaged or are
    not a causal language model, and UnsupportedModelError if the model's type cannot be edited.
    """
    folder, model_id, commit = _locate(source, revision, progress)
    config = read_json(folder / CONFIG, model_id)
    check_config(config, model_id)
    for name in SETTINGS_FILES:
        if (folder / name).is_file():
            read_json(folder / name, model_id)
    method = read_quantization_method(config) or ("quanto" if (folder / MAP).is_file() else None)
    check_stored(method, model_id)
    checkpoint = _open_checkpoint(folder, model_id)
    check_number_formats({name: tensor.dtype for name, tensor in checkpoint.tensors().items()}, method, model_id)
    return ModelFiles(folder, model_id, commit, config, checkpoint, method)


def _locate(source: str | Path, revision: str | None, progress: Progress | None) -> tuple[Path, str, str | None]:
    """Return (folder, model id, revision)."""
    folder = BUNDLED_MODEL if source == BUNDLED else Path(source)
    try:
        if folder.is_dir():
            folder = folder.resolve()
            check_names(folder.name, [path.name for path in folder.iterdir()])
            return folder, *_read_snapshot_name(folder)
        is_file = folder.is_file()
    except OSError as error:  # no permission, or a name that is too long
        raise ModelLoadError(f"The folder {folder.name[:80]} cannot be opened ({error.strerror}).") from error
    if is_file:
        if folder.suffix == ".gguf":
            check_names(folder.name, [folder.name])
        raise ModelLoadError(f"{folder.name} is a file. Name the folder that contains the whole model.")
    if folder.is_absolute() or str(source).startswith("."):
        raise ModelLoadError(f"The model folder {folder.name} does not exist. Choose an existing folder or a Hub id.")
    if revision is None:
        source, revision = hub.split_revision(source)
    downloaded = hub.download(str(source), revision, progress=progress)
    return downloaded, str(source), downloaded.name  # a snapshot's folder is named after its commit


def _read_snapshot_name(folder: Path) -> tuple[str, str | None]:
    """Return (model id, revision) of a folder; a folder in the Hub's cache is named after its commit alone."""
    repository = folder.parents[1].name if folder.parent.name == "snapshots" else ""
    if not repository.startswith("models--"):
        return folder.name, None
    return repository.removeprefix("models--").replace("--", "/"), folder.name


def _open_checkpoint(folder: Path, model_id: str) -> Checkpoint:
    """Read the headers of the weights, so that a damaged file is reported before anything is built."""
    if not any((folder / name).exists() for name in (SINGLE, INDEX)):  # broken links
        raise ModelLoadError(
            f"The weights of {model_id} are links to files that no longer exist. Download the model again."
        )
    try:
        return open_checkpoint(folder)
    except ExportError as error:
        raise ModelLoadError(f"{model_id} could not be loaded: {error}") from error
