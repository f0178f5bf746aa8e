"""Where the bundled model and behaviours are: in the checkout, or inside the installed package."""

from __future__ import annotations

from pathlib import Path

_INSTALLED = Path(__file__).resolve().parent / "_assets"
BUNDLED_FOLDER = _INSTALLED if _INSTALLED.is_dir() else _INSTALLED.parents[1] / "assets"
"""Folder with `demo_model` and `behaviors`."""
