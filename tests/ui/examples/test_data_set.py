"""A data set of the Hub in place of a file: progress, Stop, limits and refusals, against a server on the loopback."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from components.examples.data_set import Fetched, fetched
from components.examples.handlers import look_at_examples
from components.shared.brought import OwnExamples
from components.shared.choices import Choice
from components.shared.session import OWN
from components.shared.store import ModelStore
from s2e_core import ContrastDataError
from s2e_core.loading import transfer
from tests.hub_server import HubServer, Repository, running_hub, use_hub
from tests.ui.browser import PATIENCE
from tests.ui.running import running_app, shared_store, store_beside
from tests.ui.studio_page import arrive, choose_behavior, rest

ID = "somebody/pairs"
ROWS = [{"prompt": f"Question {k}?", "chosen": f"Yes, {k}." * 9, "rejected": f"No, {k}." * 9} for k in range(900)]
LINES = "".join(json.dumps(row) + "\n" for row in ROWS).encode()


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[HubServer]:
    with running_hub() as server:
        server.repositories = {ID: Repository({"data/train.jsonl": LINES, "data/test.jsonl": LINES[:100]})}
        use_hub(monkeypatch, server.address, tmp_path / "cache")
        monkeypatch.setattr(transfer, "PAUSE_SECONDS", 0.01)
        monkeypatch.setattr(transfer, "REPORT_BYTES", 20_000)
        yield server


@pytest.fixture
def store() -> ModelStore:
    return store_beside(hub=True)


@pytest.mark.parametrize("name", [ID, f" {ID}/data/train.jsonl@v1.0", f"https://huggingface.co/datasets/{ID}"])
def test_its_file_is_read_like_one_that_was_uploaded(hub: HubServer, store: ModelStore, name: str) -> None:
    hub.seconds_a_block = 0.01
    *ticks, last = fetched(store, name)
    assert isinstance(last, Fetched) and last.path.read_bytes() == LINES
    assert last.path.is_relative_to(store.work) and last.sentence.startswith(f"data/train.jsonl of {ID}, commit")
    assert [tick for tick in ticks if 0 < tick[0] < tick[1] == len(LINES)], "the download is counted"
    look = look_at_examples(store, Choice(store.first_model, OWN, own=OwnExamples(file=str(last.path))))
    assert look.reading is not None and len(look.reading.positive) == len(ROWS)


def test_a_stop_ends_it_and_the_next_try_goes_on(hub: HubServer, store: ModelStore) -> None:
    hub.seconds_a_block = 0.05
    with closing(fetched(store, ID)) as steps:
        for step in steps:
            if not isinstance(step, Fetched) and step[0] > 0:
                break
    hub.seconds_a_block, n = 0, len(hub.requests)
    *_, last = fetched(store, ID)
    assert isinstance(last, Fetched) and last.path.read_bytes() == LINES
    assert any(request.range.startswith("bytes=") for request in hub.requests[n:])


def test_what_cannot_be_read_here_is_a_sentence(hub: HubServer, store: ModelStore) -> None:
    small = replace(store, limits=replace(store.limits, file_megabytes=0))
    for where, name, said in (
        (shared_store(), ID, "switched off here.*--allow-hub"),
        (store, " ", "Name a data set first"),
        (store, None, "Name a data set first"),
        (store, "../secret", "neither a file nor a data set"),
        (store, "somebody/none", "does not exist on the Hub"),
        (store, f"{ID}@v9", 'no revision "v9"'),
        (small, ID, "at most 0 bytes are downloaded"),
    ):
        with pytest.raises(ContrastDataError, match=said):
            list(fetched(where, name))


def test_a_visitor_fetches_stops_and_reads(hub: HubServer, store: ModelStore, page: Page) -> None:
    with running_app(store) as address:
        choose_behavior(arrive(page, address), -1)
        hub.seconds_a_block = 0.3
        page.fill("#data-set input", ID)
        page.press("#data-set input", "Enter")
        expect(page.locator("#fetch-status")).to_contain_text("Downloading the data set: 0.", timeout=PATIENCE)
        page.click("#stop-fetch")
        expect(page.locator("#fetch-status")).to_contain_text("No data set was read", timeout=PATIENCE)
        rest(page)  # the stop is over, too
        hub.seconds_a_block = 0
        page.click("#fetch")
        expect(page.locator("#fetch-status")).to_contain_text(f"data/train.jsonl of {ID}", timeout=PATIENCE)
        expect(page.locator("#own-preview")).to_contain_text("900 + 900 examples", timeout=PATIENCE)
        rest(page)
