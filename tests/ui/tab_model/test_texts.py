"""The model in the tab writes the texts of the server: greedy and sampled, untouched, edited, gated and steered.

Python computes the texts in float32, Chromium from the same settings, on the same random numbers.
"""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from playwright.sync_api import Browser, Page

from components.shared.session import Session
from components.studio.facts import facts
from components.tab_model.vectors import moments, vectors
from s2e_core import Component, Edited, EditSettings, Original, Selection, Steered, Variant, build_edit
from s2e_core.generation import BatchRow, answers
from s2e_core.method import edited_mask, mean_firing, relative_changes
from s2e_core.model import prompt_ids
from s2e_core.settings import Gate
from s2e_core.settings_json import settings_to_json
from tests.ui.running import first_session, shared_store
from tests.ui.tab_model.serving import page_of_modules

GAMMA = 0.4
GATED = EditSettings(None, 0.8646, 0.5284, 0.85, gate=Gate(4.0, 10.0, 51))
MODULES = (
    "studio/facts",
    "studio/method",
    "tab_model/edits",
    "tab_model/gates",
    "tab_model/noise",
    "tab_model/tab_model",
)


@pytest.fixture(scope="module")
def session() -> Session:
    return first_session()


@pytest.fixture(scope="module")
def page(browser: Browser, session: Session, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    loaded, extraction = shared_store().model(session.model), session.scored.extraction
    assert extraction.token_inputs is not None
    with page_of_modules(browser, loaded, tmp_path_factory.mktemp("site"), MODULES) as opened:
        opened.evaluate(
            """async ([facts, vectors, moments]) => {
                const {facts: f, method, edits, gates, tab_model} = modules;
                const known = f.decode(facts), its = edits.decodeVectors(known, vectors);
                const fitted = gates.decodeMoments(known, its, f.floats(moments).buffer);
                window.vectors = its;
                window.rightOf = settings => settings.gate ? gates.fittedEdit(known, its, fitted, settings)
                    : {right: edits.netRight(known, its, method.elasticNet(known, settings).lam)};
                window.variantOf = ({settings, gamma}) => gamma ? edits.steered(its, gamma)
                    : settings ? edits.edited([{vectors: its, right: rightOf(settings).right}]) : edits.ORIGINAL;
                const [scripts, model] = ['/tab_model/', '/model/'].map(path => new URL(path, location));
                const turn = await (await fetch('/model/turn.json')).json();
                window.model = await tab_model.openTabModel({scripts, model, turn});
            }""",
            [facts(session, 100), vectors(extraction), b64encode(moments(extraction.token_inputs)).decode()],
        )
        yield opened


def wanted(session: Session, prompts: Sequence[str], variants: Sequence[Variant], **options: Any) -> list[list[str]]:
    """The server's answers, one list of texts for every prompt; every variant of prompt n has the seed n."""
    loaded = shared_store().model(session.model)
    rows = [
        BatchRow(v, tuple(prompt_ids(loaded.tokenizer, prompt)), n)
        for n, prompt in enumerate(prompts)
        for v in range(len(variants))
    ]
    texts = [
        loaded.tokenizer.decode(ids, skip_special_tokens=True) for ids in answers(loaded, variants, rows, **options)
    ]
    return [texts[n : n + len(variants)] for n in range(0, len(texts), len(variants))]


def written(page: Page, prompts: Sequence[str], variants: Sequence[dict[str, Any]], **options: Any) -> list[list[str]]:
    """The tab's."""
    return json.loads(
        page.evaluate(
            """async ([prompts, told, length, temperature]) => {
                const variants = told.map(variantOf), texts = [];
                for (const [seed, prompt] of prompts.entries()) {
                    const run = model.compare(prompt, variants, {length, temperature, seed});
                    texts.push((await run.answers).map(([answer]) => answer.text));
                }
                return JSON.stringify(texts);
            }""",
            [list(prompts), list(variants), options["max_new_tokens"], options["temperature"]],
        )
    )


def prompts_of_all(count: int) -> list[str]:
    """Prompts of all behaviours, of every kind."""
    rows = [row for b in shared_store().behavior_list for row in (*b.attribute[::7], *b.utility[::7])]
    step = max(1, len(rows) // count)
    return [str(row["prompt"]) for row in rows[::step]][:count]


def check(page: Page, session: Session, prompts: list[str], kinds: Sequence[str], **options: Any) -> None:
    extraction = session.scored.extraction
    own = {
        "untouched": (Original(), {}),
        "edited": (Edited(build_edit(extraction, session.settings)), {"settings": settings_to_json(session.settings)}),
        "gated": (Edited(build_edit(extraction, GATED)), {"settings": settings_to_json(GATED)}),
        "steered": (Steered(session.scored.directions, GAMMA), {"gamma": GAMMA}),
    }
    pairs = [own[kind] for kind in kinds]
    here = wanted(session, prompts, [variant for variant, _ in pairs], **options)
    there = written(page, prompts, [told for _, told in pairs], **options)
    assert there == here, [pair for pair in zip(here, there, strict=True) if pair[0] != pair[1]][:3]
    if len(kinds) > 1:
        assert sum(len(set(texts)) > 1 for texts in here) > len(prompts) / 10, "the variants must differ"


def test_greedy_texts_are_the_servers_on_a_hundred_prompts(page: Page, session: Session) -> None:
    prompts = prompts_of_all(100)
    assert len(prompts) == 100
    check(page, session, prompts, ("untouched", "edited"), max_new_tokens=24, temperature=0.0)


def test_gated_and_steered_texts_are_the_servers(page: Page, session: Session) -> None:
    check(page, session, prompts_of_all(25), ("gated", "steered"), max_new_tokens=32, temperature=0.0)


def test_sampled_texts_are_the_servers_on_the_same_random_numbers(page: Page, session: Session) -> None:
    kinds = ("untouched", "edited", "gated", "steered")
    check(page, session, prompts_of_all(12), kinds, max_new_tokens=32, temperature=1.0)
    check(page, session, prompts_of_all(4), kinds, max_new_tokens=32, temperature=0.6)


def test_the_noise_is_that_of_torch(page: Page) -> None:
    for seed in (0, 1, 5, 2**31, 2**32 + 3):
        generator = torch.Generator().manual_seed(seed)
        steps = [-torch.empty(1522).exponential_(generator=generator).log() for _ in range(3)]
        found = page.evaluate(
            """seed => {
                const draw = modules.noise.gumbel(seed);
                return [1, 2, 3].map(() => Array.from(draw(new Float64Array(1522))));
            }""",
            seed,
        )
        # Logarithms may differ in the last bit of float32.
        np.testing.assert_allclose(found, torch.stack(steps).numpy(), rtol=1e-6, atol=3e-7)


def gate_cases(session: Session) -> list[EditSettings]:
    """Gates of every kind: solved before or not, alone or with a net, limited, chosen by hand."""
    heads = frozenset({Component(0, 1), Component(2, 3), Component(4, 7)})
    neurons = frozenset({Component(1, 5), Component(3, 440), Component(11, 0)})
    return [
        EditSettings(None, None, 0.5, gate=Gate(0.5, 0.0)),
        EditSettings(None, None, 0.5, 0.7, gate=Gate(4.0, 10.0, 52)),
        EditSettings(0.3, 0.9, 0.4, 1.2, gate=Gate(2.0, 3.0, 600)),
        EditSettings(None, None, 0.5, gate=Gate(1.0, 1.0, 40), selection=Selection(included=neurons, excluded=heads)),
        EditSettings(None, None, 0.5, gate=Gate(1.0, 100.0), selection=Selection(only=heads | neurons)),
        EditSettings(None, 0.8, 0.5, gate=Gate(1.5, 2.5), selection=Selection(layers=(1, 3))),
        replace(GATED, strengths={Component(1, 5): 0.5, Component(2, 3): 2.0}),
    ]


def test_a_gate_solved_in_the_tab_is_the_servers(page: Page, session: Session) -> None:
    extraction = session.scored.extraction
    assert extraction.token_inputs is not None
    for settings in gate_cases(session):
        edit, told = build_edit(extraction, settings), settings_to_json(settings)
        found = page.evaluate(
            """settings => {
                const edit = rightOf(settings), names = ['right', 'lam', 'change', 'on', 'off', 'edited'];
                return Object.fromEntries(names.map(name => [name, Array.from(edit[name])]));
            }""",
            told,
        )
        on, off = zip(*mean_firing(extraction.token_inputs, edit.right), strict=True)
        here = {
            "right": edit.right, "lam": edit.strength, "change": relative_changes(extraction.scores, edit), "on": on,
            "off": off,
        }  # fmt: skip
        assert np.array_equal(found["edited"], torch.cat(edited_mask(extraction, settings)).int().numpy()), told
        for name, sites in here.items():
            expected = torch.cat(list(sites)).numpy()
            assert np.abs(expected).max() > 0, (name, told)
            error = np.abs(np.asarray(found[name]) - expected).max() / np.abs(expected).max()
            assert error < 1e-3, (name, error, told)


def test_a_text_grows_and_stops(page: Page) -> None:
    """A long answer is told in parts, each longer than the one before; after a stopped run the next one answers."""
    parts, stopped, after = page.evaluate(
        """async () => {
            const lengths = [], ask = {length: 200, temperature: 1, seed: 3};
            const silent = {edits: [], offset: new Float32Array(vectors.unit.length)};   // its answers are not kept
            const grow = ([[answer]]) => answer && lengths.push(answer.text.length);
            await model.compare('How was your day?', [silent], ask, grow).answers;
            const run = model.rolls('How was your day?', [silent], ask);
            setTimeout(run.stop, 20);
            const stopped = await run.answers.then(() => 'ended', reason => reason);
            const [[after]] = await model.compare('How was your day?', [silent], {...ask, length: 4}).answers;
            return [lengths, stopped, after.tokens];
        }"""
    )
    assert parts == sorted(parts) and len(parts) > 2
    assert stopped is None and after == 4


def test_a_prompt_beyond_the_context_is_refused_in_the_words_of_the_server(page: Page) -> None:
    said = page.evaluate(
        """() => {
            const ask = {length: 8, temperature: 0, seed: 0};
            const run = model.compare('word '.repeat(600), [modules.edits.ORIGINAL], ask);
            return run.answers.catch(error => error.message);
        }"""
    )
    assert "the model reads at most 512 in total" in said
