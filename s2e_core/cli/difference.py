"""The command that opens two checkpoints: which heads and neurons differ, along what, and which recipe is nearest.

Knows options, the terminal and the JSON objects; every computation is a function of the core.
"""

from __future__ import annotations

import argparse
import csv
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from s2e_core.errors import SettingsError
from s2e_core.export import save_edit
from s2e_core.measure import settings_label
from s2e_core.model import LoadedModel, component_label
from s2e_core.settings import EditSettings
from s2e_core.spec import KINDS
from s2e_core.values import Extraction, WeightEdit, WeightSource
from s2e_core.why import ExplainedDifference, Nearest, explain_difference, is_weights, open_weights

from .arguments import DTYPES, add_contrast, add_extraction, parse_count
from .command import Command
from .dials import choose_texts
from .json_output import (
    CONTRAST,
    MODEL,
    RECIPE,
    SETTINGS,
    Fields,
    describe_model,
    describe_optional,
    describe_recipe,
    describe_settings,
    describe_source,
)
from .terminal import (
    ProgressLine,
    check_exists,
    check_formats,
    check_writable,
    extract_chosen,
    load_chosen_behavior,
    load_chosen_contrast,
    load_chosen_model,
    open_output,
    readable,
)

TOP = 10
N_VALUES = 5
"""Singular values of a projection that are printed."""
COMPONENT: Fields = {
    "kind": '"head" or "neuron".',
    "layer": "Number of the layer, from 0.",
    "index": "Number of the component in its layer, from 0.",
    "change": "|dW| of the component.",
    "relative_change": "|dW| / |W| of the component.",
    "name": "Name for a person.",
}
SITE: Fields = {
    "kind": '"heads" or "neurons".',
    "layer": "Number of the layer, from 0.",
    "name": "Path of the projection's module.",
    "change": "|dW| of the projection.",
    "rank_one": "Share of |dW|^2 that its best matrix of rank 1 explains.",
    "singular_values": "Largest singular values of dW, the largest first.",
}
NEAREST: Fields = {
    "settings": ("Dials of the edit.", SETTINGS),
    "explained": "Share of |dW|^2 that the edit explains.",
    "possible": "Share along the behaviour's directions, which no edit along them exceeds.",
}
FIELDS: Fields = {
    "model": ("The first model.", MODEL),
    "second": "Name of the second.",
    "contrast": ("Contrast set of the recipe; null without one.", CONTRAST),
    "relative_size": "|dW| / |W| over all weights that can be edited.",
    "heads": "Number of heads that differ.",
    "neurons": "Number of neurons that differ.",
    "each_rank_one": "Share of |dW|^2 that one matrix of rank 1 for each projection explains.",
    "shared": "Share that one output direction u, the same for all projections, explains.",
    "nearest": ("Nearest recipe; null without examples, or if every edit of them is farther than none.", NEAREST),
    "reversed": ("Nearest recipe of the way back from the second to the first, if that explains more.", NEAREST),
    "recipe": ("Recipe that was written; null without -o.", RECIPE),
    "projections": ("Projections that differ.", [SITE]),
    "components": ("Components that differ, the largest relative change first: all, or as many as --top.", [COMPONENT]),
}


def add_difference(sub: argparse.ArgumentParser) -> None:
    sub.add_argument(
        "first", help='"bundled", "smollm2", a local folder, a GGUF file or a Hub id (owner/name@revision), as --model'
    )
    sub.add_argument(
        "second", help="another checkpoint of the same architecture, named like the first; or what lies on top of the "
        "first: the folder or safetensors file of a LoRA adapter, or a recipe"
    )  # fmt: skip
    add_contrast(sub)
    add_extraction(sub)
    sub.add_argument("--device", help="where the examples are read (default: the fastest there is)")
    sub.add_argument("--dtype", choices=DTYPES, help="number format in memory (default: fp32 on a CPU, else as stored)")
    sub.add_argument("--top", type=parse_count, help=f"components to show (default {TOP}; with --json all)")
    sub.add_argument(
        "--csv", metavar="FILE", help="write all components that differ as CSV instead; - is standard output"
    )
    sub.add_argument(
        "-o", "--output", type=Path, metavar="RECIPE", help="write the nearest recipe of --behavior or --contrast; "
        "without examples the nearest edit along directions of its own"
    )  # fmt: skip


def show_difference(options: argparse.Namespace) -> None:
    opened = _open(options)
    found = opened.found
    if options.csv is not None:
        with open_output(options.csv) as file:
            csv.writer(file).writerows([list(COMPONENT), *(row.values() for row in _components(found, None))])
        return
    difference = found.difference
    counts = " and ".join(f"{difference.count(kind):,} {kind}" for kind in KINDS)
    print(
        f"{opened.loaded.model_id} and {opened.second}: {counts} in {len(difference.changed)} of "
        f"{len(difference.changes)} projections differ, |dW|/|W| = {difference.relative_size:.4f}"
    )
    print(
        f"of |dW|^2, rank 1 for each projection explains {difference.each_rank_one:.1%}, one shared direction "
        f"{difference.shared:.1%}"
    )
    for row in _sites(found):
        values = " ".join(f"{value:.3f}" for value in row["singular_values"][:N_VALUES])
        place = f"layer {row['layer']:<3} {row['kind']:<8}"
        print(f"  {place} |dW| {row['change']:.3f}, rank 1 {row['rank_one']:.1%}: {values}")
    for row in _components(found, TOP if options.top is None else options.top):
        print(f"  {row['name']:<28} |dW|/|W| {row['relative_change']:.4f}")
    for line in _recipe_lines(opened):
        print(line)


