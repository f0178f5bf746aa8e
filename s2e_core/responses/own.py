"""The model's own responses to prompts, as the paper contrasts them: generated in batches and saved to a file.

Knows prompts, tokens and batches; `rules.py` decides which side a response is on.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from s2e_core.data import content_hash
from s2e_core.errors import SettingsError
from s2e_core.generation import BatchRow, answers, encode_prompt, rows_that_fit
from s2e_core.model import LoadedModel, begins_in_thought, response_text
from s2e_core.progress import Progress
from s2e_core.text import thinking
from s2e_core.values import Example, Original

from .file import OwnResponse, open_response_file

BATCH = 32
"""Maximum number of prompts in one batch; a stop loses at most one batch."""


def own_responses(
    loaded: LoadedModel,
    prompts: Sequence[Example],
    *,
    max_new_tokens: int = 256,
    temperature: float = 1.0,
    seed: int = 0,
    batch_size: int = BATCH,
    path: Path | None = None,
    progress: Progress | None = None,
    stop: threading.Event | None = None,
) -> tuple[OwnResponse, ...]:
    """One response per prompt, in order; the responses of the examples are ignored.

    Each prompt has its own random numbers, from `seed` + its index: repeat a prompt to get several samples. With a
    `path`, every batch is written there as soon as it is complete, and responses in the file are not generated again.
    `progress` is called with (number of responses, number of prompts). Raises Cancelled if `stop` is set or `progress`
    raises it, SettingsError if a prompt is empty or too long (before anything runs), ContrastDataError if the file
    contains other responses.
    """
    if not prompts:
        raise SettingsError("There is no prompt to answer. Provide at least one.")
    encoded = [encode_prompt(loaded, it.prompt, it.system, max_new_tokens, temperature, it.earlier) for it in prompts]
    about = {
        "model_id": loaded.model_id,
        "revision": loaded.revision,
        "fingerprint": loaded.fingerprint,
        "prompts": content_hash([replace(it, response="") for it in prompts]),
        "max_new_tokens": max_new_tokens,
        "temperature": float(temperature),
        "seed": seed,
    }
    size = min(batch_size, rows_that_fit(loaded, max(map(len, encoded)) + max_new_tokens))
    with open_response_file(path, about, prompts) as file:
        missing = [i for i in range(len(prompts)) if i not in file.responses]
        missing.sort(key=lambda i: len(encoded[i]), reverse=True)
        if progress is not None:
            progress(len(file.responses), len(prompts))
        for first in range(0, len(missing), size):
            batch = missing[first : first + size]
            rows = [BatchRow(0, tuple(encoded[i]), seed + i) for i in batch]
            tokens = answers(
                loaded,
                [Original()],
                rows,
                max_new_tokens=max_new_tokens,
                temperature=temperature,
                stops=[] if stop is None else [stop],
            )
            file.add(
                {
                    i: _own_response(loaded, prompts[i], encoded[i], ids, max_new_tokens)
                    for i, ids in zip(batch, tokens, strict=True)
                }
            )
            if progress is not None:
                progress(len(file.responses), len(prompts))
        return tuple(file.responses[i] for i in range(len(prompts)))


def _own_response(
    loaded: LoadedModel, example: Example, prompt_ids: Sequence[int], ids: Sequence[int], max_new_tokens: int
) -> OwnResponse:
    text = response_text(loaded.tokenizer, ids)
    in_thought = begins_in_thought(loaded.tokenizer, prompt_ids)
    thought, _ = thinking(f"<think>{text}" if in_thought else text)
    n_thought = len(loaded.tokenizer(thought, add_special_tokens=False)["input_ids"]) if thought else 0
    return OwnResponse(
        replace(example, response=text),
        n_tokens=len(ids),
        n_thought=min(n_thought, len(ids)),
        in_thought=in_thought,
        finished=len(ids) < max_new_tokens,
    )
