"""The page as it is served: its configuration, what it gives away, and how it starts."""

from __future__ import annotations

import json
import time
from pathlib import Path

import gradio as gr
import pytest
from starlette.testclient import TestClient

import app
from components.look import launch_options
from components.options import options, store_of
from components.wiring import MODEL, SESSION
from tests.ui.running import first_session, shared_store


@pytest.fixture(scope="module")
def demo() -> gr.Blocks:
    first_session()
    return app.build(shared_store())


def test_the_page_names_no_path_of_the_server(demo: gr.Blocks) -> None:
    config = json.dumps(demo.get_config_file(), default=str)
    assert str(Path(app.__file__).parent) not in config and str(Path.home()) not in config


def test_every_event_is_private_and_runs_in_its_own_queue(demo: gr.Blocks) -> None:
    named = {"session": SESSION["concurrency_limit"], "model": MODEL["concurrency_limit"]}
    assert set(named.values()) == {1}
    for event in demo.fns.values():
        starts_the_state = event.outputs and all(isinstance(c, gr.State) for c in event.outputs) and not event.inputs
        assert event.fn is None or event.api_visibility == "private" or starts_the_state, event.name
        if event.concurrency_id in named:
            assert event.queue is not False


def test_direct_calls_of_the_handlers_are_closed(demo: gr.Blocks) -> None:
    from gradio.routes import App

    client = TestClient(App.create_app(demo))
    answers = [client.post(f"/gradio_api/run/{event.api_name}", json={"data": []}) for event in demo.fns.values()
               if event.fn is not None and event.concurrency_id in ("session", "model")]  # fmt: skip
    assert answers and {answer.status_code for answer in answers} <= {404}


def test_the_page_is_built_quickly_once_the_first_behaviour_is_known() -> None:
    first_session()
    started = time.monotonic()
    app.build(shared_store())
    assert time.monotonic() - started < 15


def test_the_launch_keeps_no_history_and_asks_no_foreign_host() -> None:
    chosen = launch_options(shared_store().limits)
    assert chosen["run_history"] is False and chosen["ssr_mode"] is False and chosen["show_error"] is False
    assert chosen["max_file_size"] == f"{shared_store().limits.file_megabytes}mb"
    assert "http" not in chosen["css"] and "http" not in chosen["js"]


def test_limits_and_models_come_from_the_command_line(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "config.json").write_text("{}")
    arguments = ["--allow-folder", str(tmp_path), "--max-tokens", "33", "--dtype", "bfloat16", "--allow-hub"]
    store = store_of(options(arguments), tmp_path)
    assert (
        "mine" in store.sources and store.limits.new_tokens == 33 and store.hub and str(store.dtype) == "torch.bfloat16"
    )


def test_a_model_that_is_missing_ends_the_start_with_a_sentence() -> None:
    with pytest.raises(SystemExit, match="no model folder"):
        app.main(["--model", "./nowhere"])
