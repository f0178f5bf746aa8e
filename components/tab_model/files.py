"""The scripts of the model in the tab, and the files of the checkpoint that they run.

Knows files and the tokenizer's chat template; no page and no server.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import torch

from s2e_core.loading import BUNDLED_MODEL
from s2e_core.model import LoadedModel

HERE = Path(__file__).parent
CHECKPOINT = ("config.json", "generation_config.json", "tokenizer.json", "model.safetensors")
"""Files that the scripts read as they are."""
TURN = "turn.json"
IN_APP = "in_page.js"
"""The script that connects the model with the app's page."""
MARK = "<the prompt>"


def scripts() -> tuple[Path, ...]:
    """Those that need no app around them."""
    return tuple(path for path in sorted(HERE.glob("*.js")) if path.name != IN_APP)


def runs_in_tab(loaded: LoadedModel) -> bool:
    """Whether the scripts can run a model as it runs here: they are written for the bundled one in float32."""
    is_bundled = loaded.source.resolve() == BUNDLED_MODEL.resolve() and not loaded.adapter
    return is_bundled and loaded.dtype == torch.float32 and loaded.full_precision is None


def turn(loaded: LoadedModel, system: str | None = None) -> list[str]:
    """What the chat template writes before and after a prompt, after a system prompt if one is given."""
    messages = [*([{"role": "system", "content": system}] if system else []), {"role": "user", "content": MARK}]
    text = str(loaded.tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True))
    return text.split(MARK)


def write_model(loaded: LoadedModel, folder: Path) -> None:
    """Copy the checkpoint's files into a new folder, with the turn of its chat template."""
    folder.mkdir(parents=True)
    for name in CHECKPOINT:
        shutil.copyfile(loaded.source / name, folder / name)
    (folder / TURN).write_text(json.dumps(turn(loaded)), encoding="utf-8")
