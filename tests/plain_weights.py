"""Plain oracles of where a model's sites are: their matrices one by one, and what each received, told by gradients.

Shares no code with the core and no idea of how experts are called: if `y` is what a token got from a matrix `W`, the
gradient of `u . y` with respect to `W` is the outer product of `u` and the matrix's input, routing weight included.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize
from transformers import PreTrainedModel

from s2e_core.spec import Site


def matrices(model: PreTrainedModel, site: Site) -> Iterator[Tensor]:
    """Views (d, n) of the parameter of a site, one per expert, or the one of a plain projection."""
    weight = model.get_submodule(site.name).get_parameter(site.parameter).data
    count = max(site.experts, 1)
    rows = weight.numel() // weight.shape[-1] // count
    for first in range(0, count * rows, rows):
        matrix = weight.view(-1, weight.shape[-1])[first : first + rows]
        yield matrix.T if site.transposed else matrix


def add_to_weight(model: PreTrainedModel, site: Site, left: Tensor, right: Tensor) -> None:
    """Write outer(left, right) into a model's own weight, expert by expert."""
    first = 0
    for matrix in matrices(model, site):
        change = left.unsqueeze(1) * right[first : first + matrix.shape[1]].unsqueeze(0)
        matrix.copy_((matrix.float() + change).to(matrix.dtype))
        first += matrix.shape[1]


def experts_activations(
    model: PreTrainedModel, sites: Sequence[Site], ids: Tensor, positions: Sequence[int]
) -> dict[str, tuple[Tensor, Tensor]]:
    """Of some positions of one text, ids (1, T), by site name: what all experts' projections received, (P, n_inputs),
    and what they and all that stands beside them wrote, (P, d)."""
    weights = {site.name: model.get_submodule(site.name).get_parameter(site.parameter) for site in sites}
    written: dict[str, Tensor] = {}
    handles = []
    for name in weights:

        def keep(module: object, inputs: object, output: Tensor | tuple[Tensor, ...], name: str = name) -> None:
            written[name] = output[0] if isinstance(output, tuple) else output

        handles.append(_summing(model, name).register_forward_hook(keep))
    try:
        for weight in weights.values():
            weight.requires_grad_()
        with torch.enable_grad():
            model(input_ids=ids, use_cache=False)
            summed = {name: y.reshape(-1, ids.shape[1], y.shape[-1]).sum(dim=0) for name, y in written.items()}
            outputs = {name: y[list(positions)] for name, y in summed.items()}
            inputs = {site.name: _inputs(outputs[site.name], weights[site.name], site) for site in sites}
        return {name: (inputs[name], y.detach()) for name, y in outputs.items()}
    finally:
        for handle in handles:
            handle.remove()
        model.requires_grad_(False)


def _summing(model: PreTrainedModel, name: str) -> nn.Module:
    """The module whose output holds the sum over the experts: mostly their own (Llama 4's has them one by one)."""
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
