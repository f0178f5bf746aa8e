"""The KL of the trials of a search on harmless texts, measured where the utility prompts cannot tell what is kept.

Knows when it is needed and what was measured before; the measurement itself is in `screening.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from s2e_core.data import Behavior, behavior_gate_texts
from s2e_core.model import LoadedModel
from s2e_core.progress import Progress
from s2e_core.values import Extraction

from .estimates import Estimate
from .screening import ScreenTexts, harmless_answers, harmless_kl, open_screen
from .sweep import sweep_results
from .sweep_file import Sweep, add_divergences
from .trials import Trial, trial_key, trial_variant


def with_divergence(
    loaded: LoadedModel, extraction: Extraction, behavior: Behavior, sweep: Sweep, path: Path, progress: Progress
) -> Sweep:
    """The sweep with the KL of every trial, in its file as well, where its utility prompts cannot tell what is kept.

    Elsewhere it comes back as it is. `progress` is called before every measurement; raises Cancelled if it does.
    """
    results = sweep_results(sweep)
    trials = [r.trial for r in results if not r.utility_told and r.kl is None and r.trial.arm != "original"]
    if not trials:
        return sweep
    return add_divergences(path, sweep, _measure(loaded, extraction, behavior, trials, progress), extraction.spec)


def _measure(
    loaded: LoadedModel, extraction: Extraction, behavior: Behavior, trials: Sequence[Trial], progress: Progress
) -> dict[str, Estimate]:
    texts = harmless_answers(loaded, behavior_gate_texts(behavior).probes, progress=progress)
    against, found = open_screen(loaded, ScreenTexts((), (), texts)), dict[str, Estimate]()
    for number, trial in enumerate(trials):
        progress(number, len(trials))
        found[trial_key(trial)] = harmless_kl(loaded, trial_variant(trial, extraction), against)
    return found
