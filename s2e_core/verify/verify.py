"""Reload what was written and compare it with the base on disk and with the preview.

Knows transformers and PEFT as anybody would use them, and the bytes on disk; the loaded model only gives the preview
to compare with. Everything a `Verification` says was measured on the written files.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor, nn

from s2e_core.errors import ExportError
from s2e_core.export import CONFIG_FILE, check_edit
from s2e_core.files import Meter, open_checkpoint
from s2e_core.generation import preview_logits
from s2e_core.model import LoadedModel, prompt_ids, running_device
from s2e_core.progress import Progress
from s2e_core.values import Edited, Original, Variant, WeightEdit

from .findings import adapter_findings, checkpoint_findings
from .result import Verification
from .second_model import READING_ERRORS, NotCheckedError, Room, base_model, check_room, raise_if_no_room, second_model

PROMPTS = ("Once upon a time", "How are you today?", "The most important thing about a good answer is")
PROMPT_TOKENS = 48
EXACT_TOLERANCE = 1e-4
"""Share of the largest logit (at least 1) if nothing is rounded: fp32 sums in another order."""
ROUNDED_TOLERANCE = 0.5
"""Share of the edit's own effect if weights or activations are rounded: nearer to the preview than to the base."""
NOISE = 4.0
"""Steps of the number format a model runs in, at its largest logit: bf16 moved real logits by up to 3.4."""
ROUTED_PART = 0.9
"""Share of the positions that must be so near in a mixture of experts: rounding sends some tokens to other experts."""


def verify_export(
    loaded: LoadedModel,
    edit: WeightEdit,
    folder: str | Path,
    *,
    prompts: Sequence[str] = PROMPTS,
    progress: Progress | None = None,
) -> Verification:
    """Check a written checkpoint, or an adapter where there is an adapter_config.json, against base and preview.

    Reads the files in blocks, then runs a second model made by plain transformers (and PEFT); `check_room` says before
    where, and where there is no room the result says that. `progress` counts tensors and prompts. Raises ExportError
    where the folder cannot be read or loaded.
    """
    check_edit(loaded, edit)
    whole, loaded, folder = loaded, loaded.in_full(), Path(folder)
    if (folder / CONFIG_FILE).is_file():
        meter = Meter(len(prompts), progress)
        found = adapter_findings(loaded, edit, folder)
    else:
        meter = Meter(len(open_checkpoint(loaded.source).tensors()) + len(prompts), progress)
        found = checkpoint_findings(loaded, edit, folder, meter)
    try:
        room = check_room(whole, edit, folder)
        model, not_found = second_model(whole, folder, room)
        if found.kind == "adapter":
            found = _with_taken(found, model)
        found = replace(found, not_found=not_found, held=room.sentence)
        found = _with_logits(found, loaded, edit, _Second(model, room, folder), prompts, meter)
        if not found.passed and found.has_right_tensors and room.target == "disk":
            _check_disk(loaded, _Second(base_model(whole, room), room, folder), prompts, found.logit_tolerance)
        return found
    except NotCheckedError as error:
        return replace(found, not_checked=str(error), folder=folder.name)


def _with_taken(found: Verification, model: nn.Module) -> Verification:
    """The findings with what PEFT has in memory: it warns of what it lost, and of adapters it made up, but loads."""
    from peft import get_peft_model_state_dict

    taken = get_peft_model_state_dict(model, save_embedding_layers=False)
    lost = {name for name in found.intended if name not in taken}
    made_up = taken.keys() - set(found.intended)
    return replace(
        found,
        missing=tuple(dict.fromkeys((*found.missing, *sorted(lost)))),
        unexpected=tuple(sorted({*found.unexpected, *made_up})),
    )


@dataclass(frozen=True, eq=False)
class _Second:
    """The model made of what was written."""

    model: nn.Module
    room: Room
    folder: Path

    @torch.inference_mode()
    def logits(self, ids: Tensor) -> Tensor:
        """As `preview_logits`."""
        try:
            logits: Tensor = self.model(input_ids=ids.to(running_device(self.model)), use_cache=False).logits
        except READING_ERRORS as error:
            raise_if_no_room(error)
            reason = " ".join(str(error).split())[:300]
            if self.room.target == "disk":
                raise NotCheckedError(f"it cannot be run with its weights on the disk ({reason})") from error
            raise ExportError(f"What was written to {self.folder.name} cannot be run: {reason}") from error
        return logits.float().cpu()


def _with_logits(
    found: Verification, loaded: LoadedModel, edit: WeightEdit, second: _Second, prompts: Sequence[str], meter: Meter
) -> Verification:
    """The findings with what the reloaded model computes, against preview and original."""
    effect = largest = 0.0
    gaps: list[Tensor] = []
    same = positions = 0
    for prompt in prompts:
        ids = torch.tensor([prompt_ids(loaded.tokenizer, prompt)[:PROMPT_TOKENS]])
        preview, original = _held_logits(loaded, Edited(edit), ids), _held_logits(loaded, Original(), ids)
        reloaded = second.logits(ids)
        gaps.append((reloaded - preview).abs().amax(-1).flatten())
        effect, largest = _larger(effect, preview - original), _larger(largest, preview)
        same += int((reloaded.argmax(-1) == preview.argmax(-1)).sum())
        positions += ids.numel()
        meter.add(1)
    tolerance = max(EXACT_TOLERANCE * max(1.0, largest), NOISE * torch.finfo(loaded.dtype).eps * largest)
    part = 1.0
    if found.number_format != "F32" or loaded.dtype != torch.float32:
        tolerance = max(tolerance, ROUNDED_TOLERANCE * effect)
        part = ROUTED_PART if any(site.experts for site in found.spec.sites) else 1.0
    return replace(
        found,
        logit_difference=float(torch.cat(gaps).quantile(part)),
        logit_effect=effect,
        logit_tolerance=tolerance,
        agreement=same / positions,
        n_positions=positions,
    )


def _held_logits(loaded: LoadedModel, variant: Variant, ids: Tensor) -> Tensor:
    """Of the model that the export was made from; one that runs in fewer bits is in the files, which not all allow."""
    try:
        return preview_logits(loaded, variant, ids)
    except READING_ERRORS as error:
        if not any(parameter.is_meta for parameter in loaded.model.parameters()):
            raise
        raise NotCheckedError(
            f"the full-precision model cannot be run with its weights on the disk ({error})"
        ) from error


def _check_disk(loaded: LoadedModel, base: _Second, prompts: Sequence[str], tolerance: float) -> None:
    """Raise NotCheckedError unless the untouched model computes from the disk what it computes where it is loaded."""
    for prompt in prompts:
        ids = torch.tensor([prompt_ids(loaded.tokenizer, prompt)[:PROMPT_TOKENS]])
        if not _larger(0.0, base.logits(ids) - preview_logits(loaded, Original(), ids)) <= tolerance:
            raise NotCheckedError(
                "it finds no room in memory, and with its weights on the disk transformers computes something else, "
                "also for the untouched model"
            )


def _larger(so_far: float, values: Tensor) -> float:
    """The largest absolute value seen; NaN stays NaN."""
    return float(torch.maximum(torch.tensor(so_far), values.abs().max()))
