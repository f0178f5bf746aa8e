"""Load a model and its tokenizer, read-only, with everything the other stages need to know about it.

Knows disk and Hub, devices and dtypes. Only safetensors weights are read and no code from a repository is ever run.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import torch
from huggingface_hub import snapshot_download
from huggingface_hub.errors import (
    GatedRepoError,
    HfHubHTTPError,
    HFValidationError,
    LocalEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from safetensors import SafetensorError
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase

from .architecture import find_sites, verify_sites
from .chat import has_chat_template, prompt_ids
from .errors import ModelLoadError
from .spec import ModelSpec
from .types import LoadedModel

BUNDLED = "bundled"
BUNDLED_MODEL = Path(__file__).resolve().parent.parent / "assets" / "demo_model"
NEEDED_FILES = ("*.safetensors", "*.json", "*.txt", "*.model", "*.jinja", "README.md", "LICENSE*")


def load_model(
    source: str | Path,
    *,
    device: str | torch.device | None = None,
    dtype: torch.dtype | None = None,
    revision: str | None = None,
) -> LoadedModel:
    """Load a causal language model from "bundled", a local folder or a Hub id, and verify its heads and neurons.

    By default it runs on the GPU in the stored dtype where there is one, else on the CPU in fp32 (a CPU without
    matrix instructions for bf16 is several times slower in it). Raises ModelLoadError for a source that cannot be read
    and UnsupportedModelError for a model whose components cannot be located.
    """
    folder, model_id, found_revision = _resolve(source, revision)
    device = default_device() if device is None else _device(device)
    model, tokenizer = _read(folder, model_id, device, dtype)
    spec = verify_sites(model, find_sites(model))
    return LoadedModel(
        model=model,
        tokenizer=tokenizer,
        spec=spec,
        model_id=model_id,
        revision=found_revision,
        source=folder,
        fingerprint=fingerprint(model, spec),
        warnings=_tokenizer_warnings(tokenizer),
    )


def default_device() -> torch.device:
    """The fastest device of this machine."""
    if torch.cuda.is_available():
        return torch.device("cuda")
    return torch.device("mps" if torch.backends.mps.is_available() else "cpu")


def _device(device: str | torch.device) -> torch.device:
    try:
        return torch.empty(0, device=device).device
    except (RuntimeError, AssertionError):  # an unknown name, or a kind of device this build of torch lacks
        raise ModelLoadError(f"This machine has no device {device}. Use cpu, or the name of an existing GPU.") from None


def fingerprint(model: PreTrainedModel, spec: ModelSpec) -> str:
    """SHA-256 over the names, shapes and the row and column sums of the weights of all sites, hexadecimal.

    The sums are of the bits of the bf16 values, as whole numbers: exact on every device, changed by any one value, and
    the same whether the checkpoint was loaded as bf16 or fp32.
    """
    digest = hashlib.sha256(spec.model_type.encode())
    for site in spec.sites:
        bits = model.get_submodule(site.name).weight.detach().to(torch.bfloat16).view(torch.int16)
        digest.update(f"{site.name} {site.n_components} {site.width} {tuple(bits.shape)}".encode())
        for dim in (0, 1):
            digest.update(bits.sum(dim, dtype=torch.int64).cpu().numpy().tobytes())
    return digest.hexdigest()


def _resolve(source: str | Path, revision: str | None) -> tuple[Path, str, str | None]:
    """(folder with the checkpoint, model id to show and to record, revision)."""
    if source == BUNDLED:
        source = BUNDLED_MODEL
    folder = Path(source)
    if folder.is_dir():
        if not (folder / "config.json").is_file():
            raise ModelLoadError(
                f"The folder {folder.name} has no config.json. Choose the folder of a saved transformers model."
            )
        return folder.resolve(), folder.resolve().name, None
    if folder.is_absolute() or folder.exists() or str(source).startswith("."):
        raise ModelLoadError(f"There is no model folder {folder.name}. Choose an existing folder or a Hub id.")
    downloaded = Path(_download(str(source), revision))
    return downloaded, str(source), downloaded.name  # a snapshot's folder is named after its commit


def _download(model_id: str, revision: str | None) -> str:
    try:
        return snapshot_download(model_id, revision=revision, allow_patterns=list(NEEDED_FILES))
    except HFValidationError:
        raise ModelLoadError(
            f'"{model_id}" is neither an existing folder nor a Hub id of the form owner/name.'
        ) from None
    except GatedRepoError:
        raise ModelLoadError(
            f"{model_id} is gated: accept its licence on the Hub and set HF_TOKEN on this machine."
        ) from None
    except RevisionNotFoundError:
        raise ModelLoadError(f"{model_id} has no revision {revision}. Check the branch or commit.") from None
    except RepositoryNotFoundError:
        raise ModelLoadError(
            f"There is no model {model_id} on the Hub, or it is private. Check the name, or set HF_TOKEN."
        ) from None
    except (LocalEntryNotFoundError, HfHubHTTPError, OSError) as error:
        raise ModelLoadError(
            f"{model_id} could not be downloaded ({type(error).__name__}). Check the connection, or use a local folder."
        ) from error


def _read(
    folder: Path, model_id: str, device: torch.device, dtype: torch.dtype | None
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    if not any(folder.glob("*.safetensors")):
        raise ModelLoadError(
            f"{model_id} has no .safetensors weights, the only format this program reads. Convert the model first."
        )
    try:
        config = AutoConfig.from_pretrained(folder, trust_remote_code=False)
        chosen = dtype or (torch.float32 if device.type == "cpu" else "auto")
        model, report = AutoModelForCausalLM.from_pretrained(
            folder,
            config=config,
            dtype=chosen,
            use_safetensors=True,
            trust_remote_code=False,
            output_loading_info=True,
        )
        tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
    except (SafetensorError, OSError, ValueError, KeyError, RuntimeError) as error:
        reason = " ".join(str(error).split())[:300].replace(str(folder) + os.sep, "").replace(str(folder), model_id)
        raise ModelLoadError(f"{model_id} could not be loaded: {reason}") from error
    if report["missing_keys"]:  # transformers would go on with random numbers
        raise ModelLoadError(
            f"{model_id} lacks the weights {', '.join(sorted(report['missing_keys'])[:3])}. Download or save it again."
        )
    try:
        return model.eval().requires_grad_(False).to(device), tokenizer
    except torch.OutOfMemoryError:
        raise ModelLoadError(
            f"{model_id} does not fit into the memory of {device}. Choose a smaller model, a smaller dtype or the CPU."
        ) from None


def _tokenizer_warnings(tokenizer: PreTrainedTokenizerBase) -> tuple[str, ...]:
    """What a person should know before trusting the texts: round trip, chat template, doubled BOS."""
    warnings = []
    probe = "Hello, how are you? 12 + 3 = 15."
    decoded = tokenizer.decode(tokenizer(probe, add_special_tokens=False)["input_ids"])
    if decoded.strip() != probe:
        warnings.append("The tokenizer does not give back a simple sentence unchanged; it may not fit this model.")
    if not has_chat_template(tokenizer):
        warnings.append("This model has no chat template: prompts are continued as plain text.")
    if prompt_ids(tokenizer, probe).count(tokenizer.bos_token_id) > 1:
        warnings.append("Prompts start with more than one BOS token.")
    return tuple(warnings)
