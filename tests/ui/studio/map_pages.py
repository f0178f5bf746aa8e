"""A bare page with one picture of components, served without the app, and the made-up model that it shows.

Knows the modules in components/studio by name; nothing of gradio, of the core, or of what the pictures look like.
"""

from __future__ import annotations

import base64
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from playwright.sync_api import Page

STUDIO = Path(__file__).parents[3] / "components" / "studio"
PAGE = """<!doctype html><html lang="en"><title>Pictures</title><link rel="icon" href="data:,">
<meta name="viewport" content="width=device-width, initial-scale=1"><link rel="stylesheet" href="maps.css">
<style>
  body { --body-text-color: #1c2430; --background-fill-primary: #fff; --background-fill-secondary: #f4f6f8; margin: 0;
    --border-color-primary: #dfe3e8; --color-accent: #1f4f8f; background: var(--background-fill-primary);
    padding: 20px; font-family: system-ui, sans-serif; font-size: 14px; }
  body.dark { --body-text-color: #e8ecf1; --background-fill-primary: #12161c; --background-fill-secondary: #1b2129;
    --border-color-primary: #303945; --color-accent: #8db8f2; }
  @media (max-width: 480px) { body { padding: 10px; } }
</style>
<body><div id="root"></div>
<script type="module">
  import {heatmap} from './maps.js';
  import {dots} from './dots.js';
  const raw = text => Uint8Array.from(atob(text), letter => letter.charCodeAt(0)).buffer;

  // Plays the page around a picture: keeps what is edited, and answers every pick at once.
  window.begin = (which, m, options) => {
    const g = new Float32Array(raw(m.g)), names = m.names, hand = new Uint8Array(g.length);
    const studio = window.studio = {picks: [], focused: [], tau: m.tau, focus: -1, g, hand, mode: 'g', ...options};
    const byHand = {toggle: i => studio.edit.edited[i] ? 2 : 1, include: () => 1, exclude: () => 2};
    studio.next = () => {
      const edited = g.map((x, i) => hand[i] ? hand[i] === 1 : Math.abs(x) > studio.tau);
      const lam = g.map((x, i) => edited[i] ? 10 * x : 0);
      return {mode: studio.mode, lam, change: lam.map(x => Math.abs(x) / 100), edited: Uint8Array.from(edited), hand,
        on: studio.firing ? lam.map(x => 2 * x) : null, off: studio.firing ? lam.map(x => x / 2) : null,
        focus: studio.focus,
        chance: studio.chance ? {...studio.chance, band: Float32Array.from(studio.chance.band)} : null};
    };
    studio.show = () => { studio.edit = studio.next(); studio.picture.show(studio.edit); };
    studio.picture = {heatmap, dots}[which](document.querySelector('#root'), {
      kind: m.kind, label: m.title, height: m.height,
      onPick: pick => {
        studio.picks.push(pick);
        const marks = pick.components.map(byHand[pick.action]);
        pick.components.forEach((i, n) => { hand[i] = marks[n]; });
        studio.show();
      },
      onFocus: i => { studio.focused.push(i); studio.focus = i; studio.show(); },
    });
    studio.load = () => studio.picture.load({layers: m.layers, widest: m.widest, cells: new Int32Array(raw(m.cells)), g,
      nameOf: i => names ? names[i] : `neuron ${i}`, layerOf: new Int32Array(raw(m.layer_of)), title: m.title,
      caption: m.caption, chance: m.chance});
    studio.load();
    if (!m.bare) studio.show();
  };
  window.loaded = true;
</script>"""


class _Handler(SimpleHTTPRequestHandler):
    """Serves the folder of the modules, and the page at its root."""

    def do_GET(self) -> None:
        if self.path != "/":
            return super().do_GET()
        body = PAGE.encode()
        self.send_response(200)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def end_headers(self) -> None:
        self.send_header("Cache-Control", "no-store")
        super().end_headers()

    def log_message(self, *_: Any) -> None:
        """Silence: the log of requests would hide the report of the tests."""


@contextmanager
def served_modules() -> Iterator[str]:
    """The address of the page, until the context ends."""
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(_Handler, directory=str(STUDIO))) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}/"
        finally:
            server.shutdown()
            thread.join()


@dataclass(frozen=True, eq=False)
class MadeUp:
    """Scores of a model that does not exist, numbered through all heads and neurons layer by layer."""

    g: NDArray[np.float32]
    grids: dict[str, NDArray[np.int32]]
    """Per kind the global numbers by layer and column, -1 where a layer has no component."""
    names: tuple[str, ...]
    layer_of: NDArray[np.int32]

    def sent(
        self, kind: str, *, tau: float, chance: float = 0.03, height: int | None = None, **more: Any
    ) -> dict[str, Any]:
        """What the page needs to begin, as JSON."""
        grid = self.grids[kind]
        title = {"heads": "Attention heads", "neurons": "MLP neurons"}[kind]
        return {
            "kind": kind, "tau": tau, "chance": chance, "height": height, "title": title, "g": _text(self.g),
            "layers": grid.shape[0], "widest": grid.shape[1], "cells": _text(grid), "layer_of": _text(self.layer_of),
            "names": list(self.names) if len(self.names) < 10_000 else None, **more,
        }  # fmt: skip


def _text(values: NDArray[Any]) -> str:
    return base64.b64encode(np.ascontiguousarray(values).tobytes()).decode()


def made_up(layers: int, heads: int, neurons: int, *, without_heads: tuple[int, ...] = ()) -> MadeUp:
    """Mostly chance, and a few components that matter, more of them in later layers."""
    draw = np.random.default_rng(layers)
    g, names, layer_of = [], [], []
    grids = {"heads": np.full((layers, heads), -1, np.int32), "neurons": np.full((layers, neurons), -1, np.int32)}
    for layer in range(layers):
        for kind, count in (("heads", heads), ("neurons", neurons)):
            if kind == "heads" and layer in without_heads:
                continue
            start = len(names)
            grids[kind][layer] = np.arange(start, start + count)
            spread = 0.01 + 0.03 * layer / layers
            g.append(draw.normal(size=count) * spread * np.where(draw.random(count) < 0.08, 4, 1))
            names += [f"{kind[:-1]} {index}" for index in range(count)]
            layer_of += [layer] * count
    values = np.concatenate(g).clip(-1, 1).astype(np.float32)
    return MadeUp(values, grids, tuple(names), np.array(layer_of, np.int32))


def begin(page: Page, url: str, which: str, sent: dict[str, Any], *, theme: str = "light", **options: Any) -> None:
    """Open the page and show one picture, "heatmap" or "dots"."""
    page.goto(url)
    page.wait_for_function("window.loaded")
    page.evaluate("dark => document.body.classList.toggle('dark', dark)", theme == "dark")
    page.evaluate("([which, sent, options]) => window.begin(which, sent, options)", [which, sent, options])
    page.wait_for_selector(".s2e-map[data-draws]")
