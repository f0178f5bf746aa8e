"""The routes of the model in the tab: its scripts, and the checkpoint's own files. Knows the page's machinery alone."""

from __future__ import annotations

from starlette.routing import Route

from components.studio.studio_widget import MODEL_PATH, TAB_PATH, script_routes, send
from s2e_core.loading import BUNDLED_MODEL

from .files import CHECKPOINT, HERE

KEPT = "public, max-age=86400"
"""The address of a file names the fingerprint of the weights, so that another model has other addresses."""


def tab_routes() -> list[Route]:
    """The files are those of the bundled model whatever the fingerprint in the address."""
    return [
        *script_routes(HERE, TAB_PATH),
        *(
            Route(f"/{MODEL_PATH}/{{weights}}/{name}", send(BUNDLED_MODEL / name, KEPT, _kind(name)))
            for name in CHECKPOINT
        ),
    ]


def _kind(name: str) -> str:
    return "application/json" if name.endswith(".json") else "application/octet-stream"
