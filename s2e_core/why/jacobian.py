"""What a vector does to the next token if a site writes it at every token: the mean Jacobian of the logits.

Knows forward derivatives; no component. The logit lens skips all layers above a site; the Jacobian includes them. It is
exact: forward-mode automatic differentiation through the running model, few vectors and texts in one pass. The mean is
over the tokens of the responses of given texts, each text with the same weight.
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
from s2e_core.loading import is_out_of_memory
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
    if not texts:
        raise ValueError("the mean Jacobian needs at least one text")
    rows = [(k, span) for k in range(len(vectors)) for span in texts]
    total = torch.zeros(len(vectors), loaded.model.config.get_text_config().vocab_size)
    for first in range(0, len(rows), ROWS):
        some = rows[first : first + ROWS]
        numbers = [k for k, _ in some]
        total.index_add_(0, torch.tensor(numbers), _pushed(loaded, site, vectors[numbers], [span for _, span in some]))
    return centred(total / len(texts))


def _pushed(loaded: LoadedModel, site: int, vectors: Tensor, spans: Sequence[TextSpan]) -> Tensor:
    """The mean over the tokens of one response for every row: (rows, vocabulary)."""
    length = max(len(span.ids) for span in spans)
    ids = torch.tensor([[*span.ids, *[0] * (length - len(span.ids))] for span in spans], device=loaded.device)
    mask = torch.tensor([[1] * len(span.ids) + [0] * (length - len(span.ids)) for span in spans], device=loaded.device)
    with loaded.lock, torch.no_grad(), _plain_experts(loaded), sdpa_kernel(SDPBackend.MATH), forward_ad.dual_level():
        handles = _push(loaded, site, vectors)
        try:
            logits = loaded.model(input_ids=ids, attention_mask=mask, use_cache=False).logits
            tangent = forward_ad.unpack_dual(logits).tangent
        except (NotImplementedError, RuntimeError) as error:
            if is_out_of_memory(error):
                raise
            raise S2EError(
                f"The mean Jacobian cannot be computed for this {loaded.spec.model_type} model, which contains a step "
                f"without a forward derivative ({str(error).splitlines()[0][:120]}). The logit lens does not need it."
            ) from error
        finally:
            for handle in handles:
                handle.remove()
    if tangent is None:
        return torch.zeros(len(spans), logits.shape[-1])
    answers = [row[span.start - 1 : len(span.ids) - 1] for row, span in zip(tangent, spans, strict=True)]
    return torch.stack([answer.float().mean(dim=0).cpu() for answer in answers])


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
