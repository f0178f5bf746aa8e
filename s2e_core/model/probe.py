"""Checks by one forward pass that the sites of a model do what an edit assumes.

What names cannot promise is measured: how often each site runs, over which positions, and that its output is the sum of
what its components write. Knows no tokenizer and no file, and does not find the sites.
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

from .decoder_layer import Unfit, number
from .experts import Call, watch
from .placement import is_quantized, running_device, whole_weight
from .sites import naming
from .weights import held_weight

if TYPE_CHECKING:
    from transformers import PreTrainedModel

TOLERANCE = {torch.float32: 1e-4, torch.float64: 1e-4, torch.float16: 5e-3, torch.bfloat16: 2e-2}
"""Largest error of the decomposition, relative to the largest output: half precision rounds every one."""
QUANTIZED_TOLERANCE = 0.1
"""Where a library computes in fewer bits: in int8 it rounds inputs as well, by up to 0.03 in models of 64 channels."""
PROBE_TOKENS = 8
PROBE_TEXTS = 2
READS_AHEAD = 0.05
"""How much another last token may change the logits before it, of what it changes in its own: rounding, no more."""
LEAST_OUTPUT = 1e-4
"""What counts as an output: a projection may write nothing. Largest ones of 0.1 are usual, far below 1."""
LEAST_ROUNDING = 1e-6
"""Of a sum of a few outputs in fp32, relative to it; in half precision its own rounding is larger."""
COLUMNS_AT_ONCE = 2048  # of a weight in fp32: a whole copy of it is never made
FORWARD_ERRORS = (RuntimeError, ValueError, TypeError, IndexError, KeyError, AttributeError)
"""What a model raises that needs more than token ids to run: that is its nature, so the person gets a sentence."""


def verify_sites(model: PreTrainedModel, spec: ModelSpec) -> ModelSpec:
    """Run a few tokens through the model and check that its sites do what an edit assumes; fills `post_norm`.

    Each site must be called exactly once, or as often as its stack runs, and the sum over its components of
    W[:, block] @ x[block], plus the bias, must equal its output (method, "Components"). A site has `post_norm` when a
    norm receives what it and other sites of the layer wrote, and nothing else. What the model computes for a token must
    not depend on later ones: the positions that predict a response would know it already.
    Raises UnsupportedModelError where that does not hold. The model is left without hooks and unchanged.
    """
    ran: list[_Probe] = []
    probes = [_Probe(site, model, ran) for site in spec.sites]
    vocabulary = number(model.config.get_text_config(), ("vocab_size",)) or PROBE_TOKENS
    ids = torch.arange(3, 3 + PROBE_TOKENS, device=running_device(model)).repeat(PROBE_TEXTS, 1)  # (texts, tokens)
    ids[1, -1] += max(1, vocabulary // 2)
    with ExitStack() as hooks, torch.inference_mode(), naming(model.config.model_type):
        for probe in probes:
            for handle in probe.hooks(model):
                hooks.callback(handle.remove)
        for module in model.modules():
            if "norm" in type(module).__name__.lower():
                hooks.callback(module.register_forward_pre_hook(_norm_watcher(ran)).remove)
        try:
            logits = model(input_ids=ids % vocabulary).logits
        except FORWARD_ERRORS as error:
            parted = any(parameter.is_meta for parameter in model.parameters())
            where = ", with a part of the weights on the disk, which not every model allows," if parted else ""
            raise Unfit(f"a forward pass over {PROBE_TOKENS} token ids fails{where} ({error})") from error
        _refuse_reading_ahead(logits.float())
        for probe in probes:
            probe.check()
    return replace(spec, sites=tuple(replace(probe.site, post_norm=probe.post_norm) for probe in probes))


def _refuse_reading_ahead(logits: Tensor) -> None:
    """`logits` (2, tokens, vocabulary) are of two texts that differ in their last token alone."""
    changes = torch.linalg.vector_norm(logits[1] - logits[0], dim=-1)  # (tokens,)
    if changes[:-1].max() > READS_AHEAD * changes[-1]:
        raise Unfit(
            "it reads ahead: what it computes for a token changes with the tokens behind it, so that no position of a "
            "text predicts the next token. A model that was trained to fill gaps has to be loaded as a decoder, if it "
            "can be one"
        )


@dataclass(eq=False)
class _Probe:
    """What one site did during the forward pass."""

    site: Site
    model: PreTrainedModel
    ran: list[_Probe]
    """All probes in the order in which their sites ran, shared by them."""
    module: nn.Module = field(init=False)
    errors: list[float] = field(default_factory=list)
    """Of every run, relative to the largest output."""
    positions: int = 0
    post_norm: bool = False
    output: Tensor = field(init=False)
    """(rows, d): a copy of the last run's, since what follows may change it in place."""

    def __post_init__(self) -> None:
        self.module = self.model.get_submodule(self.site.name)

    def hooks(self, model: PreTrainedModel) -> list[RemovableHandle]:
        if self.site.experts:
            return watch(model, self.site, self.record_experts)
        return [model.get_submodule(place).register_forward_hook(self.record) for place in self.site.places]

    def record(self, module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        x = inputs[0].reshape(-1, self.site.n_inputs)  # (tokens, n_inputs)
        has_bias = getattr(module, "bias", None) is not None
        start = whole_weight(module, "bias").to(x.device).float() if has_bias else torch.zeros((), device=x.device)
        self._compare(output, sum(self._written(x), start), len(x))

    def record_experts(self, call: Call, output: Tensor) -> None:
        written = torch.zeros_like(output.flatten(0, -2), dtype=torch.float32)  # (rows, d)
        stacked = held_weight(self.model, self.site)
        for part in call.parts(torch.ones(call.n_tokens, dtype=torch.bool, device=output.device)):
            weight = stacked[part.expert] if self.site.transposed else stacked[part.expert].T  # (n_inputs, d)
            written.index_add_(0, part.rows, part.inputs.float() @ weight.to(output.device).float())
            if part.more is not None:
                written.index_add_(0, part.rows, part.more.float())
        self._compare(output, written, call.n_tokens)

    def _compare(self, output: Tensor, written: Tensor, positions: int) -> None:
        """`written` is (rows, d): what the components and the bias should have written."""
        self.positions = positions
        self.output = output.reshape(-1, output.shape[-1]).clone()
        self.ran.append(self)
        y = self.output.float()  # (rows, d)
        self.errors.append(float((y - written).abs().max() / y.abs().max().clamp_min(LEAST_OUTPUT)))

    def _written(self, x: Tensor) -> Iterator[Tensor]:
        """What the components write, (tokens, d), some of them at a time."""
        held = held_weight(self.model, self.site)
        weight = held.T if self.site.transposed else held
        step = self.site.width * max(1, COLUMNS_AT_ONCE // self.site.width)
        for start in range(0, self.site.n_inputs, step):
            block = slice(start, start + step)
            yield x[:, block].float() @ weight[:, block].to(x.device).float().T

    def check(self) -> None:
        if len(self.errors) != self.site.runs:
            expected = "once" if self.site.runs == 1 else f"{self.site.runs} times"
            raise Unfit(
                f"{self.site.name} ran {len(self.errors)} times in one forward pass, where {expected} was expected"
            )
        given = PROBE_TEXTS * PROBE_TOKENS
        if self.positions != given:
            raise Unfit(f"{self.site.name} sees {self.positions} positions where {given} tokens were given")
        parameter = self.module.get_parameter(self.site.parameter)
        tolerance = QUANTIZED_TOLERANCE if is_quantized(parameter) else TOLERANCE[parameter.dtype]
        if wrongs := [error for error in self.errors if not error <= tolerance]:  # NaN is wrong too
            if isnan(wrongs[0]):
                raise Unfit(
                    f"{self.site.name} writes numbers that are not finite (NaN or infinity), most likely too large for "
                    f"{str(parameter.dtype).removeprefix('torch.')}; load it in float32 (--dtype float32)"
                )
            wrong = f"off by {wrongs[0]:.2g} where {tolerance:g} is allowed"
            raise Unfit(f"{self.site.name} does not output its weight times its input: it is {wrong}")


def _norm_watcher(ran: list[_Probe]) -> Callable[[nn.Module, tuple[Tensor, ...]], None]:
    """A hook that marks the sites of the latest layer whose outputs are all that the norm receives."""

    def watch(_: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        for x in inputs[:1] if ran else ():
            layer = {id(probe): probe for probe in ran if probe.site.layer == ran[-1].site.layer}.values()
            near = [probe for probe in layer if probe.output.shape == (x.numel() // x.shape[-1], x.shape[-1])]
            for probe, takes_part in zip(near, _parts_of(x, [probe.output for probe in near]), strict=True):
                probe.post_norm |= takes_part

    return watch


def _parts_of(x: Tensor, outputs: Sequence[Tensor]) -> list[bool]:
    """Which of the outputs (rows, d) take part in x (..., d), where every row of x is made of them, each times a factor
    (a constant, or a gate for every token), and of nothing else; none where it is not, as with the residual stream.
    """
    if not outputs:
        return []
    columns = torch.stack(list(outputs), dim=2).double().cpu()  # (rows, d, n)
    sums = x.reshape(-1, x.shape[-1]).double().cpu()  # (rows, d)
    if not (columns.isfinite().all() and sums.isfinite().all()):
        return [False] * len(outputs)
    factors = torch.linalg.lstsq(columns, sums.unsqueeze(2)).solution  # (rows, n, 1)
    shares = columns * factors.mT  # (rows, d, n)
    rounding = max(LEAST_ROUNDING, *(torch.finfo(tensor.dtype).eps for tensor in (x, *outputs)))
    allowed = rounding * torch.linalg.vector_norm(sums, dim=1)  # (rows,)
    if (torch.linalg.vector_norm(sums - shares.sum(dim=2), dim=1) > allowed).any():
        return [False] * len(outputs)
    return (torch.linalg.vector_norm(shares, dim=1) > allowed.unsqueeze(1)).any(dim=0).tolist()
