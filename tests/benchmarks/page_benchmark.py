"""Times the page in an installed Chromium: how soon it is there, and how fast its pictures follow a slider; by hand:

    .venv/bin/python tests/benchmarks/page_benchmark.py [--model FOLDER] [--moves 12]

Without a model it measures the bundled one and one with as many layers, heads and neurons as LLaMA-2-7B, whose
weights are random and narrow: what the page packs, sends and draws depends on the number of components alone.
"""

from __future__ import annotations

import argparse
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from playwright.sync_api import Page  # noqa: E402

from tests.families import saved_folder  # noqa: E402
from tests.ui.browser import open_browser, watched_page  # noqa: E402
from tests.ui.small_behaviors import small_behaviors  # noqa: E402

LIKE_LLAMA_2_7B = {
    **{"num_hidden_layers": 32, "num_attention_heads": 32, "num_key_value_heads": 32, "intermediate_size": 11008},
    **{"hidden_size": 64, "head_dim": 2, "max_position_embeddings": 4096},
}
MOVE = """async ([value, picture]) => {
    const slider = document.querySelector('#neurons-count input[type=range]'), start = performance.now();
    const draws = () => Number(document.querySelector(`#${picture} [data-draws]`).dataset.draws), before = draws();
    const frame = window.requestAnimationFrame;
    let script = 0;
    const timed = work => (...values) => {
        const began = performance.now();
        try { return work(...values); } finally { script += performance.now() - began; }
    };
    window.requestAnimationFrame = work => frame.call(window, timed(work));
    slider.value = value;
    timed(() => slider.dispatchEvent(new Event('input', {bubbles: true})))();
    while (draws() === before && performance.now() - start < 20000) await new Promise(next => setTimeout(next, 1));
    window.requestAnimationFrame = frame;
    return [performance.now() - start, script];
}"""
"""Moves the slider; returns the milliseconds until the picture is drawn again, and those of script in them."""


@contextmanager
def started(model: str, *options: str) -> Iterator[tuple[str, float]]:
    """The address of the app as `python app.py` runs it, and the seconds until it answered."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    start, address = time.perf_counter(), f"http://127.0.0.1:{port}"
    command = [sys.executable, "app.py", "--model", model, "--port", str(port), *options]
    app = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        while app.poll() is None:
            try:
                urllib.request.urlopen(address, timeout=60).read()
                break
            except (urllib.error.URLError, ConnectionError):
                time.sleep(0.05)
        yield address, time.perf_counter() - start
    finally:
        app.terminate()
        app.wait()


def milliseconds(page: Page, moves: int, picture: str) -> Iterator[tuple[float, float]]:
    """From each move of the slider of neurons to the next drawing of their picture: in all, and of script."""
    for move in range(moves):
        page.wait_for_timeout(1500)  # the texts follow once the dials rest
        whole, script = page.evaluate(MOVE, [40 + 25 * (move % 5), picture])
        yield whole, script


def measure(name: str, model: str, moves: int, *options: str) -> None:
    with started(model, *options) as (address, seconds), open_browser() as browser, watched_page(browser) as page:
        page.goto(address)
        page.wait_for_selector("#neurons-ranked [data-draws]")
        print(f"{name}: page after {seconds:.1f} s")
        for picture, view in (("neurons-ranked", "ranked"), ("neurons", "map")):
            page.locator(f"#maps button[data-view={view}]").click()
            page.wait_for_timeout(5000)
            page.evaluate(MOVE, [30, picture])  # the first drawing after the page was opened is no usual one
            wholes, scripts = zip(*milliseconds(page, moves, picture), strict=True)
            print(f"  slider to {view}: {statistics.median(wholes):.0f} ms, of them script "
                  f"{statistics.median(scripts):.1f} ms, medians of {moves}, load {load()}")  # fmt: skip
            print(f"    {', '.join(f'{one:.0f}' for one in wholes)}")


def cut(examples: Path) -> None:
    """Keep a few of each side: extracting is not what is timed."""
    lines = examples.read_text(encoding="utf-8").splitlines()
    examples.write_text("\n".join([*lines[:4], *lines[-4:]]), encoding="utf-8")


def load() -> str:
    """How many programs wanted a core in the last minute: the figures are those of an idle machine only below 1."""
    return f"{os.getloadavg()[0]:.1f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", help="a model folder, instead of the two")
    parser.add_argument("--moves", type=int, default=12)
    options = parser.parse_args()
    if options.model:
        measure(Path(options.model).name, options.model, options.moves)
        return
    with tempfile.TemporaryDirectory() as folder:
        large = saved_folder(Path(folder) / "llama-2-7b-shape", "llama", **LIKE_LLAMA_2_7B)
        few = small_behaviors(Path(folder) / "behaviors", ("safety",))
        cut(few / "safety" / "contrast.jsonl")
        measure("bundled", "bundled", options.moves)
        measure("LLaMA-2-7B's shape", str(large), options.moves, "--behaviors", str(few))


if __name__ == "__main__":
    main()
