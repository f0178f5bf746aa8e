"""What a vector does to the next token if a site writes it at every token: the mean Jacobian of the logits.

Knows forward derivatives; no component. The logit lens skips all layers above a site; the Jacobian includes them. It is
exact: forward-mode automatic differentiation through the running model, one pass for each few vectors. The mean is over
the tokens of the responses of given texts, each text with the same weight.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd import forward_ad
from torch.nn.attention import SDPBackend, sdpa_kernel

from s2e_core.errors import S2EError
from s2e_core.measure import TextSpan
from s2e_core.model import LoadedModel, watch

from .lens import centred, has_exact_derivatives

ROWS = 16
"""Texts times vectors in one pass."""


def mean_jacobian(loaded: LoadedModel, site: int, vectors: Tensor, texts: Sequence[TextSpan]) -> Tensor:
    """Derivative of the logits along vectors (n, d) written by a site at every token: (n, vocabulary), centred.

    Raises S2EError if the model is quantised or contains an operation without a forward derivative.
    """
    if not has_exact_derivatives(loaded):
        raise S2EError("There are no exact derivatives through quantised weights. Load the model unquantised.")
    total: Tensor | None = None
    for span in texts:
        parts = [_pushed(loaded, site, some, span) for some in vectors.split(ROWS)]
        pushed = torch.cat(parts)
        total = pushed if total is None else total + pushed
    if total is None:
        raise ValueError("the mean Jacobian needs at least one text")
    return centred(total / len(texts))


def _pushed(loaded: LoadedModel, site: int, vectors: Tensor, span: TextSpan) -> Tensor:
    """The mean over the tokens of one response: (n, vocabulary)."""
    ids = torch.tensor([span.ids] * len(vectors), device=loaded.device)
    with loaded.lock, torch.no_grad(), _plain_experts(loaded), sdpa_kernel(SDPBackend.MATH), forward_ad.dual_level():
        handles = _push(loaded, site, vectors)
        try:
            logits = loaded.model(input_ids=ids, use_cache=False).logits
            tangent = forward_ad.unpack_dual(logits).tangent
        except (NotImplementedError, RuntimeError) as error:
            raise S2EError(
                f"The mean Jacobian cannot be computed for this {loaded.spec.model_type} model, which contains a step "
                f"without a forward derivative ({str(error).splitlines()[0][:120]}). The logit lens does not need it."
            ) from error
        finally:
            for handle in handles:
                handle.remove()
    if tangent is None:
        return torch.zeros(len(vectors), logits.shape[-1])
    return tangent[:, span.start - 1 : len(span.ids) - 1].float().mean(dim=1).cpu()


@contextmanager
def _plain_experts(loaded: LoadedModel) -> Iterator[None]:
    """Experts one after another: their fused kernels have no forward derivative."""
    usual = getattr(loaded.model.config, "_experts_implementation", None)
    if not any(site.experts for site in loaded.spec.sites) or usual is None:
        yield
        return
    try:
        loaded.model.set_experts_implementation("eager")
        yield
    finally:
        loaded.model.set_experts_implementation(usual)


def _push(loaded: LoadedModel, index: int, vectors: Tensor) -> list[Any]:
    """Hooks that give the output of a site the tangent `vectors`, one row of the batch each."""
    site = loaded.spec.sites[index]

    def add(output: Tensor) -> Tensor:
        rows = output.reshape(len(vectors), -1, output.shape[-1])
        tangent = vectors.to(rows).unsqueeze(1).expand_as(rows).contiguous()
        primal, before = forward_ad.unpack_dual(rows)
        if before is not None:  # an earlier run of the same site
            tangent = tangent + before
        return forward_ad.make_dual(primal.contiguous(), tangent).reshape(output.shape)

    if site.experts:
        return watch(loaded.model, site, lambda call, output: add(output))

    def hook(module: nn.Module, inputs: Any, output: Tensor) -> Tensor:
        return add(output)

    return [loaded.model.get_submodule(place).register_forward_hook(hook) for place in site.places]
