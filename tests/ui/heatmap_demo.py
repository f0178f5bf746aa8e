"""A page with nothing but heatmaps, driven by the real edit formulas on made-up scores, for the browser tests."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import gradio as gr
import torch
from components.select.heatmap import heatmap
from components.shared.grid_packing import Mode, heatmap_value, read_pick, shown_columns

from s2e_core import ComponentScores, EditSettings, Extraction, Selection, SteeringDirections, WeightEdit, build_edit
from s2e_core.spec import Kind, ModelSpec, Site
from s2e_core.values import MeanInputs, Provenance

HERE = Provenance("made up", None, "0", "made up", "0")


def made_up(
    n_layers: int, n_heads: int, n_neurons: int, *, without_heads: tuple[int, ...] = (), experts: int = 0
) -> ComponentScores:
    """Scores as a small model might have them: mostly luck, a few components that matter, in the later layers.

    Experts of `n_neurons` in all stand beside a shared MLP of 4.
    """
    draw = torch.Generator().manual_seed(n_layers)
    sites = []
    for layer in range(n_layers):
        if layer not in without_heads:
            sites.append(Site(layer, "heads", f"layers.{layer}.o", n_heads, 4))
        if experts:
            sites.append(Site(layer, "neurons", f"layers.{layer}.mlp.shared.down", 4, 1))
        sites.append(Site(layer, "neurons", f"layers.{layer}.down", n_neurons, 1, experts=experts))
    spec = ModelSpec("made up", n_layers, 16, tuple(sites))
    g = []
    for site in sites:
        luck = torch.randn(site.n_components, generator=draw) * (0.02 + 0.06 * site.layer / n_layers)
        rare = torch.rand(site.n_components, generator=draw) < 0.12
        g.append((luck * torch.where(rare, 4.0, 1.0)).clamp(-1, 1))
    keys = [torch.nn.functional.normalize(torch.randn(s.n_components, s.width, generator=draw), dim=1) for s in sites]
    ones = tuple(torch.ones(site.n_components) for site in sites)
    return ComponentScores(spec, tuple(g), tuple(keys), ones, tuple(g), HERE)


def edit_of(scores: ComponentScores, tau: float, selection: Selection | None = None) -> WeightEdit:
    """Every component with |g| > tau, and the selection by hand."""
    unit = torch.ones(scores.spec.d_model) / scores.spec.d_model**0.5
    n = len(scores.spec.sites)
    directions = SteeringDirections(scores.spec, (unit,) * n, torch.ones(n), HERE)
    settings = EditSettings(tau / 0.5, tau / 0.5, 0.5, selection=selection or Selection())
    inputs = MeanInputs(scores.spec, tuple(torch.zeros(site.n_inputs) for site in scores.spec.sites), None, HERE)
    return build_edit(Extraction(inputs, directions, scores), settings)


def picked_selection(edit: WeightEdit, pick: Any, kind: Kind) -> Selection:
    """A toggle includes what is not edited and excludes what is; the other actions say it themselves."""
    selection = edit.settings.selection
    included, excluded = set(selection.included), set(selection.excluded)
    for component in pick.components(edit.spec, kind):
        is_on = bool(edit.strength[component.site][component.index])
        on = not is_on if pick.action == "toggle" else pick.action == "include"
        (included if on else excluded).add(component)
        (excluded if on else included).discard(component)
    return replace(selection, included=frozenset(included), excluded=frozenset(excluded))


def demo_page(scores: ComponentScores, kind: Kind, *, tau: float = 0.1, limit: int | None = 1000) -> gr.Blocks:
    """One heatmap with a threshold slider and a log of picks, in a tab beside an empty one.

    Answers to picks that come close together reach the browser in any order; the button tells both once more.
    """
    columns = shown_columns(scores, kind, limit=limit)
    titles = {"heads": "Attention heads", "neurons": "MLP neurons"}

    def value(edit: WeightEdit, mode: Mode = "g", seq: int = 0) -> dict[str, Any]:
        return heatmap_value(kind, scores, edit, columns=columns, mode=mode, title=titles[kind], seq=seq)

    def picked(selection: Selection, past: str, _: int, event: gr.EventData) -> tuple[Any, ...]:
        pick = read_pick(event._data, kind, columns)
        edit = edit_of(scores, tau, picked_selection(edit_of(scores, tau, selection), pick, kind))
        log = f"{past}{pick.action} {list(pick.cells[:2])} of {len(pick.cells)}\n"
        return edit.settings.selection, log, pick.seq, value(edit, seq=pick.seq), log

    def told(selection: Selection, past: str, seq: int) -> tuple[dict[str, Any], str]:
        return value(edit_of(scores, tau, selection), seq=seq), past

    def moved(selection: Selection, threshold: float, mode: Mode) -> dict[str, Any]:
        return value(edit_of(scores, threshold, selection), mode)

    with gr.Blocks() as demo:
        state, past, last = gr.State(Selection()), gr.State(""), gr.State(0)
        with gr.Tabs():
            with gr.Tab("Map"):
                grid = heatmap(kind, elem_id="grid", label="Attention heads by layer")
            with gr.Tab("Other"):
                gr.Textbox("nothing here", label="empty")
        threshold = gr.Slider(0.01, 0.4, tau, step=0.005, label="threshold", elem_id="tau", interactive=True)
        mode = gr.Radio(["g", "lambda"], value="g", label="colour", elem_id="mode", interactive=True)
        log = gr.Textbox("", lines=8, max_lines=30, label="log", elem_id="log")
        grid.pick(
            picked, [state, past, last], [state, past, last, grid, log], trigger_mode="multiple", concurrency_limit=1,
            show_progress="hidden", api_visibility="private",
        )  # fmt: skip
        again = gr.Button("Again", elem_id="again")
        again.click(told, [state, past, last], [grid, log], show_progress="hidden", api_visibility="private")
        for dial in (threshold.change, mode.change):
            dial(moved, [state, threshold, mode], grid, show_progress="hidden", queue=False)
        demo.load(moved, [state, threshold, mode], grid, show_progress="hidden")
    return demo
