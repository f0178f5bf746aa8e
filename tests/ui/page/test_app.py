"""The page as it is served: its configuration, what it gives away, and how it starts."""

from __future__ import annotations

import json
import time
from pathlib import Path

import gradio as gr
import pytest
from starlette.testclient import TestClient

import app
from components.page.look import launch_options
from components.page.options import options, read_first, store_of
from components.shared import texts
from components.shared.events import MODEL, SESSION
from components.shared.store import SUGGESTION_STEPS
from s2e_core.data import behavior_gate_texts
from tests.ui.running import first_session, shared_store


@pytest.fixture(scope="module")
def demo() -> gr.Blocks:
    first_session()
    return app.build(shared_store())


def test_the_page_names_no_path_of_the_server(demo: gr.Blocks) -> None:
    config = json.dumps(demo.get_config_file(), default=str)
    assert str(Path(app.__file__).parent) not in config and str(Path.home()) not in config


def test_every_word_for_the_resting_pointer_belongs_to_a_component(demo: gr.Blocks) -> None:
    ids = {block.elem_id for block in demo.blocks.values()}
    assert set(texts.TOOLTIPS) <= ids
    script = launch_options(shared_store().limits)["js"]
    assert all(told in script for told in texts.TOOLTIPS.values())


def test_every_event_is_private_and_runs_in_its_own_queue(demo: gr.Blocks) -> None:
    named = {"session": SESSION["concurrency_limit"], "model": MODEL["concurrency_limit"]}
    assert set(named.values()) == {1}
    for event in demo.fns.values():
        starts_the_state = event.outputs and all(isinstance(c, gr.State) for c in event.outputs) and not event.inputs
        assert event.fn is None or event.api_visibility == "private" or starts_the_state, event.name
        if event.concurrency_id in named:
            assert event.queue is not False


def test_how_an_event_goes_is_shown_on_nothing_that_the_browser_draws(demo: gr.Blocks) -> None:
    config = demo.get_config_file()
    undrawn = {component["id"] for component in config["components"] if component["type"] == "state"}
    shown = {id for event in config["dependencies"] for id in event["show_progress_on"]}
    assert len(config["dependencies"]) > 20 and len(shown) == 1 and shown <= undrawn


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


def events_of(demo: gr.Blocks, elem_id: str, event: str) -> list:
    ids = [block._id for block in demo.blocks.values() if getattr(block, "elem_id", None) == elem_id]
    return [fn for fn in demo.fns.values() if any(target in ids and name == event for target, name in fn.targets)]


def test_a_dial_never_sets_itself_and_sends_only_what_it_changes(demo: gr.Blocks) -> None:
    outputs = {
        name: {block.elem_id for block in events_of(demo, name, "input")[0].outputs if not isinstance(block, gr.State)}
        for name in ("heads-count", "rho-mlp", "alpha", "strength", "own-strength")
    }
    for name, sent in outputs.items():
        assert name not in sent and {"heads", "neurons", "summary", "inspector", "undo", "redo"} <= sent
    assert "rho-attn" in outputs["heads-count"] and "neurons-count" in outputs["rho-mlp"]
    assert {"heads-count", "neurons-count"} <= outputs["alpha"]
    assert not {"first-layer", "last-layer", "alpha", "heads-count"} & outputs["strength"]


def test_a_refused_move_puts_the_dial_and_the_page_back(demo: gr.Blocks) -> None:
    [moved] = events_of(demo, "alpha", "input")
    back = [fn for fn in demo.fns.values() if fn.trigger_after == moved._id and fn.trigger_only_on_failure]
    assert [{"alpha", "heads-count", "summary"} <= {block.elem_id for block in fn.outputs} for fn in back] == [True]
    session = first_session()
    kept, *values = back[0].fn(session)
    sent = dict(zip([block.elem_id for block in back[0].outputs[1:]], values, strict=True))
    assert kept is session and sent["alpha"]["value"] == pytest.approx(session.settings.alpha)
