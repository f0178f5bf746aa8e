"""Verify an export: reload it with plain transformers and PEFT, and compare it with the base and the preview.

Every figure of a `Verification` is measured on the written files; the loaded model only provides the preview.
"""

from __future__ import annotations

from collections.abc import Sequence, Set
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor, nn

from s2e_core.errors import ExportError
from s2e_core.export import CONFIG_FILE, GGUF_FILE, MLX_FILE, check_edit, factor_names
from s2e_core.files import Meter, open_checkpoint
from s2e_core.generation import preview_logits
from s2e_core.model import LoadedModel, prompt_ids, running_device
from s2e_core.progress import Progress
from s2e_core.values import Edited, Original, Variant, WeightEdit

from .findings import adapter_findings, checkpoint_findings
from .gguf_lora import gguf_lora_findings
from .mlx import mlx_findings
from .result import Verification
from .second_model import (
    READING_ERRORS,
    NotCheckedError,
    SecondModelPlan,
    load_base_model,
    load_second_model,
    plan_second_model,
    raise_if_out_of_space,
)

PROMPTS = ("Once upon a time", "How are you today?", "The most important thing about a good answer is")
_PROMPT_TOKENS = 48
_EXACT_TOLERANCE = 1e-4
"""Tolerance without rounding, as a share of the largest logit (at least 1): fp32 adds up in another order."""
_ROUNDED_TOLERANCE = 0.5
"""Tolerance with rounding, as a share of the edit's own effect: nearer to the preview than to the base."""
_NOISE_STEPS = 4.0
"""Tolerance in steps of the running model's number format at its largest logit: bf16 moved real logits by up to 3.4."""
_ROUTED_SHARE = 0.9
"""Share of positions within the tolerance in a mixture of experts: rounding sends some tokens to other experts."""


def verify_export(
    loaded: LoadedModel,
    edit: WeightEdit,
    folder: str | Path,
    *,
    prompts: Sequence[str] = PROMPTS,
    progress: Progress | None = None,
) -> Verification:
    """Check an export against base and preview: what it is, its files tell.

    What another program runs (a GGUF LoRA, an MLX adapter) is read back and compared with the edit, and not run.
    Reads the files in blocks, then runs a second model made by plain transformers (and PEFT). `plan_second_model` says
    in advance where that model will run; if it fits nowhere, `not_checked` says why. `progress` counts tensors and
    prompts. Raises ExportError if the folder cannot be read or loaded.
    """
    check_edit(loaded, edit)
    running, loaded, folder = loaded, loaded.in_full(), Path(folder)
    if (folder / GGUF_FILE).is_file():
        return gguf_lora_findings(loaded, edit, folder)
    if (folder / MLX_FILE).is_file():
        return mlx_findings(edit, folder)
    if (folder / CONFIG_FILE).is_file():
        meter = Meter(len(prompts), progress)
        result = adapter_findings(loaded, edit, folder)
    else:
        meter = Meter(len(open_checkpoint(loaded.source).tensors()) + len(prompts), progress)
        result = checkpoint_findings(loaded, edit, folder, meter)
    try:
        plan = plan_second_model(running, edit, folder)
        model, random_weights = load_second_model(running, folder, plan)
        if result.kind == "adapter":
            result = _with_peft_tensors(result, factor_names(edit), model)
        result = replace(result, random_weights=random_weights, placement=plan.sentence)
        result = _with_logits(result, loaded, edit, _SecondModel(model, plan, folder), prompts, meter)
        if not result.passed and result.has_right_tensors and plan.target == "disk":
            base = _SecondModel(load_base_model(running, plan), plan, folder)
            _check_disk(loaded, base, prompts, result.logit_tolerance)
        return result
    except NotCheckedError as error:
        return replace(result, not_checked=str(error), folder=folder.name)


