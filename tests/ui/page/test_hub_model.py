"""A Hub id typed into the model box: progress on the page, Stop, and what is kept, against a server on the loopback."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from playwright.sync_api import Page, expect
from transformers import AutoModelForCausalLM, AutoTokenizer, BitsAndBytesConfig

from components.page.options import options, store_of
from components.shared.brought import OwnExamples
from components.shared.choices import Choice, extract
from components.shared.model_names import BUNDLED_LABEL
from components.shared.opening import model_line
from components.shared.session import OWN, Session
from components.shared.store import ModelStore
from s2e_core import ModelLoadError
from s2e_core.loading import transfer
from tests.families import saved_folder
from tests.hub_server import HubServer, Repository, running_hub, use_hub
from tests.ui.browser import settled
from tests.ui.running import running_app
from tests.ui.studio_page import place

ID = "somebody/tiny"
PATIENCE = 60_000
"""Milliseconds."""
EXAMPLES = "\n".join(f"Question {n}? | {{}} {n}." for n in range(4))
CHOICE = Choice(ID, OWN, own=OwnExamples(EXAMPLES.format(*["Yes"] * 4), EXAMPLES.format(*["No"] * 4)))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny model whose chat template takes an argument."""
    folder = saved_folder(tmp_path_factory.mktemp("served") / "first")
    template = AutoTokenizer.from_pretrained(folder)
    template.chat_template = f"{template.chat_template}{{% if brief %}}Briefly: {{% endif %}}"
    template.save_pretrained(folder)
    return folder


