"""What components are called where a layer has experts, shared MLPs, or one projection of each kind alone."""

from __future__ import annotations

from s2e_core import Component
from s2e_core.model import component_label, component_name, grid_parts, remarks
from s2e_core.model.names import format_layers
from s2e_core.spec import ModelSpec, Site, grid_component
from tests.families import in_memory, tiny_model

PLAIN = ModelSpec("llama", 1, 8, (Site(0, "heads", "a.self_attn.o_proj", 4, 2), Site(0, "neurons", "a.mlp.down", 6, 1)))
SHARED = Site(0, "neurons", "model.layers.0.mlp.shared_experts.down_proj", 5, 1)
EXPERTS = Site(0, "neurons", "model.layers.0.mlp.experts", 12, 1, experts=3)
MIXED = ModelSpec("moe", 1, 8, (SHARED, EXPERTS))


def test_a_projection_alone_in_its_layer_needs_no_name():
    assert component_label(PLAIN, Component(0, 3)) == "layer 0 head 3"
    assert component_label(PLAIN, Component(1, 5)) == "layer 0 neuron 5"
    assert grid_parts(PLAIN, "neurons", 0) == [(0, 6, 0, "")]


def test_a_neuron_of_an_expert_is_counted_within_its_expert():
    assert [component_name(MIXED, Component(1, i)) for i in (0, 3, 4, 11)] == [
        "expert 0 neuron 0",
        "expert 0 neuron 3",
        "expert 1 neuron 0",
        "expert 2 neuron 3",
    ]


def test_a_projection_beside_experts_is_told_by_its_module():
    assert component_name(MIXED, Component(0, 4)) == "neuron 4 (mlp.shared_experts)"
    assert grid_parts(MIXED, "neurons", 0) == [(0, 5, 0, "mlp.shared_experts"), (5, 12, 3, "")]


def test_all_names_in_a_layer_differ_and_each_is_at_its_place_in_the_grid():
    for model_type in ("qwen2_moe", "longcat_flash", "inkling_text", "jetmoe"):
        spec = in_memory(tiny_model(model_type)).spec
        for kind in ("heads", "neurons"):
            names = []
            for first, size, experts, where in grid_parts(spec, kind, 1):
                component = grid_component(spec, kind, 1, first)
                assert (component.index, spec.sites[component.site].n_components) == (0, size)
                assert spec.sites[component.site].experts == experts
                assert where in component_name(spec, component)
                names += [component_name(spec, Component(component.site, i)) for i in range(size)]
            assert (
                len(set(names))
                == len(names)
                == sum(s.n_components for s in spec.sites if (s.layer, s.kind) == (1, kind))
            )


def test_runs_of_layers_are_shortened():
    assert format_layers([3]) == "layer 3"
    assert format_layers([0, 1, 2, 4, 7, 8]) == "layers 0 to 2, 4, 7 to 8"


def test_norms_behind_projections_are_said_and_that_strong_edits_saturate():
    saturate = "an edit turns that output towards the behaviour but cannot make it larger, so strong edits saturate."
    assert remarks(in_memory(tiny_model("llama")).spec) == ()
    assert remarks(in_memory(tiny_model("gemma2")).spec) == (
        f"In layers 0 to 2 a norm follows the output of heads and neurons: {saturate}",
    )
    assert remarks(in_memory(tiny_model("axk1")).spec)[-1].endswith(f"a norm follows the output of neurons: {saturate}")
    no_heads, norm = remarks(in_memory(tiny_model("olmo_hybrid")).spec)
    assert no_heads.startswith("No attention heads in layers 0 to 1: ")
    assert norm == f"In layer 2 a norm follows the output of heads and neurons: {saturate}"