def _with_peft_tensors(result: Verification, names: Set[str], model: nn.Module) -> Verification:
    """The result with the tensors that PEFT lost of `names`, or invented, while loading: PEFT only warns of them."""
    from peft import get_peft_model_state_dict

    tensors = get_peft_model_state_dict(model, save_embedding_layers=False)
    lost = names - tensors.keys()
    invented = tensors.keys() - set(result.intended_tensors)
    return replace(
        result,
        unedited_tensors=tuple(dict.fromkeys((*result.unedited_tensors, *sorted(lost)))),
        unexpected_tensors=tuple(sorted({*result.unexpected_tensors, *invented})),
    )


@dataclass(frozen=True, eq=False)
class _SecondModel:
    """The model loaded from the written files."""

    model: nn.Module
    plan: SecondModelPlan
    folder: Path

    @torch.inference_mode()
    def logits(self, ids: Tensor) -> Tensor:
        """Logits in the form that `preview_logits` returns."""
        try:
            logits: Tensor = self.model(input_ids=ids.to(running_device(self.model)), use_cache=False).logits
        except READING_ERRORS as error:
            raise_if_out_of_space(error)
            reason = " ".join(str(error).split())[:300]
            if self.plan.target == "disk":
                raise NotCheckedError(f"it cannot be run with its weights on the disk ({reason})") from error
            raise ExportError(f"What was written to {self.folder.name} cannot be run: {reason}") from error
        return logits.float().cpu()


def _with_logits(
    result: Verification,
    loaded: LoadedModel,
    edit: WeightEdit,
    second: _SecondModel,
    prompts: Sequence[str],
    meter: Meter,
) -> Verification:
    """The result with the logits of the second model compared with preview and original."""
    effect = largest = 0.0
    differences: list[Tensor] = []
    n_same = n_positions = 0
    for prompt in prompts:
        ids = torch.tensor([prompt_ids(loaded.tokenizer, prompt)[:_PROMPT_TOKENS]])
        preview, original = _full_logits(loaded, Edited(edit), ids), _full_logits(loaded, Original(), ids)
        reloaded = second.logits(ids)
        differences.append((reloaded - preview).abs().amax(-1).flatten())
        effect, largest = _larger(effect, preview - original), _larger(largest, preview)
        n_same += int((reloaded.argmax(-1) == preview.argmax(-1)).sum())
        n_positions += ids.numel()
        meter.add(1)
    tolerance = max(_EXACT_TOLERANCE * max(1.0, largest), _NOISE_STEPS * torch.finfo(loaded.dtype).eps * largest)
    share = 1.0
    if result.number_format != "F32" or loaded.dtype != torch.float32:
        tolerance = max(tolerance, _ROUNDED_TOLERANCE * effect)
        share = _ROUTED_SHARE if any(site.experts for site in result.spec.sites) else 1.0
    return replace(
        result,
        logit_difference=float(torch.cat(differences).quantile(share)),
        logit_effect=effect,
        logit_tolerance=tolerance,
        agreement=n_same / n_positions,
        n_positions=n_positions,
    )


def _full_logits(loaded: LoadedModel, variant: Variant, ids: Tensor) -> Tensor:
    """Logits of the full-precision model; its weights may be on the disk, from which some models cannot run."""
    try:
        return preview_logits(loaded, variant, ids)
    except READING_ERRORS as error:
        if not any(parameter.is_meta for parameter in loaded.model.parameters()):
            raise
        raise NotCheckedError(
            f"the full-precision model cannot be run with its weights on the disk ({error})"
        ) from error


def _check_disk(loaded: LoadedModel, base: _SecondModel, prompts: Sequence[str], tolerance: float) -> None:
    """Raise NotCheckedError if the untouched model computes something else with its weights on the disk."""
    for prompt in prompts:
        ids = torch.tensor([prompt_ids(loaded.tokenizer, prompt)[:_PROMPT_TOKENS]])
        if not _larger(0.0, base.logits(ids) - preview_logits(loaded, Original(), ids)) <= tolerance:
            raise NotCheckedError(
                "it does not fit into memory, and with weights on the disk transformers computes other logits, also "
                "for the untouched model"
            )


def _larger(largest: float, values: Tensor) -> float:
    """The largest absolute value, `largest` included; NaN stays NaN."""
    return float(torch.maximum(torch.tensor(largest), values.abs().max()))
