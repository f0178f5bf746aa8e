"""What it costs to keep a gate to few components: the margin that each family reaches under one bound of KL.

`python tests/benchmarks/gate_benchmark.py [--model smollm2] [BEHAVIOR ...]` prints a table for README: for each
behaviour the rise of the margin on examples that the direction was not made from, and the KL, of the strongest edit
under the bound.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from s2e_core import extract, load_behavior, load_model
from s2e_core.data import behavior_gate_texts, choose_behaviors_folder, list_behaviors
from s2e_core.measure import KL_BOUND, Likelihood, Screen, open_screen, screen, screen_texts, split_contrast
from s2e_core.measure.shapes import Shape
from s2e_core.measure.suggest import MU, next_strength, strongest_within
from s2e_core.model import LoadedModel
from s2e_core.values import Extraction, Steered

SIZES = (16, 50, 100, 300, 1000, None)


def measure(loaded: LoadedModel, name: str) -> dict[str, Likelihood | None]:
    """The figures of every family, by its name in the table."""
    behavior = load_behavior(name, choose_behaviors_folder(loaded.source))
    texts = behavior_gate_texts(behavior)
    fit, held_out = split_contrast(behavior.contrast)
    extraction = extract(loaded, fit, texts=texts)
    against = open_screen(loaded, screen_texts(loaded, held_out, texts.probes))
    spec = extraction.spec
    heads, neurons = spec.n_components("heads"), spec.n_components("neurons")
    shapes = {
        "elastic net, a tenth of the heads, a hundredth of the neurons": Shape(-(-heads // 10), -(-neurons // 100)),
        "baked steering, all components": Shape(mu=0.0),
    }
    for size in SIZES:
        if size is None or size < heads + neurons:
            shapes[f"gated steering, {'all' if size is None else f'{size:,}'} components"] = Shape(mu=MU, size=size)
    figures: dict[str, Likelihood | None] = {"steering": _steering(loaded, extraction, against)}
    for label, shape in shapes.items():
        found = strongest_within(loaded, extraction, shape, against, KL_BOUND)
        figures[label] = None if found is None else found[1]
    return figures


def _steering(loaded: LoadedModel, extraction: Extraction, against: Screen) -> Likelihood | None:
    """Steering at the strongest gamma that was found under the bound."""
    gamma, best = 0.3, None
    points: list[tuple[float, float]] = []
    for _ in range(4):
        (figures,) = screen(loaded, [Steered(extraction.directions, gamma)], against)
        if figures.kl.value <= KL_BOUND and (best is None or figures.margin.value > best.margin.value):
            best = figures
        points.append((gamma, figures.kl.value))
        gamma = next_strength(points, 0.9 * KL_BOUND)
    return best


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="bundled")
    parser.add_argument("behaviors", nargs="*")
    options = parser.parse_args()
    loaded = load_model(options.model)
    names = options.behaviors or list_behaviors(choose_behaviors_folder(loaded.source))
    columns = {name: measure(loaded, name) for name in names}
    print("| |", " | ".join(names), "|")
    print("|---|" + "---|" * len(names))
    for label in next(iter(columns.values())):
        cells = (_cell(column.get(label)) for column in columns.values())
        print(f"| {label} |", " | ".join(cells), "|")


def _cell(figures: Likelihood | None) -> str:
    return "none" if figures is None else f"{figures.margin.value:+.2f} (KL {figures.kl.value:.3f})"


if __name__ == "__main__":
    main()
