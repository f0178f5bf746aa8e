"""The README's table of architectures, measured: every causal-LM type of transformers on a tiny random model.

python -m tests.architecture_table            # measure all of them (minutes) and write the table
python -m tests.architecture_table llama lfm2 # measure these and print what was found
"""

from __future__ import annotations

import copy
import logging
import re
import sys
import tempfile
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import torch
from peft import PeftModel
from torch import Tensor, nn
from transformers import AutoModelForCausalLM
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

from s2e_core import (
    Edited,
    ExportError,
    ModelLoadError,
    Original,
    UnsupportedModelError,
    WeightEdit,
    export_adapter,
    export_checkpoint,
    load_model,
)
from s2e_core.generation import preview_logits
from s2e_core.model import LoadedModel, refuse_by_name
from s2e_core.spec import Kind
from tests.core.edits import IDS, random_edit
from tests.families import NOT_BUILT, saved_folder

README = Path(__file__).parent.parent / "README.md"
BEGIN, END = "<!-- architectures -->", "<!-- end of architectures -->"
CHECKS = ("heads and neurons", "one component", "adapter", "checkpoint")
REASONS = (
    ("none of its layers has attention heads|no MLP down projection", "no attention heads, only states"),
    ("no attention output projection|bare parameter", "no output projection of heads that is a linear layer"),
    ("over patches of several bytes", "several stacks, over bytes in place of tokens"),
    ("no position of a text predicts the next token", "what it computes for a token depends on later ones"),
    ("audio codec", "it writes sound, not text"),
    ("drafts tokens", "it drafts tokens for a larger model and reads no text by itself"),
    ("looks for these under other names", "transformers does not find its weights in folders of its published form"),
)
"""What a refusal's sentence holds, and what the table says of it."""
TOLERANCE = 1e-4


Outcome = bool | Literal["refused"]


@dataclass(frozen=True, eq=False)
class Row:
    """What was found for one model type."""

    model_type: str
    passed: tuple[Outcome, ...]
    """Per check."""
    reason: str = ""
    """Why it is refused."""

    @property
    def group(self) -> tuple[str, ...]:
        marks: dict[Outcome, str] = {True: "yes", False: "**no**", "refused": "refused, with a sentence"}
        return (self.reason,) if self.reason else tuple(marks[result] for result in self.passed)


def measured(model_type: str) -> Row:
    """Build one model type in small and run every check on it."""
    with tempfile.TemporaryDirectory() as folder:
        try:
            refuse_by_name(model_type)
            if model_type in NOT_BUILT:
                return Row(model_type, (), f"not built: {NOT_BUILT[model_type]}")
            loaded = load_model(saved_folder(Path(folder) / "base", model_type), device="cpu")
        except (UnsupportedModelError, ModelLoadError) as refusal:
            return Row(model_type, (), next(told for found, told in REASONS if re.search(found, str(refusal))))
        single = all(_one_component(loaded, kind) for kind in ("heads", "neurons"))
        return Row(model_type, (True, single, *_written(loaded, Path(folder))))


def table(rows: Iterable[Row]) -> str:
    """Markdown: one line per outcome, the model types with that outcome counted and named; the edited ones folded."""
    groups: dict[tuple[str, ...], list[str]] = {}
    for row in sorted(rows, key=lambda row: row.model_type):
        groups.setdefault(row.group, []).append(row.model_type)
    edited = {group: names for group, names in groups.items() if len(group) > 1}
    refused = {group[0]: names for group, names in groups.items() if len(group) == 1}
    by_size = sorted(edited.items(), key=lambda item: -len(item[1]))
    count, total = sum(map(len, edited.values())), sum(map(len, groups.values()))
    lines = ["<details>", f"<summary>{count} of {total} model types can be edited: all by name</summary>", ""]
    lines += [f"| can be edited | {' | '.join(CHECKS)} |", f"|---|{'---|' * len(CHECKS)}"]
    lines += [f"| {_named(names)} | {' | '.join(group)} |" for group, names in by_size]
    lines += ["", "</details>", "", "| refused, with a sentence | because |", "|---|---|"]
    lines += [f"| {_named(names)} | {reason} |" for reason, names in sorted(refused.items(), key=lambda i: -len(i[1]))]
    return "\n".join(lines)


