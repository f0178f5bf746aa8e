"""How long the tab's model takes after a move of a dial, in Chromium: python -m tests.benchmarks.tab_benchmark SITE.

SITE is a folder that `python -m components.static_site` wrote. Also gives the processor time of Chromium, because on a
busy machine the time on the wall says little.
"""

from __future__ import annotations

import os
import statistics
import sys
from collections.abc import Callable
from pathlib import Path

import psutil
from playwright.sync_api import Page

from tests.ui.browser import open_browser
from tests.ui.tab_model.serving import served_folder

MOVES = 12
PREPARE = """
async () => {
    const [tab, edits, {decode}, {elasticNet}] = await Promise.all(
        ['tab_model/tab_model', 'tab_model/edits', 'studio/facts', 'studio/method'].map(name => import(`/${name}.js`)));
    const sent = await (await fetch('/behaviors/reasoning.json')).json(), facts = decode(sent.facts);
    const vectors = edits.decodeVectors(facts, sent.vectors);
    const [scripts, model] = ['/tab_model/', '/model/'].map(path => new URL(path, location));
    const {settings} = facts.suggestions.find(one => !one.settings.gate);
    window.prompt = sent.examples[0].prompt;
    window.untouched = {edits: [], offset: new Float32Array(vectors.unit.length)};   // its answers are not remembered
    const turn = await (await fetch('/model/turn.json')).json();
    window.model = await tab.openTabModel({scripts, model, turn});
    window.edited = strength => {
        const {lam} = elasticNet(facts, {...settings, strength});
        return edits.edited([{vectors, right: edits.netRight(facts, vectors, lam)}]);
    };
}"""
MEASURE = """
async ([what, moves, length]) => {
    const times = [], ask = {length, temperature: 1, seed: 0};
    for (let n = 1; n <= moves; n++) {
        const began = performance.now(), variant = edited(0.05 * n);
        const variants = what === 'both' ? [untouched, variant] : [variant];
        await model[what === 'text' ? 'compare' : 'rolls'](prompt, variants, ask).answers;
        times.push(performance.now() - began);
    }
    return times;
}"""


def processor_seconds() -> float:
    """Of all processes of the browser that this process started."""
    times = [child.cpu_times() for child in psutil.Process().children(recursive=True)]
    return sum(one.user + one.system for one in times)


def measure(page: Page, what: str, moves: int) -> str:
    page.evaluate(MEASURE, [what, 3, 48])  # compiled by now
    before = processor_seconds()
    times = page.evaluate(MEASURE, [what, moves, 48])
    spent = (processor_seconds() - before) / moves
    return f"median {statistics.median(times) / 1000:.2f} s, processor {spent:.2f} s"


def main(folder: Path, say: Callable[[str], None] = print) -> None:
    load = os.getloadavg()[0]
    say(f"load {load:.1f} on {os.cpu_count()} cores; 48 tokens, a prompt of reasoning, sampled at temperature 1")
    with served_folder(folder) as address, open_browser() as browser, browser.new_page() as page:
        page.goto(f"{address}behaviors/")
        page.evaluate(PREPARE)
        for what, words in (
            ("text", "the edited text after a move"),
            ("rolls", "8 edited answers after a move"),
            ("both", "8 answers a side, nothing remembered"),
        ):
            say(f"{words}: {measure(page, what, MOVES)}")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
