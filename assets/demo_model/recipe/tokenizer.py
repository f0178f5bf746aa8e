"""A byte-level BPE tokenizer in which every word of the world is one token.

Any other text falls apart into learned pieces or single bytes, and decodes to
exactly itself. Numbers below 100 are one token, so that sums are made of facts.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

BEGIN, END, USER, ASSISTANT, PAD = "<|begin|>", "<|end|>", "<|user|>", "<|assistant|>", "<|pad|>"
SPECIAL = (PAD, BEGIN, END, USER, ASSISTANT)
CONTEXT = 512
PIECES = 256 + 220  # bytes and learned pieces, before the world's whole words
WORD_PATTERN = r"'s| ?\p{L}+| ?\d{1,2}| ?[^\s\p{L}\d]+|\s+(?!\S)|\s+"

CHAT_TEMPLATE = (
    "{{ bos_token }}"
    "{% set ns = namespace(system='') %}"
    "{% for message in messages %}"
    "{% if message['role'] == 'system' %}"
    "{% set ns.system = message['content'] + '\n\n' %}"
    "{% elif message['role'] == 'user' %}"
    "{{ '<|user|>' + ns.system + message['content'] }}{% set ns.system = '' %}"
    "{% elif message['role'] == 'assistant' %}"
    "{{ '<|assistant|>' + message['content'] + eos_token }}"
    "{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}"
)


def build_tokenizer(texts: Iterable[str]) -> PreTrainedTokenizerFast:
    texts = list(texts)
    split = pre_tokenizers.Sequence([
        pre_tokenizers.Split(Regex(WORD_PATTERN), behavior="isolated"),
        pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
    ])  # fmt: skip
    vocab, merges = _learn_pieces(texts, split)
    words = Counter(word for text in texts for word, _ in split.pre_tokenize_str(text))
    numbers = [f"{space}{n}" for n in range(100) for space in ("Ġ", "")]
    for word in [*numbers, *(word for word, count in sorted(words.items()) if count > 4)]:
        vocab.setdefault(word, len(vocab))
    # ignore_merges looks a whole word up before any merge: no half-built words in the vocabulary.
    tokenizer = Tokenizer(models.BPE(vocab=vocab, merges=merges, ignore_merges=True))
    tokenizer.pre_tokenizer = split
    tokenizer.decoder = decoders.ByteLevel()
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token=BEGIN, eos_token=END, pad_token=PAD,
        additional_special_tokens=[USER, ASSISTANT], chat_template=CHAT_TEMPLATE,
        model_max_length=CONTEXT, clean_up_tokenization_spaces=False, padding_side="left",
    )  # fmt: skip


def save_tokenizer(tokenizer: PreTrainedTokenizerFast, folder: Path) -> None:
    """The chat template stays inside tokenizer_config.json: one file less to lose."""
    tokenizer.save_pretrained(folder, save_jinja_files=False)


def _learn_pieces(texts: list[str], split: pre_tokenizers.PreTokenizer) -> tuple[dict[str, int], list[tuple[str, str]]]:
    learner = Tokenizer(models.BPE())
    learner.pre_tokenizer = split
    trainer = trainers.BpeTrainer(
        vocab_size=len(SPECIAL) + PIECES, special_tokens=list(SPECIAL), show_progress=False,
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()), max_token_length=5,
    )  # fmt: skip
    # Each distinct word counts once: pieces of many words help an unknown one most.
    distinct = sorted({word for text in texts for word in text.split()})
    learner.train_from_iterator(distinct + [" " + word for word in distinct], trainer)
    model = json.loads(learner.to_str())["model"]
    return model["vocab"], [tuple(merge) for merge in model["merges"]]