def describe_difference(options: argparse.Namespace) -> dict[str, Any]:
    opened = _open(options)
    found, difference = opened.found, opened.found.difference
    return {
        "model": describe_model(opened.loaded),
        "second": opened.second,
        "contrast": describe_optional(lambda read: describe_source(read.provenance), opened.extraction),
        "relative_size": difference.relative_size,
        **{kind: difference.count(kind) for kind in KINDS},
        "each_rank_one": difference.each_rank_one,
        "shared": difference.shared,
        "nearest": describe_optional(_describe_nearest, found.nearest),
        "reversed": describe_optional(_describe_nearest, found.reversed),
        "recipe": None if opened.written is None else describe_recipe(options.output, opened.written),
        "projections": list(_sites(found)),
        "components": list(_components(found, options.top)),
    }


def _describe_nearest(nearest: Nearest) -> dict[str, Any]:
    return {
        "settings": describe_settings(nearest.settings),
        "explained": nearest.explained,
        "possible": nearest.possible,
    }


@dataclass(frozen=True, eq=False)
class _Opened:
    """Two checkpoints, compared."""

    loaded: LoadedModel
    second: str
    extraction: Extraction | None
    found: ExplainedDifference
    written: WeightEdit | None


def _open(options: argparse.Namespace) -> _Opened:
    check_formats(options)
    check_writable(options.output)
    has_examples = bool(options.behavior or options.contrast)
    contrast = load_chosen_contrast(options) if has_examples else None
    _check_paths(options)
    loaded = _load(options, options.first, options.device)
    second, name = _open_second(options, loaded)
    extraction, known = None, list[EditSettings]()
    if contrast is not None:
        contrast = readable(options, contrast, loaded)
        texts = choose_texts(argparse.Namespace(**vars(options), harmless=None), loaded, contrast)
        extraction = extract_chosen(options, loaded, contrast, texts)
        behavior = load_chosen_behavior(options) if options.behavior else None
        known = [one for one in (behavior.best, behavior.settings) if one is not None] if behavior else []
    with ProgressLine("comparing") as progress:
        found = explain_difference(loaded, second, extraction, name=name, known=known, progress=progress)
    written = _edit_to_write(found, extraction) if options.output is not None else None
    if written is not None:
        save_edit(written, options.output)
    return _Opened(loaded, name, extraction, found, written)


def _check_paths(options: argparse.Namespace) -> None:
    """A file that is missing is said before a model is loaded."""
    second = Path(options.second)
    if second.suffix == ".safetensors":
        check_exists(second)


def _open_second(options: argparse.Namespace, loaded: LoadedModel) -> tuple[WeightSource, str]:
    path = Path(options.second)
    if is_weights(path):
        return open_weights(loaded, path), path.name
    other = _load(options, options.second, "cpu")
    return other, other.model_id


def _load(options: argparse.Namespace, name: str, device: str | None) -> LoadedModel:
    one_model = dict.fromkeys(("revision", "max_memory", "quantize", "originals", "adapter", "template_args"))
    return load_chosen_model(argparse.Namespace(**one_model, model=name, device=device, dtype=options.dtype))


def _edit_to_write(found: ExplainedDifference, extraction: Extraction | None) -> WeightEdit:
    if extraction is None:
        return found.own
    if found.nearest is None:
        raise SettingsError(
            "No edit of these examples is nearer to the difference than none, so no recipe was written. Leave the "
            "examples out to write the nearest edit along directions of its own, or swap the two models."
        )
    return found.nearest.edit


def _recipe_lines(opened: _Opened) -> Iterator[str]:
    found, chance = opened.found, opened.found.by_chance
    if opened.extraction is not None:
        nearest, back, name = found.nearest, found.reversed, opened.extraction.provenance.contrast_name
        if nearest is None:
            yield f"no edit of {name} is nearer than none"
        else:
            yield f"{nearest.possible:.1%} lies along {name} ({chance:.1%} by chance)"
            yield f"nearest recipe explains {nearest.explained:.2%}: {_label(nearest.settings)}"
        if back is not None:
            yield f"the way back is nearer, {back.explained:.2%}: the second model lacks {_label(back.settings)}"
    if opened.written is not None:
        counts = " and ".join(f"{opened.written.count(kind):,} {kind}" for kind in KINDS)
        yield f"recipe of {counts} written"


def _label(settings: EditSettings) -> str:
    return f"{settings.family}, {settings_label(settings)}"


def _sites(found: ExplainedDifference) -> Iterator[dict[str, Any]]:
    difference = found.difference
    for i in difference.changed:
        site = difference.spec.sites[i]
        change = float(difference.changes[i].square().sum()) ** 0.5
        values = difference.spectrum[i].tolist()
        row: Sequence[Any] = (site.kind, site.layer, site.name, change, float(difference.rank_one[i]), values)
        yield dict(zip(SITE, row, strict=True))


def _components(found: ExplainedDifference, count: int | None) -> Iterator[dict[str, Any]]:
    difference = found.difference
    spec = difference.spec
    for component in difference.largest(sum(map(len, difference.changes)) if count is None else count):
        site = spec.sites[component.site]
        row: Sequence[Any] = (
            site.kind.removesuffix("s"), site.layer, component.index,
            float(difference.changes[component.site][component.index]),
            float(difference.relative[component.site][component.index]), component_label(spec, component),
        )  # fmt: skip
        yield dict(zip(COMPONENT, row, strict=True))


COMMAND = Command(
    "difference", "How two checkpoints differ, head by head, and the recipe that is nearest.", add_difference,
    show_difference, needs_model=False, describe=describe_difference, fields=FIELDS,
)  # fmt: skip
