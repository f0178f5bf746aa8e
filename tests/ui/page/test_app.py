"""The page as it is served: its configuration, what it gives away, and how it starts."""

from __future__ import annotations

import json
import re
import time
from pathlib import Path

import gradio as gr
import pytest
from gradio.block_function import BlockFunction
from starlette.testclient import TestClient

import app
from components.page.look import launch_options
from components.page.options import options, read_first, store_of
from components.shared import texts
from components.shared.events import LOOK, MODEL, PUSH, SWEEP
from components.shared.session import Session
from components.shared.store import SUGGESTION_STEPS
from s2e_core.data import behavior_gate_texts
from tests.ui.running import first_session, shared_store

STUDIO = Path(app.__file__).parent / "components" / "studio"


@pytest.fixture(scope="module")
def demo() -> gr.Blocks:
    first_session()
    return app.build(shared_store())


def test_the_page_names_no_path_of_the_server(demo: gr.Blocks) -> None:
    config = json.dumps(demo.get_config_file(), default=str)
    assert str(Path(app.__file__).parent) not in config and str(Path.home()) not in config


def test_every_word_for_the_resting_pointer_belongs_to_a_component(demo: gr.Blocks) -> None:
    ids = {block.elem_id for block in demo.blocks.values()}
    scripts = "".join(path.read_text(encoding="utf-8") for path in STUDIO.glob("*.js"))
    ids |= {one or other for one, other in re.findall(r"'([a-z]+(?:-[a-z]+)*)'|told\.([a-z]+)", scripts)}
    assert set(texts.TOOLTIPS) <= ids
    script = launch_options(shared_store().limits)["js"]
    assert all(told in script for told in texts.TOOLTIPS.values())


def test_every_event_is_private_and_runs_in_its_own_queue(demo: gr.Blocks) -> None:
    named = {queue["concurrency_id"]: queue["concurrency_limit"] for queue in (MODEL, SWEEP, LOOK, PUSH)}
    assert {name for name, most in named.items() if most == 1} == {"model", "sweep", "push"}
    for event in demo.fns.values():
        starts_the_state = event.outputs and all(isinstance(c, gr.State) for c in event.outputs) and not event.inputs
        assert event.fn is None or event.api_visibility == "private" or starts_the_state, event.name
        if event.concurrency_id in named:
            assert event.queue is not False and event.concurrency_limit == named[event.concurrency_id]


def test_how_an_event_goes_is_shown_on_nothing_that_the_browser_draws(demo: gr.Blocks) -> None:
    config = demo.get_config_file()
    undrawn = {one["id"] for one in config["components"] if one["props"].get("visible") == "hidden"}
    shown = {id for event in config["dependencies"] for id in event["show_progress_on"]}
    assert len(config["dependencies"]) > 20 and len(shown) == 1 and shown <= undrawn


def test_direct_calls_of_the_handlers_are_closed(demo: gr.Blocks) -> None:
    from gradio.routes import App

    client = TestClient(App.create_app(demo))
    answers = [client.post(f"/gradio_api/run/{event.api_name}", json={"data": []}) for event in demo.fns.values()
               if event.fn is not None and event.concurrency_id in ("look", "model")]  # fmt: skip
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
    arguments += ["--outliers", "keep"]
    store = store_of(options(arguments), tmp_path)
    assert (
        "mine" in store.sources and store.limits.new_tokens == 33 and store.hub and str(store.dtype) == "torch.bfloat16"
    )
    assert store.outliers == "keep"


def test_a_model_that_is_missing_ends_the_start_with_a_sentence() -> None:
    with pytest.raises(SystemExit, match="does not exist"):
        app.main(["--model", "./nowhere"])


def test_the_examples_that_the_page_opens_with_are_counted_on_the_terminal(tmp_path: Path, capsys) -> None:
    store = store_of(options([]), tmp_path)
    read_first(store)
    behavior = store.behavior_list[0]
    texts = behavior_gate_texts(behavior)
    count = len(behavior.contrast.positive) + len(behavior.contrast.negative) + SUGGESTION_STEPS
    count += 2 * (len(texts.on) + len(texts.off))  # answered, and then read
    assert f"reading examples {count}/{count}" in capsys.readouterr().err
    assert store.cached(store.model(store.first_model), behavior.contrast, behavior) is not None


def test_ctrl_c_ends_the_start_with_a_word(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(app, "read_first", interrupted)
    with pytest.raises(SystemExit, match="Stopped."):
        app.main([])


def asked_by(demo: gr.Blocks, button: str) -> list[BlockFunction]:
    """What the server is asked at a click on a button."""
    [found] = [block._id for block in demo.blocks.values() if getattr(block, "elem_id", None) == button]
    return [event for event in demo.fns.values() if event.fn is not None and (found, "click") in event.targets]


def test_no_dial_is_the_servers_and_the_place_is_all_that_it_is_told_of_an_edit(demo: gr.Blocks) -> None:
    dials = {"strength", "heads-count", "neurons-count", "rho-attn", "rho-mlp", "alpha", "gate-gamma", "own-strength"}
    assert not dials & {block.elem_id for block in demo.blocks.values()}
    asks = [event for button in ("run", "recipe", "extract", "bring-use") for event in asked_by(demo, button)]
    assert len(asks) == 4 and all(event.inputs[0].elem_id == "studio" for event in asks)


def test_no_visitors_edit_is_kept_as_a_state_of_the_server(demo: gr.Blocks) -> None:
    states = [block.value for block in demo.blocks.values() if isinstance(block, gr.State)]
    begun = [value() if callable(value) else value for value in states]
    assert begun and not any(isinstance(value, Session) for value in begun)


def test_a_stream_that_a_stop_button_ends_tells_the_server_its_name(demo: gr.Blocks) -> None:
    stopped = {"run": "stop-run", "ask-eight": "stop-run", "extract": "stop-extract", "recipe": "stop-export"}
    for button, stop in stopped.items():
        [run] = asked_by(demo, button)
        assert run.js and f"begin?.('{stop}'" in run.js, button
