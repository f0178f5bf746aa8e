"""The command line: `python -m s2e_core COMMAND`; see COMMANDS at the end, or `--help`.

Knows arguments and the terminal; every computation is the core's public functions. `data` is in `cli/data.py`, the
commands that measure are in `cli/measure.py`. Results go to standard output, progress to standard error; bad input
ends with one sentence and exit status 2.
"""

from __future__ import annotations

import argparse
import csv
import logging
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path

from transformers.utils import logging as transformers_logging

from s2e_core.data import fitting_folder, list_behaviors
from s2e_core.errors import S2EError
from s2e_core.export import ExportFormat, export_adapter, export_checkpoint, export_size, load_edit, save_edit
from s2e_core.files import check_empty
from s2e_core.generation import compare
from s2e_core.loading import available_memory, described_template, described_tokenizer, memory_held, residence
from s2e_core.method import build_edit, relative_changes, summarize
from s2e_core.model import LoadedModel, namer, parameter_count, remarks
from s2e_core.spec import KINDS, ModelSpec
from s2e_core.text import readable_size
from s2e_core.values import ComponentScores, Edited, Original, Steered, Variant, WeightEdit
from s2e_core.verify import NotCheckedError, check_room, verify_export

from .arguments import PROGRAM, parse
from .data import show_data
from .importing import import_foreign
from .measure import evaluate_variants, find, sweep_grid
from .take_home import push
from .terminal import (
    check_place,
    check_settings,
    check_there,
    chosen_contrast,
    chosen_model,
    chosen_settings,
    extracted,
    output,
    progress_line,
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit status (0 done, 1 not checked or wrong, 2 bad input, 130 interrupted)."""
    options = parse(arguments, {name: str(run.__doc__) for name, run in COMMANDS.items()})
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    # What PEFT sets off beside its work: it imports bitsandbytes where that is installed, and asks for an old name.
    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", ".*is_gradient_checkpointing", FutureWarning)
    try:
        return int(COMMANDS[options.command](options) or 0)
    except S2EError as error:
        print(f"{PROGRAM}: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("Stopped.", file=sys.stderr)
        return 130


def info(options: argparse.Namespace) -> None:
    """What the model is and where its components are."""
    loaded = chosen_model(options)
    spec = loaded.spec
    layers = {kind: len({spec.sites[i].layer for i in spec.of_kind(kind)}) for kind in KINDS}
    rows = {
        "model": loaded.model_id,
        "revision": loaded.revision or "local",
        "type": spec.model_type,
        "parameters": f"{parameter_count(loaded.model):,}",
        "device, dtype": residence(loaded),
        "memory": _memory(loaded),
        "layers": str(spec.n_layers),
        "residual width": str(spec.d_model),
        "heads": f"{spec.n_components('heads'):,} in {layers['heads']} layers",
        "neurons": f"{spec.n_components('neurons'):,} in {layers['neurons']} layers{_experts(spec)}",
        "tokenizer": described_tokenizer(loaded.tokenizer),
        "chat template": described_template(loaded.tokenizer),
        "fingerprint": loaded.fingerprint,
    }
    for label, value in rows.items():
        print(f"{label:<15} {value}")
    for sentence in (*remarks(spec), *loaded.warnings):
        print(f"note            {sentence}")
    print(f"behaviors       {', '.join(list_behaviors(fitting_folder(loaded.source)))}")


def _experts(spec: ModelSpec) -> str:
    """', with 8 experts in 32 of them'; '' without."""
    counts: dict[int, set[int]] = {}
    for site in spec.sites:
        if site.experts:
            counts.setdefault(site.experts, set()).add(site.layer)
    return "".join(f", with {experts} experts in {len(layers)} of them" for experts, layers in counts.items())


def _memory(loaded: LoadedModel) -> str:
    free = available_memory(loaded.device)
    return memory_held(loaded) + (f", {readable_size(free)} left on {loaded.device}" if free else "")


def scores(options: argparse.Namespace) -> None:
    """A ranked table of components, or all of them as CSV."""
    check_settings(options)
    contrast, loaded = chosen_contrast(options), chosen_model(options)
    extraction = extracted(loaded, contrast)
    computed = extraction.scores
    edit = build_edit(extraction, chosen_settings(options, computed))
    kinds = KINDS if options.kind == "all" else (options.kind,)
    rows = sorted(_component_rows(computed, edit, kinds), key=lambda row: -abs(float(row[3])))
    header = ("kind", "layer", "index", "g", "lambda", "relative_change", "mean_contribution", "name")
    if options.csv is not None:
        with output(options.csv) as file:
            csv.writer(file).writerows([header, *rows])
        return
    for row in (header, *rows[: options.top]):
        cells = [f"{cell:.4f}" if isinstance(cell, float) else str(cell) for cell in row]
        print("  ".join(cell.rjust(width) for cell, width in zip(cells, (7, 5, 6, 8, 8, 15, 17, 0), strict=True)))


def edit(options: argparse.Namespace) -> None:
    """A recipe from a contrast set and settings."""
    check_place(options.output)
    check_settings(options)
    contrast, loaded = chosen_contrast(options), chosen_model(options)
    extraction = extracted(loaded, contrast)
    made = build_edit(extraction, chosen_settings(options, extraction.scores))
    summary = summarize(extraction.scores, made)
    path = save_edit(made, options.output)
    print(
        f"{summary.n_heads} heads and {summary.n_neurons} neurons in {summary.n_layers} layers, "
        f"|dW|/|W| = {summary.relative_size:.4f}, largest component change {summary.largest_change:.4f}: {path}"
    )


def compare_texts(options: argparse.Namespace) -> None:
    """Original, edited and steered answers to the prompts."""
    check_there(options.recipe)
    contrast = chosen_contrast(options) if options.gamma is not None else None
    loaded = chosen_model(options)
    variants: dict[str, Variant] = {"original": Original()}
    if options.recipe:
        variants["edited"] = Edited(load_edit(options.recipe, base=loaded))
    if contrast is not None:
        variants["steered"] = Steered(extracted(loaded, contrast).directions, options.gamma)
    for prompt in options.prompts:
        print(f"> {prompt}")
        stream = compare(
            loaded,
            prompt,
            tuple(variants.values()),
            max_new_tokens=options.max_new_tokens,
            temperature=options.temperature,
            seed=options.seed,
        )
        *_, texts = stream
        for label, text in zip(variants, texts, strict=True):
            print(f"[{label}] {text.strip()}")


def export(options: argparse.Namespace) -> int:
    """A folder with the edited checkpoint or with the adapter, verified after writing."""
    check_there(options.recipe)
    check_empty(options.output)
    loaded = chosen_model(options)
    made = load_edit(options.recipe, base=loaded)
    kinds: dict[str, ExportFormat] = {"adapter": "adapter", "float32": "checkpoint-float32", "stored": "checkpoint"}
    kind = kinds[options.format]
    print(f"about {readable_size(export_size(loaded, made, kind))}", file=sys.stderr)
    with progress_line("writing", "kB", 1000) as progress:
        if options.format == "adapter":
            folder = export_adapter(loaded, made, options.output, progress=progress)
        else:
            folder = export_checkpoint(loaded, made, options.output, dtype=options.format, progress=progress)
    print(folder)
    return _verified(loaded, made, folder)


def verify(options: argparse.Namespace) -> int:
    """Whether a written folder holds the recipe's edit."""
    check_there(options.recipe, options.folder)
    loaded = chosen_model(options)
    return _verified(loaded, load_edit(options.recipe, base=loaded), options.folder)


def _verified(loaded: LoadedModel, made: WeightEdit, folder: Path) -> int:
    with suppress(NotCheckedError):  # the verdict says it
        print(f"note: {check_room(loaded, made, folder).sentence}", file=sys.stderr)
    with progress_line("verifying") as progress:
        verification = verify_export(loaded, made, folder, progress=progress)
    print("\n".join(verification.lines()))
    return 0 if verification.passed else 1


def _component_rows(
    computed: ComponentScores, made: WeightEdit, kinds: Sequence[str]
) -> Iterator[tuple[str, int, int, float, float, float, float, str]]:
    changes = relative_changes(computed, made)
    for i, site in enumerate(computed.spec.sites):
        if site.kind in kinds:
            columns = (computed.g[i], made.strength[i], changes[i], computed.contributions[i])
            name = namer(computed.spec, i)
            for index, values in enumerate(zip(*(column.tolist() for column in columns), strict=True)):
                yield site.kind.removesuffix("s"), site.layer, index, *values, name(index)


COMMANDS: dict[str, Callable[[argparse.Namespace], int | None]] = {
    "info": info,
    "data": show_data,
    "scores": scores,
    "edit": edit,
    "import": import_foreign,
    "compare": compare_texts,
    "export": export,
    "verify": verify,
    "push": push,
    "sweep": sweep_grid,
    "find": find,
    "evaluate": evaluate_variants,
}
