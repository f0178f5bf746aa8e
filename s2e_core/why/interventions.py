"""What can be done to one component while the model runs: zeroed, set to its mean, edited alone, left out of the edit.

Knows sites, weights and hooks; no text and no figure. Each intervention adds B x_i + c to the output of the component's
site, with x_i the component's input, for the batch rows that it is given: nothing is written to a weight.

| intervention | B | c |
|---|---|---|
| zeroed | -W_i | 0 |
| mean | -W_i | W_i xbar_i |
| edited alone | u a_i^T | 0 |
| left out | -u a_i^T, in rows that run the whole edit | 0 |
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn

from s2e_core.model import Call, LoadedModel, watch
from s2e_core.spec import Component, Site
from s2e_core.values import ActivationMeans, MeanInputs, WeightEdit, WeightSource

How = Literal["zeroed", "mean", "edited alone", "left out"]
HOWS: tuple[How, ...] = get_args(How)


@dataclass(frozen=True, eq=False)
class Intervention:
    """One change of one component, ready to be added to its site's output."""

    component: Component
    how: How
    matrix: Tensor
    """Matrix B, applied to the component's input: (d, width)."""
    offset: Tensor
    """Vector c, added whatever the input: (d,)."""


def intervene_on(
    loaded: WeightSource, component: Component, how: How, means: ActivationMeans | MeanInputs, edit: WeightEdit
) -> Intervention:
    """The matrix and the offset of an intervention; `edit` is needed by those that edit."""
    site = loaded.spec.sites[component.site]
    columns = slice(component.index * site.width, (component.index + 1) * site.width)
    if how in ("edited alone", "left out"):
        sign = 1 if how == "edited alone" else -1
        matrix = sign * torch.outer(edit.left[component.site], edit.right[component.site][columns])
        return Intervention(component, how, matrix, torch.zeros(len(matrix)))
    weight = component_weight(loaded, component)
    mean = means.mean[component.site][columns]
    return Intervention(component, how, -weight, weight @ mean if how == "mean" else torch.zeros(len(weight)))


def is_edited(edit: WeightEdit, component: Component) -> bool:
    """Whether the edit changes the component's weights."""
    return bool(edit.strength[component.site][component.index] != 0) and bool(edit.left[component.site].any())


@torch.no_grad()
def component_weight(loaded: WeightSource, component: Component) -> Tensor:
    """The component's block W_i of its site's weight: (d, width), fp32 on the CPU."""
    width = loaded.spec.sites[component.site].width
    start = component.index * width
    for block in loaded.blocks(component.site):
        if start < block.shape[1]:
            return block[:, start : start + width].cpu().clone()
        start -= block.shape[1]
    raise ValueError(f"the site has no component {component.index}")


@contextmanager
def apply_interventions(loaded: LoadedModel, interventions: Sequence[Intervention], n_rows: int) -> Iterator[None]:
    """While the context lasts, rows [k * n_rows, (k + 1) * n_rows) of every batch run under interventions[k].

    Every batch must have len(interventions) * n_rows rows. The caller holds `loaded.lock`.
    """
    handles = []
    by_site: dict[int, list[tuple[int, Intervention]]] = {}
    for k, intervention in enumerate(interventions):
        by_site.setdefault(intervention.component.site, []).append((k, intervention))
    try:
        for index, some in by_site.items():
            site = loaded.spec.sites[index]
            parts = [(slice(k * n_rows, (k + 1) * n_rows), intervention) for k, intervention in some]
            if site.experts:
                handles += watch(loaded.model, site, _ExpertsHook(site, parts, len(interventions) * n_rows))
            else:
                hook = _SiteHook(site.width, parts, len(interventions) * n_rows)
                modules = map(loaded.model.get_submodule, site.places)
                handles += [module.register_forward_hook(hook) for module in modules]
        yield
    finally:
        for handle in handles:
            handle.remove()


Parts = Sequence[tuple[slice, Intervention]]
"""Batch rows with the intervention that they run under."""


class _SiteHook:
    """Forward hook of a plain projection."""

    def __init__(self, width: int, parts: Parts, n_rows: int) -> None:
        self.width, self.parts, self.n_rows = width, parts, n_rows

    def __call__(self, module: nn.Module, inputs: tuple[Any, ...], output: Tensor) -> Tensor:
        x = inputs[0].reshape(self.n_rows, -1, inputs[0].shape[-1])  # some MLPs see (B * T, n_inputs)
        y = output.reshape(self.n_rows, -1, output.shape[-1]).clone()
        for rows, one in self.parts:
            columns = slice(one.component.index * self.width, (one.component.index + 1) * self.width)
            added = x[rows, :, columns].float() @ one.matrix.T.to(x.device) + one.offset.to(x.device)
            y[rows] = (y[rows].float() + added).to(y.dtype)
        return y.reshape(output.shape)


class _ExpertsHook:
    """Callback of `watch` for one site of fused experts; a token that an expert does not receive has no input to it."""

    def __init__(self, site: Site, parts: Parts, n_rows: int) -> None:
        self.per_expert, self.width = site.n_inputs // site.experts, site.width
        self.parts, self.n_rows = parts, n_rows

    def __call__(self, call: Call, output: Tensor) -> Tensor:
        result = output.reshape(-1, output.shape[-1]).to(torch.float32, copy=True)
        length = call.n_tokens // self.n_rows
        for rows, one in self.parts:
            mask = torch.zeros(call.n_tokens, dtype=torch.bool, device=output.device)
            mask[rows.start * length : rows.stop * length] = True
            expert, first = divmod(one.component.index * self.width, self.per_expert)
            for part in call.parts(mask):
                if part.expert == expert and part.inputs.any():
                    x = part.inputs[:, first : first + self.width].float()
                    result.index_add_(0, part.rows, x @ one.matrix.T.to(x.device))
            result[: len(call.receivers)] += mask[call.receivers].unsqueeze(1) * one.offset.to(result.device)
        return result.to(output.dtype).reshape(output.shape)
