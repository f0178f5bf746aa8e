"""Checks in one forward pass that the sites of a model do what an edit assumes.

It measures how often each site runs, at which positions, and whether its output is the sum of what its components
write. Knows no tokenizer and no file, and does not find the sites.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from math import isnan
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from s2e_core.spec import ModelSpec, Site

from .decoder_layer import Unfit, first_positive_int
from .experts import Call, watch
from .placement import is_quantized, read_parameter, running_device
from .sites import report_unfit
from .weights import stored_weight

if TYPE_CHECKING:
    from transformers import PreTrainedModel

TOLERANCE = {torch.float32: 1e-4, torch.float64: 1e-4, torch.float16: 5e-3, torch.bfloat16: 2e-2}
"""Largest allowed error of the decomposition, relative to the largest output; half precision rounds all outputs."""
QUANTIZED_TOLERANCE = 0.1
"""Largest allowed error with quantised weights; int8 also rounds the inputs, by up to 0.03 in models of 64 channels."""
PROBE_TOKENS = 8
PROBE_TEXTS = 2
MAX_READ_AHEAD = 0.05
"""Largest change of earlier logits that counts as rounding, relative to the change at the exchanged last token."""
MIN_OUTPUT = 1e-4
"""Smallest scale for relative errors, since a projection may write nothing; the largest output is usually near 0.1."""
MIN_ROUNDING = 1e-6
"""Relative rounding error of a sum of a few outputs in fp32; half precision rounds more."""
COLUMNS_AT_ONCE = 2048  # columns of a weight in fp32 at a time, to avoid a copy of the whole weight
FORWARD_ERRORS = (RuntimeError, ValueError, TypeError, IndexError, KeyError, AttributeError)
"""Errors of a model that needs more than token ids to run; they are reported as a reason why it is unfit."""


def verify_sites(model: PreTrainedModel, spec: ModelSpec) -> ModelSpec:
    """Run a few tokens through the model, check that its sites do what an edit assumes, and fill in `post_norm`.

    Each site must run exactly `runs` times, and its output must be its bias plus the sum over its components of
    W[:, block] @ x[block] (README, step 2: alignment). A token's result must not depend on later tokens, or the
    positions that predict a response would already know it. A site has `post_norm` if a norm receives the outputs of
    this and other sites of the layer, and nothing else. The model is left unchanged and without hooks.
    Raises UnsupportedModelError if a check fails.
    """
    calls: list[_Probe] = []
    probes = [_Probe(site, model, calls) for site in spec.sites]
    vocabulary = first_positive_int(model.config.get_text_config(), ("vocab_size",)) or PROBE_TOKENS
    ids = torch.arange(3, 3 + PROBE_TOKENS, device=running_device(model)).repeat(PROBE_TEXTS, 1)  # (texts, tokens)
    ids[1, -1] += max(1, vocabulary // 2)
    with ExitStack() as hooks, torch.inference_mode(), report_unfit(model.config.model_type):
        for probe in probes:
            for handle in probe.hooks(model):
                hooks.callback(handle.remove)
        for module in model.modules():
            if "norm" in type(module).__name__.lower():
                hooks.callback(module.register_forward_pre_hook(_norm_watcher(calls)).remove)
        try:
            logits = model(input_ids=ids % vocabulary).logits
        except FORWARD_ERRORS as error:
            offloaded = any(parameter.is_meta for parameter in model.parameters())
            cause = ", with part of the weights on disk, which not every model allows," if offloaded else ""
            raise Unfit(f"a forward pass over {PROBE_TOKENS} token ids fails{cause} ({error})") from error
        _refuse_reading_ahead(logits.float())
        for probe in probes:
            probe.check()
    return replace(spec, sites=tuple(replace(probe.site, post_norm=probe.post_norm) for probe in probes))


def _refuse_reading_ahead(logits: Tensor) -> None:
    """Raise Unfit if two texts that differ in the last token only have other logits (2, tokens, vocabulary) before."""
    changes = torch.linalg.vector_norm(logits[1] - logits[0], dim=-1)  # (tokens,)
    if changes[:-1].max() > MAX_READ_AHEAD * changes[-1]:
        raise Unfit(
            "it reads ahead: what it computes for a token changes with the tokens after it, so no position of a text "
            "predicts the next token. If the model was trained to fill gaps, load it as a decoder, if it can be one"
        )


@dataclass(eq=False)
class _Probe:
    """What one site did during the forward pass."""

    site: Site
    model: PreTrainedModel
    calls: list[_Probe]
    """Probes of all sites in the order of their runs; all probes share this list."""
    module: nn.Module = field(init=False)
    errors: list[float] = field(default_factory=list)
    """Error of every run, relative to the largest output."""
    positions: int = 0
    post_norm: bool = False
    output: Tensor = field(init=False)
    """Copy of the last run's output, as later modules may change it in place: (rows, d)."""

    def __post_init__(self) -> None:
        self.module = self.model.get_submodule(self.site.name)

    def hooks(self, model: PreTrainedModel) -> list[RemovableHandle]:
        if self.site.experts:
            return watch(model, self.site, self.record_experts)
        return [model.get_submodule(place).register_forward_hook(self.record) for place in self.site.places]

    def record(self, module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        x = inputs[0].reshape(-1, self.site.n_inputs)  # (tokens, n_inputs)
        has_bias = getattr(module, "bias", None) is not None
        bias = read_parameter(module, "bias").to(x.device).float() if has_bias else torch.zeros((), device=x.device)
        self._compare(output, sum(self._partial_outputs(x), bias), len(x))

    def record_experts(self, call: Call, output: Tensor) -> None:
        expected = torch.zeros_like(output.flatten(0, -2), dtype=torch.float32)  # (rows, d)
        stack = stored_weight(self.model, self.site)
        for part in call.parts(torch.ones(call.n_tokens, dtype=torch.bool, device=output.device)):
            weight = stack[part.expert] if self.site.transposed else stack[part.expert].T  # (n_inputs, d)
            expected.index_add_(0, part.rows, part.inputs.float() @ weight.to(output.device).float())
            if part.more is not None:
                expected.index_add_(0, part.rows, part.more.float())
        self._compare(output, expected, call.n_tokens)

    def _compare(self, output: Tensor, expected: Tensor, positions: int) -> None:
        """Record an output and its error; `expected` (rows, d) is the sum of the components and the bias."""
        self.positions = positions
        self.output = output.reshape(-1, output.shape[-1]).clone()
        self.calls.append(self)
        y = self.output.float()  # (rows, d)
        self.errors.append(float((y - expected).abs().max() / y.abs().max().clamp_min(MIN_OUTPUT)))

    def _partial_outputs(self, x: Tensor) -> Iterator[Tensor]:
        """Outputs (tokens, d) of consecutive groups of components."""
        stored = stored_weight(self.model, self.site)
        weight = stored.T if self.site.transposed else stored
        step = self.site.width * max(1, COLUMNS_AT_ONCE // self.site.width)
        for start in range(0, self.site.n_inputs, step):
            block = slice(start, start + step)
            yield x[:, block].float() @ weight[:, block].to(x.device).float().T

    def check(self) -> None:
        """Raise Unfit unless the runs, the positions and every output were as expected."""
        if len(self.errors) != self.site.runs:
            raise Unfit(f"{self.site.name} ran {len(self.errors)} times in one forward pass; {self.site.runs} expected")
        n_tokens = PROBE_TEXTS * PROBE_TOKENS
        if self.positions != n_tokens:
            raise Unfit(f"{self.site.name} receives {self.positions} positions for {n_tokens} tokens")
        parameter = self.module.get_parameter(self.site.parameter)
        tolerance = QUANTIZED_TOLERANCE if is_quantized(parameter) else TOLERANCE[parameter.dtype]
        if too_large := [error for error in self.errors if not error <= tolerance]:  # includes NaN
            if isnan(too_large[0]):
                raise Unfit(
                    f"{self.site.name} writes numbers that are not finite (NaN or infinity), most likely too large for "
                    f"{str(parameter.dtype).removeprefix('torch.')}; load it in float32 (--dtype float32)"
                )
            error = f"the error is {too_large[0]:.2g}, and at most {tolerance:g} is allowed"
            raise Unfit(f"{self.site.name} does not output its weight times its input: {error}")


def _norm_watcher(calls: list[_Probe]) -> Callable[[nn.Module, tuple[Tensor, ...]], None]:
    """A hook that marks the sites of the latest layer if a norm receives their outputs and nothing else."""

    def watch(_: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        for x in inputs[:1] if calls else ():
            layer = {id(probe): probe for probe in calls if probe.site.layer == calls[-1].site.layer}.values()
            candidates = [probe for probe in layer if probe.output.shape == (x.numel() // x.shape[-1], x.shape[-1])]
            marks = _contributing(x, [probe.output for probe in candidates])
            for probe, contributes in zip(candidates, marks, strict=True):
                probe.post_norm |= contributes

    return watch


def _contributing(x: Tensor, outputs: Sequence[Tensor]) -> list[bool]:
    """For each output (rows, d), whether it contributes to x (..., d).

    None does unless every row of x is a sum of outputs, each times a factor (a constant, or a gate per token), and of
    nothing else; the residual stream is not such a sum.
    """
    if not outputs:
        return []
    columns = torch.stack(list(outputs), dim=2).double().cpu()  # (rows, d, n)
    sums = x.reshape(-1, x.shape[-1]).double().cpu()  # (rows, d)
    if not (columns.isfinite().all() and sums.isfinite().all()):
        return [False] * len(outputs)
    factors = torch.linalg.lstsq(columns, sums.unsqueeze(2)).solution  # (rows, n, 1)
    shares = columns * factors.mT  # (rows, d, n)
    rounding = max(MIN_ROUNDING, *(torch.finfo(tensor.dtype).eps for tensor in (x, *outputs)))

    allowed = rounding * torch.linalg.vector_norm(sums, dim=1)  # (rows,)
    if (torch.linalg.vector_norm(sums - shares.sum(dim=2), dim=1) > allowed).any():
        return [False] * len(outputs)
    return (torch.linalg.vector_norm(shares, dim=1) > allowed.unsqueeze(1)).any(dim=0).tolist()
