"""Which kind of head it is: six figures of the attention of every head, as ranks among all heads of the model.

Knows attention weights and token ids; no score. The weights of a layer are reduced as they come, and never kept.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor

from s2e_core.measure import encode_text
from s2e_core.model import LoadedModel
from s2e_core.progress import Progress
from s2e_core.spec import Component, ModelSpec
from s2e_core.values import Example

from .attention import run_to_the_end, unknown_attention, watch_attention

Metric = Literal["self", "previous token", "entropy", "distance", "variance", "induction"]
METRICS: tuple[Metric, ...] = get_args(Metric)
N_TEXTS = 24
"""Texts that are read, at even distances."""


@dataclass(frozen=True, eq=False)
class HeadKinds:
    """Six figures of the attention of every head, means over the tokens of some texts but the first of each.

    | metric | of the attention A of a token at i to the tokens at j <= i |
    |---|---|
    | self | A at i |
    | previous token | A at i - 1 |
    | entropy | -sum A ln A, nats |
    | distance | sum A (i - j), tokens |
    | variance | sum A (i - j)^2 - distance^2 |
    | induction | A at all j whose previous token is the token at i, over tokens that occurred before |
    """

    spec: ModelSpec
    values: Mapping[Metric, Mapping[int, Tensor]]
    """Figures by the index of the site: (n_components,); NaN for induction if no token occurs twice."""

    def of(self, component: Component) -> dict[Metric, tuple[float, int, int]]:
        """Value, rank (1 is the largest of all heads) and number of heads, for every metric of one head."""
        found: dict[Metric, tuple[float, int, int]] = {}
        for metric, sites in self.values.items():
            value = float(sites[component.site][component.index])
            all_values = torch.cat(list(sites.values()))
            found[metric] = value, 1 + int((all_values > value).sum()), len(all_values)
        return found


def head_kinds(loaded: LoadedModel, texts: Sequence[str | Example], *, progress: Progress | None = None) -> HeadKinds:
    """The six figures of every head on at most N_TEXTS texts, one pass each. `progress` counts texts.

    Heads inside experts have none. Raises S2EError if the model does not tell its attention, Cancelled if `progress`
    raises it.
    """
    n = min(len(texts), N_TEXTS)
    read = [encode_text(loaded, texts[k * len(texts) // n]).ids for k in range(n)]
    heads = [i for i in loaded.spec.of_kind("heads") if not loaded.spec.sites[i].experts]
    sums = {i: torch.zeros(len(METRICS), loaded.spec.sites[i].n_components, dtype=torch.float64) for i in heads}
    counts = torch.zeros(len(METRICS), 1, dtype=torch.float64)
    seen: set[int] = set()
    for number, ids in enumerate(read):
        masks = _Positions(torch.tensor(ids))

        def take(index: int, weights: Tensor, masks: _Positions = masks) -> None:
            sums[index] += masks.totals(weights[0].float().cpu()) / loaded.spec.sites[index].runs
            seen.add(index)

        counts += masks.counts
        batch = torch.tensor([ids], device=loaded.device)
        with watch_attention(loaded, heads, take):
            run_to_the_end(loaded, batch, torch.ones_like(batch))
        if progress is not None:
            progress(number + 1, n)
    if not seen:
        raise unknown_attention(loaded)
    means = {index: (sums[index] / counts).float() for index in sorted(seen)}
    return HeadKinds(
        loaded.spec, {metric: {i: mean[m] for i, mean in means.items()} for m, metric in enumerate(METRICS)}
    )


class _Positions:
    """What the figures need of the tokens of one text, computed once for all layers."""

    def __init__(self, ids: Tensor) -> None:
        n = len(ids)
        positions = torch.arange(n)
        self.distance = (positions.unsqueeze(1) - positions).clamp(min=0).float()  # (T, T)
        earlier = positions < positions.unsqueeze(1)
        same = (ids == ids.unsqueeze(1)) & earlier  # [i, j]: the token at i occurred at j
        self.after = torch.zeros(n, n)
        self.after[:, 1:] = same[:, :-1].float()
        repeated = float(same.any(dim=1).sum())
        self.counts = torch.tensor([n - 1] * (len(METRICS) - 1) + [repeated], dtype=torch.float64).unsqueeze(1)

    def totals(self, attention: Tensor) -> Tensor:
        """Sums over all tokens but the first, of every figure and head: (metrics, H); `attention` is (H, T, T)."""
        a = attention[:, 1:]
        distance = (a * self.distance[1:]).sum(dim=2)
        square = (a * self.distance[1:].square()).sum(dim=2)
        figures = (
            attention.diagonal(dim1=1, dim2=2)[:, 1:],
            attention.diagonal(offset=-1, dim1=1, dim2=2),
            -torch.special.xlogy(a, a).sum(dim=2),
            distance,
            square - distance.square(),
            (a * self.after[1:]).sum(dim=2),
        )
        return torch.stack([figure.double().sum(dim=1) for figure in figures])
