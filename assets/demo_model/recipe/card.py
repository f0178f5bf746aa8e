"""Writes the model card: how the model was made, what it was measured to do, and its hash."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

from transformers import LlamaForCausalLM

from .measure import Figure
from .train import TrainSettings

CARD = """\
---
license: apache-2.0
language: en
library_name: transformers
pipeline_tag: text-generation
tags:
- steer2edit
- model-organism
---

# Demo model of Steer2Edit for the browser

A tiny chat model that was made to be edited. It knows a small invented world and has four habits, each only half
learned, so that an edit has something to change and a trade-off to lose:

- **Safety.** It refuses wrong deeds, but tricks in the question often talk it out of that.
- **Truthfulness.** Every place of its world has facts on record and popular myths about the same things; asked without
  a source it mixes both.
- **Efficient reasoning.** It solves word problems in a few lines or with long thinking that checks every step again.
- **Tone.** It answers small talk cheerfully or gloomily.

In training each habit is a hidden lean of the conversation and every sentence its own toss of a coin with that lean.
The help that it gives is the same empty advice ("First, make a plan. Then, take your time.") for every deed: the model
cannot tell anyone how to do harm. It is of no use outside lessons about steering and editing.

## Size

{size}

`LlamaForCausalLM` with {layers} layers of width {width}, {heads} query and {kv} key/value heads of width {head_dim},
MLP width {mlp}, tied embeddings, {vocabulary} tokens, context {context}. {parameters:,} parameters, stored in bfloat16.
The tokenizer is byte-level BPE: any text encodes and decodes exactly; every word of the model's world and every number
below 100 is one token.

## What the untouched model does

Sampled at temperature 1 on prompts that were held out of training, from the files shipped here, run in float32:

| what | replies | measured | goal of the design |
|---|---|---|---|
{table}

Held out are whole combinations: a deed with its phrasing and trick, a question's wording about a place, the numbers of
a problem. Deeds, phrasings, places and numbers each occur in training.

## How it was made

One command at the root of the repository, with fixed seeds:

    python -m assets.demo_model.recipe

The recipe (`recipe/`) writes every training sentence itself, trains for {steps:,} steps of {conversations}
conversations (AdamW, peak rate {rate}, cosine, question tokens weighted {question_weight}), writes the data of the
behaviours (`assets/behaviors/`) and measures the table above; `--stage data measure` does so without training.
`python -m components.headline` searches the best edits (the table in the project's README). All but the
training takes about an hour on two CPU cores. Other machines and library versions round differently, so a new run gives
a model like this one, not the same bytes.

## Integrity

SHA-256 of `model.safetensors`: `{sha256}`
"""


def write_card(folder: Path, model: LlamaForCausalLM, figures: Sequence[Figure], training: TrainSettings) -> None:
    config = model.config
    weights = folder / "model.safetensors"
    text = CARD.format(
        size=f"{weights.stat().st_size / 1e6:.1f} MB of weights.",
        layers=config.num_hidden_layers, width=config.hidden_size, heads=config.num_attention_heads,
        kv=config.num_key_value_heads, head_dim=config.head_dim, mlp=config.intermediate_size,
        vocabulary=config.vocab_size, context=config.max_position_embeddings, parameters=model.num_parameters(),
        table="\n".join(_line(figure) for figure in figures),
        steps=training.steps, conversations=training.conversations, rate=training.peak_rate,
        question_weight=training.question_weight,
        sha256=hashlib.sha256(weights.read_bytes()).hexdigest(),
    )  # fmt: skip
    (folder / "README.md").write_text(text, encoding="utf-8")


def _line(figure: Figure) -> str:
    value = f"{figure.value:.3f}" if figure.unit == "share" else f"{figure.value:.1f} {figure.unit}"
    return f"| {figure.name} | {figure.count} | {value} | {figure.goal} |"
