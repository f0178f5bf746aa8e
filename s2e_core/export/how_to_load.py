"""How each kind of export is loaded, as text for its model card: a snippet with its number format, and what to know."""

from __future__ import annotations

from typing import Literal

from s2e_core.model import LoadedModel
from s2e_core.text import dtype_name
from s2e_core.values import WeightEdit

CardKind = Literal["checkpoint", "adapter", "gguf-lora", "mlx"]

PLACEHOLDER = "path/to/"
"""Beginning of a path that a person has to fill in."""
GGUF_FILE = "steer2edit-lora.gguf"
MLX_FILE = "adapters.safetensors"
_CHECKPOINT = """```python
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

model = AutoModelForCausalLM.from_pretrained("path/to/this/folder", dtype={dtype})
tokenizer = AutoTokenizer.from_pretrained("path/to/this/folder")
```

{same_format}"""
_ADAPTER = """```python
import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM, AutoTokenizer

base = AutoModelForCausalLM.from_pretrained({base!r}{options}, dtype={dtype})
model = PeftModel.from_pretrained(base, "path/to/this/folder")
tokenizer = AutoTokenizer.from_pretrained({base!r}{options})
```

{same_format}"""
_GGUF_LORA = """```bash
llama-server -m {gguf} --lora {file}               # the edit
llama-server -m {gguf} --lora-scaled {file}:0.5    # half of it
```

While it runs, `POST /lora-adapters` with `[{{"id": 0, "scale": 0.5}}]` sets another strength; 0 is the untouched model.
The base may be quantised: the edit is not. The edit was made in {number_format}; with the base as F32, greedy answers
are those that were shown, and in another number format some of them differ."""
_MLX = """```python
from mlx_lm import generate, load

model, tokenizer = load({base!r}, adapter_path="path/to/this/folder")
```

The base may be quantised by MLX. MLX runs it in its own number format; the edit was made in {number_format}, and in
another one some greedy answers differ. `scale` in `adapter_config.json` is the strength of the edit."""
_SAME_FORMAT = "This is the number format in which the edit was made; in another one some greedy answers differ."
_EXPERTS_NOTE = (
    "\n\nPEFT adds the change of a mixture of experts in the number format of the loaded base. Load the base with "
    "`dtype=torch.float32` so that rounding loses no small change."
)


def how_to_load(loaded: LoadedModel, edit: WeightEdit, kind: CardKind) -> str:
    """The section of the card, in Markdown."""
    if kind == "gguf-lora":
        gguf = "base.gguf" if loaded.gguf is None else loaded.gguf.path.name
        return _GGUF_LORA.format(gguf=gguf, file=GGUF_FILE, number_format=dtype_name(loaded.dtype))
    if kind == "mlx":
        return _MLX.format(base=base_to_load(loaded), number_format=dtype_name(loaded.dtype))
    experts = any(edit.spec.sites[i].experts for i in edit.edited_sites())
    template = _CHECKPOINT if kind == "checkpoint" else _ADAPTER
    text = template.format(
        base=base_to_load(loaded), options=_options(loaded), dtype=loaded.dtype, same_format=_SAME_FORMAT
    )
    return text + (_EXPERTS_NOTE if experts and kind == "adapter" else "")


def base_to_load(loaded: LoadedModel) -> str:
    """What to load the base from: its given name, its Hub id, or a path to fill in that is not taken for a Hub id."""
    if loaded.base_name:
        return loaded.base_name
    if loaded.gguf is not None:
        return loaded.gguf.repository or f"{PLACEHOLDER}folder"
    return loaded.model_id if loaded.revision else f"{PLACEHOLDER}{loaded.model_id}"


def _options(loaded: LoadedModel) -> str:
    """Further arguments of `from_pretrained` for the base model, as text."""
    revision = f", revision={loaded.revision!r}" if loaded.revision else ""
    return revision + ("" if loaded.gguf is None else f", gguf_file={loaded.gguf.file!r}")
