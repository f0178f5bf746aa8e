"""The model's own responses to prompts, as the paper contrasts them: in batches, stoppable, kept in a file.

Knows prompts, tokens and batches; which side a response is on is decided in `rules.py`.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path

from s2e_core.data import content_hash
from s2e_core.errors import SettingsError
from s2e_core.generation import Row, answers, checked_prompt, rows_that_fit
from s2e_core.model import LoadedModel, response_text
from s2e_core.progress import Progress
from s2e_core.text import opens_thought, thinking
from s2e_core.values import Example, Original

from .file import OwnResponse, response_file

BATCH = 32
"""Most prompts answered together: what a Stop loses is at most the batch under way."""
PROMPT_END = 16  # tokens at the end of a prompt in which an open think tag is looked for


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
    """One response per prompt, in their order; what the examples have as responses is not read.

    Each prompt has its own dice, of `seed` and its place: give a prompt several times for several samples of it. With a
    `path` every batch is written there at once, and what the file holds is not generated again. `progress` is called
    with (responses there, prompts). Raises Cancelled where `stop` is set or `progress` raises it, SettingsError for a
    prompt that is empty or too long (before anything runs), ContrastDataError for a file of other responses.
    """
    if not prompts:
        raise SettingsError("There is no prompt to answer. Give at least one.")
    encoded = [checked_prompt(loaded, it.prompt, it.system, max_new_tokens, temperature) for it in prompts]
    about = {
        "model_id": loaded.model_id,
        "revision": loaded.revision,
        "fingerprint": loaded.fingerprint,
        "prompts": content_hash([Example(it.prompt, "", it.system) for it in prompts]),
        "max_new_tokens": max_new_tokens,
        "temperature": float(temperature),
        "seed": seed,
    }
    size = min(batch_size, rows_that_fit(loaded, max(map(len, encoded)) + max_new_tokens))
    with response_file(path, about, prompts) as file:
        missing = [i for i in range(len(prompts)) if i not in file.held]
        missing.sort(key=lambda i: len(encoded[i]), reverse=True)
        if progress is not None:
            progress(len(file.held), len(prompts))
        for first in range(0, len(missing), size):
            batch = missing[first : first + size]
            rows = [Row(0, tuple(encoded[i]), seed + i) for i in batch]
            tokens = answers(
                loaded,
                [Original()],
                rows,
                max_new_tokens=max_new_tokens,
                temperature=temperature,
                stops=[] if stop is None else [stop],
            )
            made = zip(batch, tokens, strict=True)
            file.add({i: _response(loaded, prompts[i], encoded[i], ids, max_new_tokens) for i, ids in made})
            if progress is not None:
                progress(len(file.held), len(prompts))
        return tuple(file.held[i] for i in range(len(prompts)))


def _response(
    loaded: LoadedModel, asked: Example, prompt: Sequence[int], ids: Sequence[int], max_new_tokens: int
) -> OwnResponse:
    text = response_text(loaded.tokenizer, ids)
    opened = opens_thought(str(loaded.tokenizer.decode(prompt[-PROMPT_END:])))
    thought, _ = thinking(f"<think>{text}" if opened else text)
    n_thought = len(loaded.tokenizer(thought, add_special_tokens=False)["input_ids"]) if thought else 0
    return OwnResponse(
        Example(asked.prompt, text, asked.system),
        n_tokens=len(ids),
        n_thought=min(n_thought, len(ids)),
        in_thought=opened,
        finished=len(ids) < max_new_tokens,
    )
