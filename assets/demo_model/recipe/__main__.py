"""Makes the demo model: `python -m assets.demo_model.recipe` from the repository root.

Three stages, each of which can be run alone: `train` writes the weights and the tokenizer, `data` the files of the
behaviours, `measure` the model card. `components.headline` measures what edits and steering reach on it.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from transformers import GenerationConfig

from s2e_core import load_model

from .behavior_data import write_behaviors
from .card import write_card
from .measure import measure
from .tokenizer import build_tokenizer, save_tokenizer
from .train import TrainSettings, new_model, train, vocabulary_texts

MODEL_FOLDER = Path(__file__).resolve().parents[1]
STAGES = ("train", "data", "measure")


def main() -> None:
    arguments = _parse()
    torch.set_num_threads(arguments.threads)
    if "train" in arguments.stage:
        _train(arguments)
    loaded = load_model(arguments.model, device=arguments.device, dtype=torch.float32)
    if "data" in arguments.stage:
        write_behaviors(loaded, arguments.behaviors)
    if "measure" in arguments.stage:
        figures = measure(loaded)
        write_card(arguments.model, loaded.model, figures, TrainSettings(steps=arguments.steps))


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--stage", nargs="+", choices=STAGES, default=list(STAGES))
    parser.add_argument("--steps", type=int, default=TrainSettings.steps)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--checkpoints", type=Path, help="keep a checkpoint every 500 steps here")
    parser.add_argument("--model", type=Path, default=MODEL_FOLDER)
    parser.add_argument("--behaviors", type=Path, default=MODEL_FOLDER.parent / "behaviors")
    return parser.parse_args()


def _train(arguments: argparse.Namespace) -> None:
    settings = TrainSettings(steps=arguments.steps)
    tokenizer = build_tokenizer(vocabulary_texts())
    model = new_model(tokenizer, settings.seed).to(arguments.device)
    print(f"{model.num_parameters():,} parameters, {len(tokenizer)} tokens", flush=True)
    arguments.model.mkdir(parents=True, exist_ok=True)
    save_tokenizer(tokenizer, arguments.model)
    train(model, tokenizer, settings, checkpoints=arguments.checkpoints)
    model.generation_config = GenerationConfig(
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    model.cpu().to(torch.bfloat16).save_pretrained(arguments.model)


if __name__ == "__main__":
    main()