def written_table() -> str:
    """The table as it stands in the README."""
    return README.read_text(encoding="utf-8").split(BEGIN)[1].split(END)[0].strip()


def _named(names: Sequence[str]) -> str:
    return f"**{len(names)}**: {', '.join(names)}"


def _one_component(loaded: LoadedModel, kind: Kind) -> bool:
    """One head or neuron changed in a copy of the weights does what the preview shows, and moves the logits.

    Some neurons never fire on the few tokens: of several, tried one by one, all must agree and one must move.
    """
    site = loaded.spec.of_kind(kind)[:2][-1]
    where = loaded.spec.sites[site]
    whole = random_edit(loaded, sites=(site,))
    moved = []
    for index in range(1, where.n_components, 2)[:: max(1, where.n_components // 12)]:  # those the random edit changes
        columns = slice(index * where.width, (index + 1) * where.width)
        right = [torch.zeros_like(factor) for factor in whole.right]
        right[site][columns] = 4 * whole.right[site][columns]
        edit = replace(whole, right=tuple(right))
        patched = copy.deepcopy(loaded.model)
        weight = patched.get_submodule(where.name).get_parameter(where.parameter).data
        experts = max(where.experts, 1)
        for matrix, part in zip(weight.view(experts, -1, weight.shape[-1]), right[site].chunk(experts), strict=True):
            (matrix.T if where.transposed else matrix).add_(torch.outer(edit.left[site], part))
        error, effect = _difference(patched, loaded, edit)
        if not error <= TOLERANCE:
            return False
        moved.append(effect > 10 * TOLERANCE)
    return any(moved)


def _written(base: LoadedModel, folder: Path) -> tuple[Outcome, Outcome]:
    """Adapter and checkpoint, written and loaded by PEFT and transformers, against the preview."""
    edit = random_edit(base)
    out = export_checkpoint(base, edit, folder / "checkpoint")
    edited = AutoModelForCausalLM.from_pretrained(out, dtype=torch.float32).eval()
    return _adapted(base, edit, folder / "adapter"), _agrees(edited, base, edit)


def _adapted(base: LoadedModel, edit: WeightEdit, folder: Path) -> Outcome:
    try:
        export_adapter(base, edit, folder)
    except ExportError:
        return "refused"
    plain = AutoModelForCausalLM.from_pretrained(base.source, dtype=torch.float32)
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message=".*missing adapter keys")
        return _agrees(PeftModel.from_pretrained(plain, folder).eval(), base, edit)


def _agrees(model: nn.Module, loaded: LoadedModel, edit: WeightEdit) -> bool:
    error, effect = _difference(model, loaded, edit)
    return error <= TOLERANCE and effect > 10 * TOLERANCE


@torch.inference_mode()
def _difference(model: nn.Module, loaded: LoadedModel, edit: WeightEdit) -> tuple[float, float]:
    """(how far an edited model is from the preview, how far the preview is from the original), of the largest logit."""
    preview, original = (preview_logits(loaded, variant, IDS) for variant in (Edited(edit), Original()))
    found: Tensor = model(input_ids=IDS, use_cache=False).logits.float()
    scale = preview.abs().max().clamp_min(1)
    return float((found - preview).abs().max() / scale), float((preview - original).abs().max() / scale)


def main(model_types: Sequence[str]) -> None:
    logging.disable(logging.WARNING)
    rows = []
    for model_type in model_types or sorted(MODEL_FOR_CAUSAL_LM_MAPPING_NAMES):
        rows.append(measured(model_type))
        print(f"{model_type:<26} {' | '.join(rows[-1].group)}", flush=True)
    if not model_types:
        before, rest = README.read_text(encoding="utf-8").split(BEGIN)
        README.write_text(f"{before}{BEGIN}\n{table(rows)}\n{END}{rest.split(END)[1]}", encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
