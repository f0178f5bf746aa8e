"""An edit made on the page answers the same where people run models: in transformers with PEFT, and in llama.cpp."""

from __future__ import annotations

import re
import zipfile
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch
from peft import PeftModel
from playwright.sync_api import Page, expect
from transformers import AutoModelForCausalLM

from s2e_core.model import LoadedModel, prompt_ids
from tests.core.llama_cpp import greedy, write_base
from tests.ui.browser import PATIENCE
from tests.ui.running import running_app, shared_store
from tests.ui.studio_page import arrive, rest, said, set_slider

SAYS = "does what the preview showed|contains the edit"


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    with running_app(shared_store()) as url:
        yield url


@pytest.fixture(scope="module")
def loaded() -> LoadedModel:
    return shared_store().model(shared_store().first_model)


@pytest.fixture
def visitor(page: Page, address: str) -> Page:
    """On a page whose edit is the visitor's own, and whose texts are of it."""
    arrive(page, address)
    for name, value in (("alpha", 0.2), ("strength", 1.05)):
        set_slider(page, name, value)
        rest(page)
    page.click("#run")
    rest(page)
    return page


def download(page: Page, button: str, folder: Path) -> Path:
    """The folder that a button of the page sends as an archive."""
    with page.expect_download(timeout=4 * PATIENCE) as started:
        page.click(f"#{button}")
    started.value.save_as(folder / "download.zip")
    expect(page.locator("#export-status")).to_contain_text(re.compile(SAYS), timeout=PATIENCE)
    with zipfile.ZipFile(folder / "download.zip") as archive:
        archive.extractall(folder)
    return next(path.parent for path in folder.glob("*/README.md"))


def asked(page: Page, loaded: LoadedModel) -> tuple[list[int], int]:
    """The prompt on the page as tokens, and how many of an answer cover both texts, which differ."""
    assert all(said(page)) and len(set(said(page))) == 2
    texts = "".join(said(page))
    return prompt_ids(loaded.tokenizer, page.input_value("#prompt textarea")), len(loaded.tokenizer(texts)["input_ids"])


def test_with_peft(visitor: Page, loaded: LoadedModel, tmp_path: Path) -> None:
    original, edited = said(visitor)
    prompt, length = asked(visitor, loaded)
    adapter = download(visitor, "adapter", tmp_path)
    assert "--model steered" in (adapter / "evaluate.sh").read_text()  # at the γ of the page
    base = AutoModelForCausalLM.from_pretrained(loaded.source, dtype=torch.float32)
    model = PeftModel.from_pretrained(base, adapter)
    ids = torch.tensor([prompt])
    texts = []
    for disabled in (False, True):
        with model.disable_adapter() if disabled else torch.no_grad():
            out = model.generate(input_ids=ids, max_new_tokens=length, do_sample=False)
        texts.append(loaded.tokenizer.decode(out[0, ids.shape[1] :], skip_special_tokens=True))
    assert texts[0].startswith(edited) and texts[1].startswith(original)


@pytest.mark.skipif(find_spec("xllamacpp") is None, reason="the package xllamacpp is not installed")
def test_in_llama_cpp(visitor: Page, loaded: LoadedModel, tmp_path: Path) -> None:
    original, edited = said(visitor)
    prompt, length = asked(visitor, loaded)
    (lora,) = download(visitor, "gguf-lora", tmp_path).glob("*.gguf")
    base = write_base(tmp_path / "base.gguf", loaded, "llama")
    answers = greedy(base, lora, [prompt], length=length, scales=(1, 0))
    texts = [loaded.tokenizer.decode(answer, skip_special_tokens=True) for (answer,) in answers]
    assert texts[0].startswith(edited) and texts[1].startswith(original)
