"""How much cheaper the causal map is than a plain one: the ratio of processor times for the same interventions.

`python tests/benchmarks/why_benchmark.py [BEHAVIOR]` tries a few heads and neurons of the bundled model. The plain map
runs the whole model for every intervention and text, one after the other. Ratios, not seconds, are what is compared:
they hardly depend on what else the machine does.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import torch

from s2e_core import EditSettings, build_edit, extract, load_behavior, load_model
from s2e_core.generation import apply_variants
from s2e_core.model import LoadedModel
from s2e_core.spec import Component
from s2e_core.values import Edited, Extraction, Original, WeightEdit
from s2e_core.why import HOWS, How, PairedTexts, chance, example_means, measure_effects, paired_texts, strongest
from s2e_core.why.interventions import apply_interventions, intervene_on

SETTINGS = EditSettings(rho_attn=0.1, rho_mlp=0.1, alpha=0.1)
"""An edit that touches nearly every component, so that all four interventions have to run."""
DRAWS = 20


def processor_seconds(work: Callable[[], object]) -> float:
    began = time.process_time()
    work()
    return time.process_time() - began


def plain_map(
    loaded: LoadedModel,
    extraction: Extraction,
    edit: WeightEdit,
    wishes: list[tuple[Component, How]],
    texts: PairedTexts,
) -> None:
    """Every intervention on every text alone, with the untouched and the edited model before it."""
    for whole in (False, True):
        variant = Edited(edit) if whole else Original()
        some = [None, *(wish for wish in wishes if (wish[1] == "left out") == whole)]
        for wish in some:
            interventions = [] if wish is None else [intervene_on(loaded, *wish, extraction.means, edit)]
            for span in texts.spans:
                with loaded.lock, torch.inference_mode(), apply_variants(loaded, [variant], [0]):
                    with apply_interventions(loaded, interventions, 1):
                        logits = loaded.model(input_ids=torch.tensor([span.ids]), use_cache=False).logits[0]
                logits[span.start - 1 : -1].log_softmax(-1)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("behavior", nargs="?", default="safety")
    options = parser.parse_args()
    loaded = load_model("bundled", device="cpu")
    contrast = load_behavior(options.behavior).contrast
    extraction = extract(loaded, contrast)
    edit = build_edit(extraction, SETTINGS)
    components = [*strongest(extraction.scores, "heads", 12), *strongest(extraction.scores, "neurons", 24)]
    wishes: list[tuple[Component, How]] = [(component, how) for component in components for how in HOWS]
    texts = paired_texts(loaded, contrast)
    ours = processor_seconds(lambda: measure_effects(loaded, extraction, edit, wishes, texts))
    plain = processor_seconds(lambda: plain_map(loaded, extraction, edit, wishes, texts))
    print(f"causal map, {len(wishes)} interventions on {len(texts.spans)} texts: {plain / ours:.1f} times cheaper")

    means = example_means(loaded, contrast)
    kept = processor_seconds(lambda: chance(loaded, means, draws=DRAWS))
    read_again = processor_seconds(lambda: extract(loaded, contrast)) * 3 * DRAWS
    print(f"chance, {3 * DRAWS} draws: {read_again / kept:.0f} times cheaper than an extraction for every draw")


if __name__ == "__main__":
    main()
