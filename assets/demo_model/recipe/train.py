"""Trains the demo model: a small Llama with grouped-query attention.

Knows how conversations become weighted tokens and how the optimiser runs; the
world says what is talked about. Batches hold answers of similar length.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from random import Random

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from .tokenizer import ASSISTANT, BEGIN, CONTEXT, END, USER
from .world import draw_conversation

TEXTS_FOR_VOCABULARY = 30_000


@dataclass(frozen=True)
class TrainSettings:
    steps: int = 3600
    conversations: int = 60
    microbatches: int = 5
    peak_rate: float = 3e-3
    final_share: float = 0.03
    warmup: int = 150
    weight_decay: float = 0.1
    clip: float = 1.0
    question_weight: float = 0.1
    seed: int = 1


@dataclass(frozen=True)
class Batch:
    tokens: Tensor  # (conversations, length)
    weights: Tensor  # (conversations, length), of predicting each token


def vocabulary_texts(seed: int = 0) -> list[str]:
    rng = Random(seed)
    drawn = (draw_conversation(rng) for _ in range(TEXTS_FOR_VOCABULARY))
    return [text for talk in drawn for text in (talk.prompt, talk.answer)]


def new_model(tokenizer: PreTrainedTokenizerFast, seed: int) -> LlamaForCausalLM:
    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=len(tokenizer), hidden_size=160, intermediate_size=448, num_hidden_layers=6,
        num_attention_heads=8, num_key_value_heads=4, head_dim=20, tie_word_embeddings=True,
        max_position_embeddings=CONTEXT, initializer_range=0.04, rms_norm_eps=1e-5,
        bos_token_id=tokenizer.bos_token_id, eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )  # fmt: skip
    model = LlamaForCausalLM(config)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if name.endswith(("o_proj.weight", "down_proj.weight")):
                weight.mul_(1 / math.sqrt(2 * config.num_hidden_layers))
    return model


def train(
    model: LlamaForCausalLM,
    tokenizer: PreTrainedTokenizerFast,
    settings: TrainSettings,
    *,
    checkpoints: Path | None = None,
    checkpoint_every: int = 500,
) -> None:
    optimizer = _optimizer(model, settings)
    began, running = time.time(), 0.0
    for step, batches in enumerate(_steps(tokenizer, settings, model.device), start=1):
        for group in optimizer.param_groups:
            group["lr"] = settings.peak_rate * _schedule(step, settings)
        running += _step(model, optimizer, batches, settings)
        if step % 50 == 0:
            print(f"step {step} loss {running / 50:.4f} {time.time() - began:.0f}s", flush=True)
            running = 0.0
        if checkpoints and step % checkpoint_every == 0:
            checkpoints.mkdir(parents=True, exist_ok=True)
            torch.save(model.state_dict(), checkpoints / f"step_{step:05d}.pt")


def _step(
    model: LlamaForCausalLM,
    optimizer: torch.optim.Optimizer,
    batches: list[Batch],
    settings: TrainSettings,
) -> float:
    whole = sum(batch.weights[:, 1:].sum() for batch in batches)
    total = 0.0
    for batch in batches:
        logits = model(input_ids=batch.tokens, use_cache=False).logits[:, :-1]
        losses = cross_entropy(logits.flatten(0, 1), batch.tokens[:, 1:].flatten(), reduction="none")
        loss = (losses * batch.weights[:, 1:].flatten()).sum() / whole
        loss.backward()
        total += loss.item()
    torch.nn.utils.clip_grad_norm_(model.parameters(), settings.clip)
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    return total


def _optimizer(model: LlamaForCausalLM, settings: TrainSettings) -> torch.optim.Optimizer:
    matrices = [weight for weight in model.parameters() if weight.dim() >= 2]
    vectors = [weight for weight in model.parameters() if weight.dim() < 2]
    groups = [
        {"params": matrices, "weight_decay": settings.weight_decay},
        {"params": vectors, "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=settings.peak_rate, betas=(0.9, 0.98), fused=True)


def _schedule(step: int, settings: TrainSettings) -> float:
    """Linear warm-up, then half a cosine down to `final_share`."""
    if step < settings.warmup:
        return step / settings.warmup
    done = (step - settings.warmup) / max(1, settings.steps - settings.warmup)
    wave = 0.5 * (1 + math.cos(math.pi * done))
    return settings.final_share + (1 - settings.final_share) * wave


def _steps(tokenizer: PreTrainedTokenizerFast, settings: TrainSettings, device: torch.device) -> Iterator[list[Batch]]:
    rng = Random(settings.seed)
    share = math.ceil(settings.conversations / settings.microbatches)
    for _ in range(settings.steps):
        rows = [_encode(tokenizer, rng, settings) for _ in range(settings.conversations)]
        rows.sort(key=lambda row: len(row[0]))
        parts = [rows[start : start + share] for start in range(0, len(rows), share)]
        yield [_batch(part, tokenizer.pad_token_id, device) for part in parts]


def _encode(tokenizer: PreTrainedTokenizerFast, rng: Random, settings: TrainSettings) -> tuple[list[int], list[float]]:
    talk = draw_conversation(rng)
    begin, user, assistant, end = tokenizer.convert_tokens_to_ids([BEGIN, USER, ASSISTANT, END])
    asked = [begin, user, *tokenizer.encode(talk.prompt, add_special_tokens=False), assistant]
    answered = [*tokenizer.encode(talk.answer, add_special_tokens=False), end]
    weights = [settings.question_weight] * len(asked) + [1.0] * len(answered)
    return asked + answered, weights


def _batch(rows: list[tuple[list[int], list[float]]], pad: int, device: torch.device) -> Batch:
    length = max(len(tokens) for tokens, _ in rows)
    tokens = [row + [pad] * (length - len(row)) for row, _ in rows]
    weights = [row + [0.0] * (length - len(row)) for _, row in rows]
    return Batch(torch.tensor(tokens, device=device), torch.tensor(weights, device=device))
