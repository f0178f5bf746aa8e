"""Fixtures of the browser tests: one browser for all of them, and a fresh watched page for each."""

from __future__ import annotations

import os
from collections.abc import Generator, Iterator
from importlib import import_module

os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")  # read when gradio is first imported
os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")

import pytest  # noqa: E402
from playwright.sync_api import Browser, Page, expect  # noqa: E402

from s2e_core.data import gate_texts  # noqa: E402
from tests.ui.browser import PATIENCE, open_browser, state, watched_page  # noqa: E402

expect.set_options(timeout=PATIENCE)


@pytest.fixture(scope="module", autouse=True)
def few_gate_texts() -> Iterator[None]:
    """Gates are fitted on few prompts and suggestions measured twice: the page waits for both at every choice."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(gate_texts, "FIRST_PROMPTS", 6)
        patch.setattr(gate_texts, "MOST_PROMPTS", 6)
        patch.setattr(gate_texts, "PROBES", 3)
        patch.setattr(import_module("s2e_core.measure.suggest"), "PROBES", 2)
        yield


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    with open_browser() as opened:
        yield opened


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """Fails its test on any request to a foreign host, any page error and any console error."""
    with watched_page(browser) as opened:
        yield opened


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Function, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """A failed test says what its page was doing."""
    report = yield
    pages = [value for value in getattr(item, "funcargs", {}).values() if isinstance(value, Page)]
    if report.when == "call" and report.failed:
        report.sections.extend(("The page", state(opened)) for opened in pages)
    return report
