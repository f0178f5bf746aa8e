"""The real app on the bundled model, running in this process; and the store it is built on.

Knows how `main` launches the page. Made once for all tests: models are read-only, and every tab has its own session.
"""

from __future__ import annotations

import functools
import socket
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import gradio as gr

import app
from components.page import look
from components.page.options import options, store_of
from components.shared.choices import Choice, opened
from components.shared.session import Session
from components.shared.store import ModelStore


@functools.cache
def shared_store() -> ModelStore:
    """Its behaviours open with the elastic net, with which most tests begin; its texts are the server's."""
    store = store_of(options(["--server-only"]), Path(tempfile.mkdtemp(prefix="steer2edit-tests-")))
    behaviors = {folder: tuple(replace(one, best=None) for one in found) for folder, found in store._behaviors.items()}
    store.__dict__["_behaviors"] = behaviors  # a cached property
    return store


def store_beside(**changes: Any) -> ModelStore:
    """Another operator's store, on the model and the extractions that the shared one has already."""
    return replace(shared_store(), **changes)


def store_in_tab() -> ModelStore:
    """The shared store for visitors whose browsers run the model; its behaviours open as the shared one's do."""
    store = store_beside(in_tab=True)
    store.__dict__["_behaviors"] = shared_store()._behaviors
    return store


@functools.cache
def first_session() -> Session:
    """A new visitor's session; a value, so that tests can share it."""
    store = shared_store()
    behavior = store.behavior_list[0]
    choice = Choice(store.first_model, behavior.name)
    return opened(store, choice, store.scored(store.first_model, behavior.contrast, behavior))


@contextmanager
def running_app(store: ModelStore, demo: gr.Blocks | None = None) -> Iterator[str]:
    """The address of the page, by default a new one on the store, until the context ends."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    demo = demo or app.build(store)
    demo.launch(
        prevent_thread_lock=True, quiet=True, server_name="127.0.0.1", server_port=port,
        **look.launch_options(store.limits),
    )  # fmt: skip
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        demo.close(verbose=False)