@pytest.fixture
def hub(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[HubServer]:
    with running_hub() as server:
        server.repositories = {ID: Repository.of(folder)}
        use_hub(monkeypatch, server.address, tmp_path / "cache")
        monkeypatch.setattr(transfer, "PAUSE_SECONDS", 0.01)
        monkeypatch.setattr(transfer, "REPORT_BYTES", 20_000)
        yield server


@pytest.fixture
def store(folder: Path, tmp_path: Path) -> ModelStore:
    return ModelStore(sources={"first": folder}, work=tmp_path, hub=True, device="cpu")


def test_the_page_counts_the_download_and_then_has_a_session(hub: HubServer, store: ModelStore) -> None:
    hub.seconds_a_block = 0.02
    *lines, session = extract(store, CHOICE)
    assert isinstance(session, Session) and session.model == ID
    counted = [line for line in lines if str(line).startswith("Downloading the model: 0.")]
    assert len(counted) > 3 and all(" MB" in str(line) for line in counted)
    assert lines.index(counted[0]) < [str(line).split()[0] for line in lines].index("Reading")
    hub.requests.clear()
    *lines, _ = extract(store, CHOICE)
    assert not hub.requests and not any("Downloading" in str(line) for line in lines)


def test_stop_ends_a_download_and_the_next_goes_on_where_it_ended(hub: HubServer, store: ModelStore) -> None:
    hub.seconds_a_block = 0.05
    with closing(extract(store, CHOICE)) as lines:
        for line in lines:
            if "Downloading the model: 0.1" in str(line):
                break
    deadline = time.monotonic() + 20
    while store._loading.locked() and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not store._loading.locked() and not store.is_loaded(ID)
    hub.seconds_a_block = 0
    hub.requests.clear()
    assert store.model(ID).model_id == ID
    (again,) = hub.of_weights()
    assert again.range.startswith("bytes=")


def test_a_model_that_cannot_be_loaded_leaves_the_one_before_as_it_was(
    hub: HubServer, store: ModelStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = store.model("first")
    hub.repositories[ID].refusal = (401, "GatedRepo")
    with pytest.raises(ModelLoadError, match="gated"):
        list(extract(store, CHOICE))
    hub.repositories[ID].refusal = None
    monkeypatch.setattr("s2e_core.loading.memory.available_memory", lambda device: 1000)
    with pytest.raises(ModelLoadError, match="memory"):
        list(extract(store, CHOICE))
    assert store.model("first") is first and not store.is_loaded(ID)
    *_, session = extract(store, Choice("first", OWN, own=CHOICE.own))
    assert isinstance(session, Session)


def test_memory_that_runs_out_in_the_middle_of_a_switch_leaves_the_model_before(
    hub: HubServer, store: ModelStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = store.model("first")

    def full(*args: object, **options: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20 GiB")

    with monkeypatch.context() as patch:
        patch.setattr("transformers.AutoModelForCausalLM.from_pretrained", full)
        with pytest.raises(ModelLoadError, match="does not fit into the memory of cpu.*--device auto"):
            list(extract(store, CHOICE))
    assert store.model("first") is first and not store.is_loaded(ID)
    *_, session = extract(store, CHOICE)
    assert isinstance(session, Session) and store.is_loaded(ID)


def test_a_server_may_spread_its_models_or_run_them_in_fewer_bits(folder: Path, tmp_path: Path) -> None:
    arguments = ["--model", str(folder), "--device", "auto", "--dtype", "float32", "--max-memory", "cpu=0.0002"]
    spread = store_of(options(arguments), tmp_path)
    loaded = spread.model(spread.first_model)
    assert model_line(loaded) == "Model: 133,568 parameters, float32 on cpu and the disk."
    assert any("stay on the disk" in warning for warning in loaded.warnings)
    assert store_of(options(["--quantize", "int4"]), tmp_path).quantize == "int4"
    with pytest.raises(SystemExit):
        options(["--max-memory", "lots"])


def test_a_server_may_run_quantised_files_whose_originals_are_scored_and_exported(folder: Path, tmp_path: Path) -> None:
    pytest.importorskip("bitsandbytes", reason="needs bitsandbytes")
    model = AutoModelForCausalLM.from_pretrained(folder, quantization_config=BitsAndBytesConfig(load_in_8bit=True))
    model.save_pretrained(tmp_path / "small")
    store = store_of(options(["--model", str(tmp_path / "small"), "--originals", str(folder)]), tmp_path)
    assert store.first_model == "small"
    loaded = store.model("small")
    assert (loaded.model_id, loaded.source) == ("first", folder)
    assert "quantised (bitsandbytes)" in model_line(loaded)
    assert store.model(BUNDLED_LABEL).full_precision is None  # they are the first model's alone


def test_two_visitors_who_ask_for_one_model_wait_for_one_download(hub: HubServer, store: ModelStore) -> None:
    hub.seconds_a_block = 0.005
    visitors = [threading.Thread(target=store.model, args=(ID,)) for _ in range(2)]
    for visitor in visitors:
        visitor.start()
    for visitor in visitors:
        visitor.join()
    assert len(hub.of_weights()) == 1


def test_a_revision_stands_behind_the_name(hub: HubServer, store: ModelStore) -> None:
    *_, session = extract(store, replace(CHOICE, model=f"{ID}@v1.0"))
    assert isinstance(session, Session) and session.model == f"{ID}@v1.0"
    loaded = store.model(session.model)
    assert loaded.model_id == ID and loaded.revision == hub.repositories[ID].commit
    assert any("v1.0" in request.path for request in hub.requests)
    with pytest.raises(ModelLoadError, match='no revision "nowhere"'):
        list(extract(store, replace(CHOICE, model=f"{ID}@nowhere")))
    for name in (f"{ID}@", f"{ID}@../../x", f"{ID}@a//b", f"{ID}@a/../b", f"{ID}@a b"):
        with pytest.raises(ModelLoadError, match="There is no model"):
            list(extract(store, replace(CHOICE, model=name)))


def test_a_name_with_a_revision_never_reaches_a_folder(
    hub: HubServer, store: ModelStore, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "somebody").mkdir()
    (tmp_path / "somebody" / "secret").symlink_to(folder)
    monkeypatch.chdir(tmp_path)
    for name in ("somebody/secret", "somebody/secret@main"):
        with pytest.raises(ModelLoadError, match="switched off here"):
            store.model(name)


def test_the_operator_gives_a_revision_of_the_first_model(hub: HubServer, folder: Path, tmp_path: Path) -> None:
    store = store_of(options(["--model", ID, "--revision", "v1.0", "--device", "cpu"]), tmp_path)
    assert store.first_model == "tiny@v1.0"
    assert store.model(store.first_model).revision == hub.repositories[ID].commit
    for wrong in (["--model", str(folder), "--revision", "main"], ["--revision", "main"]):
        with pytest.raises(ModelLoadError, match="leave --revision out"):
            store_of(options(wrong), tmp_path)


def test_the_page_says_what_runs_and_where_a_system_text_goes(store: ModelStore) -> None:
    loaded = store.model("first")
    assert model_line(loaded) == "Model: 133,568 parameters, float32 on cpu."
    loaded.tokenizer.chat_template = "{{ messages[-1].content }}"
    assert "user's turn" in model_line(loaded)


@pytest.fixture
def served(hub: HubServer, tmp_path: Path) -> Iterator[tuple[ModelStore, str]]:
    store = ModelStore(sources={"Bundled": "bundled"}, work=tmp_path, hub=True, device="cpu")
    with running_app(store) as address:
        yield store, address


def test_a_visitor_types_an_id_watches_stops_and_goes_on(
    hub: HubServer, served: tuple[ModelStore, str], page: Page
) -> None:
    store, address = served
    status, box = page.locator("#status"), page.locator("#model input")
    page.set_default_timeout(PATIENCE)
    page.goto(address)
    expect(status).to_contain_text("parameters, float32 on cpu", timeout=PATIENCE)
    settled(page)
    hub.seconds_a_block = 0.25
    ask_for(page, ID)
    expect(status).to_contain_text("Downloading the model: 0.", timeout=PATIENCE)
    page.locator("#stop-extract").click()
    expect(status).to_contain_text("Wanted", timeout=PATIENCE)
    expect(box).to_have_value("Bundled", timeout=PATIENCE)
    assert not store.is_loaded(ID)
    hub.seconds_a_block = 0
    ask_for(page, ID)
    expect(status).to_contain_text("133,568 parameters", timeout=PATIENCE)
    settled(page)
    assert store.is_loaded(ID) and place(page)["model"] == ID
    # Its chat template takes an argument, which this page alone gives it.
    arguments = page.locator("#template input")
    arguments.fill("brief")
    arguments.press("Enter")
    expect(page.locator(".toast-body")).to_contain_text("brief is not a JSON object")
    expect(arguments).to_have_value("")
    arguments.fill('{"brief":true}')
    arguments.press("Enter")
    page.wait_for_function("name => window.steer2edit.place().model == name", arg=f'{ID} {{"brief": true}}')
    settled(page)
    assert box.input_value() == ID
    assert (store.model(ID).template, store.model(place(page)["model"]).template) == ("", '{"brief": true}')


def test_a_click_quicker_than_the_page_keeps_what_it_made(
    hub: HubServer, served: tuple[ModelStore, str], page: Page
) -> None:
    """The choice of a model has a run of its own, which finds nothing ready while the button's run is under way."""
    _, address = served
    page.set_default_timeout(PATIENCE)
    page.goto(address)
    status = page.locator("#status")
    expect(status).to_contain_text("parameters, float32 on cpu", timeout=PATIENCE)
    page.locator("#model input").fill(ID)
    page.evaluate(
        """() => {
            const enter = new KeyboardEvent("keydown", {key: "Enter", code: "Enter", bubbles: true});
            document.querySelector("#model input").dispatchEvent(enter);
            setTimeout(() => document.querySelector("#extract").click(), 5);  // once the box has taken the name
        }"""
    )
    expect(status).to_contain_text("133,568 parameters", timeout=PATIENCE)
    settled(page)
    assert place(page)["model"] == ID and "133,568 parameters" in (status.text_content() or "")


def ask_for(page: Page, name: str) -> None:
    page.locator("#model input").fill(name)
    page.locator("#model input").press("Enter")
    page.locator("#extract").click()
