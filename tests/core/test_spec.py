"""When two models have the same sites, so that values per site of one fit the other."""

from __future__ import annotations

from dataclasses import replace

import pytest

from s2e_core.spec import ModelSpec, Site

HEADS = Site(0, "heads", "layers.0.o_proj", 4, 2)
NEURONS = Site(0, "neurons", "layers.0.down_proj", 6, 1)
SPEC = ModelSpec("llama", 1, 8, (HEADS, NEURONS))


def test_how_a_weight_is_stored_and_what_a_norm_does_makes_no_other_sites():
    stored = replace(HEADS, transposed=True, post_norm=True)
    assert SPEC.same_sites(SPEC)
    assert SPEC.same_sites(replace(SPEC, sites=(stored, NEURONS), unreachable=("No MLP in layer 1.",)))


@pytest.mark.parametrize(
    "other",
    [
        replace(SPEC, sites=(HEADS,)),
        replace(SPEC, sites=(NEURONS, HEADS)),
        replace(SPEC, sites=(replace(HEADS, name="layers.1.o_proj"), NEURONS)),
        replace(SPEC, sites=(HEADS, replace(NEURONS, n_components=7))),
        replace(SPEC, sites=(replace(HEADS, n_components=2, width=4), NEURONS)),
        replace(SPEC, d_model=16),
    ],
    ids=["fewer", "another order", "another module", "more neurons", "wider heads", "another residual width"],
)
def test_other_modules_components_or_widths_are_other_sites(other):
    assert not SPEC.same_sites(other)
    assert not other.same_sites(SPEC)
