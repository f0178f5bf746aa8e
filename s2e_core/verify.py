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

from .adapter import CONFIG_FILE, WEIGHTS_FILE, adapter_factors, change_by_factors, check_edit
from .chat import prompt_ids
from .checkpoint import FLOATS, StoredTensor, open_checkpoint, read_bytes, read_rows, read_shard
from .copying import Meter
from .errors import ExportError
from .intervene import preview_logits
from .placement import running_device
from .reloading import READING_ERRORS, NotCheckedError, Room, base_model, check_room, raise_if_no_room, second_model
from .stored_edit import stored_changes
from .types import Edited, LoadedModel, Original, Progress, WeightEdit
from .verification import Verification

PROMPTS = ("Once upon a time", "How are you today?", "The most important thing about a good answer is")
PROMPT_TOKENS = 48
EXACT_TOLERANCE = 1e-4
"""Of the largest logit (at least 1), where nothing is rounded: fp32 sums in another order."""
ROUNDED_TOLERANCE = 0.5
"""Of the edit's own effect, where weights or activations are rounded: nearer to the preview than to the base."""
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
        found = _adapter_findings(loaded, edit, folder)
    else:
        meter = Meter(len(open_checkpoint(loaded.source).tensors()) + len(prompts), progress)
        found = _checkpoint_findings(loaded, edit, folder, meter)
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


def _checkpoint_findings(loaded: LoadedModel, edit: WeightEdit, folder: Path, meter: Meter) -> Verification:
    """Every tensor of base and export compared, block by block."""
    base, written = open_checkpoint(loaded.source), open_checkpoint(folder).tensors()
    changes = {change.piece.tensor.name: change for change in stored_changes(base, loaded, edit)}
    along, formats = _nothing_written(edit), set()
    missing, unexpected = [], list(written.keys() - base.tensors().keys())
    for name, before in base.tensors().items():
        after = written.get(name)
        unchanged = after is not None and _same(before, after)
        if name not in changes:
            unexpected += [] if unchanged else [name]
        elif after is None or after.shape != before.shape or unchanged:
            missing.append(name)
        else:
            along[changes[name].site][changes[name].piece.inputs] = changes[name].written(after)
            formats.add(after.dtype)
        meter.add(1)
    return Verification(
        kind="checkpoint",
        spec=edit.spec,
        number_format=" and ".join(sorted(formats)),
        intended=tuple(changes),
        missing=tuple(missing),
        unexpected=tuple(sorted(unexpected)),
        realised=tuple(realised_share(edit, i, values) for i, values in enumerate(along)),
    )


def _adapter_findings(loaded: LoadedModel, edit: WeightEdit, folder: Path) -> Verification:
    """The written factors against the edit's; B A is the change that PEFT adds."""
    intended = adapter_factors(loaded, edit)
    stored = {tensor.name: tensor for tensor in read_shard(folder / WEIGHTS_FILE).tensors if tensor.dtype in FLOATS}
    right_shape = {name for name, factor in intended.items() if name in stored and stored[name].shape == factor.shape}
    written = {name: torch.cat([rows for _, rows in read_rows(stored[name])]).float() for name in right_shape}
    along = _nothing_written(edit)
    for i in edit.edited_sites():
        along[i] = change_by_factors(loaded, edit, i, written)
    return Verification(
        kind="adapter",
        spec=edit.spec,
        number_format=" and ".join(sorted({tensor.dtype for tensor in stored.values()})),
        intended=tuple(intended),
        missing=tuple(n for n, factor in intended.items() if n not in written or not torch.equal(factor, written[n])),
        unexpected=tuple(sorted(stored.keys() - intended.keys())),
        realised=tuple(realised_share(edit, i, values) for i, values in enumerate(along)),
    )


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
        preview, original = (preview_logits(loaded, variant, ids) for variant in (Edited(edit), Original()))
        reloaded = second.logits(ids)
        gaps.append((reloaded - preview).abs().amax(-1).flatten())
        effect, largest = _larger(effect, preview - original), _larger(largest, preview)
        same += int((reloaded.argmax(-1) == preview.argmax(-1)).sum())
        positions += ids.numel()
        meter.add(1)
    tolerance = EXACT_TOLERANCE * max(1.0, largest)
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


def _check_disk(loaded: LoadedModel, base: _Second, prompts: Sequence[str], tolerance: float) -> None:
    """Raise NotCheckedError unless the untouched model computes from the disk what it computes where it is loaded."""
    for prompt in prompts:
        ids = torch.tensor([prompt_ids(loaded.tokenizer, prompt)[:PROMPT_TOKENS]])
        if not _larger(0.0, base.logits(ids) - preview_logits(loaded, Original(), ids)) <= tolerance:
            raise NotCheckedError(
                "it finds no room in memory, and with its weights on the disk transformers computes something else, "
                "also for the untouched model"
            )


def realised_share(edit: WeightEdit, site: int, along: Tensor) -> Tensor:
    """realised . intended / |intended|^2 per component (n_components,), NaN where nothing was intended.

    `along` (n_inputs,) is left . realised; the intended change of component i is outer(left, right_i).
    """
    n = edit.spec.sites[site].n_components
    right = edit.right[site].double()
    intended = edit.left[site].double().square().sum() * right.square().view(n, -1).sum(1)
    return ((along * right).view(n, -1).sum(1) / intended).float()  # 0 / 0 is NaN


def _nothing_written(edit: WeightEdit) -> list[Tensor]:
    """left . change per site, (n_inputs,) in fp64, all 0."""
    return [torch.zeros(site.n_inputs, dtype=torch.float64) for site in edit.spec.sites]


def _same(before: StoredTensor, after: StoredTensor) -> bool:
    """Bit for bit; where the dtype was changed, as fp32."""
    if before.shape != after.shape:
        return False
    if before.dtype == after.dtype:
        return all(a == b for a, b in zip(read_bytes(before), read_bytes(after), strict=True))
    if before.dtype not in FLOATS or after.dtype not in FLOATS:
        return False
    pairs = zip(read_rows(before), read_rows(after), strict=True)
    return all(torch.equal(_bits(a), _bits(b)) for (_, a), (_, b) in pairs)


def _bits(rows: Tensor) -> Tensor:
    return rows.float().view(torch.int32)  # NaN and -0 count as they are


def _larger(so_far: float, values: Tensor) -> float:
    """The largest absolute value seen; NaN stays NaN."""
    return float(torch.maximum(torch.tensor(so_far), values.abs().max()))
