"""Plain reference results for a model's sites: their matrices one by one, and the inputs of each, from gradients.

They share no code with the core and need not know how experts are called. If `y` is the output of a matrix `W` for a
token, the gradient of `u . y` with respect to `W` is the outer product of `u` and the matrix's input, including the
routing weight.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize
from transformers import PreTrainedModel

from s2e_core.spec import Site


def matrices(model: PreTrainedModel, site: Site) -> Iterator[Tensor]:
    """Views (d, n) of the parameter of a site: one per expert, or a single one for a plain projection."""
    weight = model.get_submodule(site.name).get_parameter(site.parameter).data
    count = max(site.experts, 1)
    rows = weight.numel() // weight.shape[-1] // count
    for first in range(0, count * rows, rows):
        matrix = weight.view(-1, weight.shape[-1])[first : first + rows]
        yield matrix.T if site.transposed else matrix


def add_to_weight(model: PreTrainedModel, site: Site, left: Tensor, right: Tensor) -> None:
    """Add outer(left, right) to a model's own weight, expert by expert."""
    first = 0
    for matrix in matrices(model, site):
        change = left.unsqueeze(1) * right[first : first + matrix.shape[1]].unsqueeze(0)
        matrix.copy_((matrix.float() + change).to(matrix.dtype))
        first += matrix.shape[1]


def expert_activations(
    model: PreTrainedModel, sites: Sequence[Site], ids: Tensor, positions: Sequence[int]
) -> dict[str, tuple[Tensor, Tensor]]:
    """By site name, the inputs (P, n_inputs) of all experts' projections at P positions of one text, ids (1, T), and
    the outputs (P, d) of the experts with everything that is added to them."""
    weights = {site.name: model.get_submodule(site.name).get_parameter(site.parameter) for site in sites}
    module_outputs: dict[str, Tensor] = {}
    handles = []
    for name in weights:

        def record(module: object, inputs: object, output: Tensor | tuple[Tensor, ...], name: str = name) -> None:
            module_outputs[name] = output[0] if isinstance(output, tuple) else output

        handles.append(_summing_module(model, name).register_forward_hook(record))
    try:
        for weight in weights.values():
            weight.requires_grad_()
        with torch.enable_grad():
            model(input_ids=ids, use_cache=False)
            summed = {name: y.reshape(-1, ids.shape[1], y.shape[-1]).sum(dim=0) for name, y in module_outputs.items()}
            outputs = {name: y[list(positions)] for name, y in summed.items()}
            inputs = {site.name: _inputs(outputs[site.name], weights[site.name], site) for site in sites}
        return {name: (inputs[name], y.detach()) for name, y in outputs.items()}
    finally:
        for handle in handles:
            handle.remove()
        model.requires_grad_(False)


def _summing_module(model: PreTrainedModel, name: str) -> nn.Module:
    """The module whose output is the sum over the experts: usually their own (in Llama 4 still one by one)."""
    if type(model.get_submodule(name)).__name__ == "JetMoeParallelExperts":
        name = name.rpartition(".")[0].removesuffix(".experts")
    return model.get_submodule(name)


def _inputs(outputs: Tensor, weight: Tensor, site: Site) -> Tensor:
    u = normalize(torch.randn(outputs.shape[1], generator=torch.Generator().manual_seed(1)), dim=0)
    rows = []
    for y in outputs:
        (gradient,) = torch.autograd.grad(y @ u, weight, retain_graph=True)
        stacked = gradient.view(site.experts, -1, gradient.shape[-1])
        rows.append(torch.cat([u @ (one.T if site.transposed else one) for one in stacked]))
    return torch.stack(rows)
