"""The tab reads and writes the same token ids as the Python tokenizer, whatever the text."""

from __future__ import annotations

import json
import random
import sys
import unicodedata
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page

from s2e_core.model import prompt_ids
from tests.ui.running import shared_store
from tests.ui.tab_model.serving import page_of_modules

MANY = 3000
ODD = [
    "", " ", "\n", "\t\t x", "a  b   c", "  two spaces before", "ends with spaces   ", "'s", "it's", "It’s 3 o'clock.",
    "1234567", "x1y22z333", "٣٤٥ ௧௨", "½ ² Ⅷ", "\u0085next\u2028line\u2029", "\ufeffmark", "no\u00a0break", "é é ﬁ",
    "\U0001f469\u200d\U0001f52c \U0001f1e9\U0001f1ea", "日本語のテキスト", "العربية", "हिन्दी", "\x00\x01\x7f", "\ufffd",
    "<|end|>", "a<|user|>b<|assistant|>", "<|end", "<|pad|><|begin|>", "\U0010fffd\ue000", "A" * 300, "Ġ Ċ ĠĠ",
]  # fmt: skip


@pytest.fixture(scope="module")
def page(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    loaded, store = shared_store().model(shared_store().first_model), tmp_path_factory.mktemp("site")
    with page_of_modules(browser, loaded, store, ("tab_model/tokenizer",)) as opened:
        opened.evaluate(
            """async () => {
                const read = name => fetch(`/model/${name}.json`).then(answer => answer.json());
                const [parts, turn] = await Promise.all(['tokenizer', 'turn'].map(read));
                window.words = modules.tokenizer.tokenizer(parts);
                window.turn = turn;
            }"""
        )
        yield opened


def random_texts(draw: random.Random) -> list[str]:
    """Words of the model's world, of no world, and characters from everywhere that Unicode has assigned."""
    characters = [chr(i) for i in range(sys.maxunicode + 1) if unicodedata.category(chr(i)) not in ("Cn", "Cs")]
    words = [word for b in shared_store().behavior_list for row in b.attribute for word in row["prompt"].split(" ")]
    kinds = [
        lambda: " ".join(draw.choices(words, k=draw.randint(1, 12))),
        lambda: "".join(draw.choices(characters, k=draw.randint(1, 20))),
        lambda: "".join(draw.choices(" \t\n\r\x0b\x0c\x85\xa0\u3000'sa1.é-", k=draw.randint(1, 20))),
        lambda: "".join(chr(draw.randint(32, 1000)) for _ in range(draw.randint(1, 20))),
    ]
    return [draw.choice(kinds)() for _ in range(MANY)]


def test_texts_become_the_same_ids_and_ids_the_same_texts(page: Page) -> None:
    tokenizer = shared_store().model(shared_store().first_model).tokenizer
    draw = random.Random(3)
    texts = [*ODD, *random_texts(draw)]
    found = json.loads(page.evaluate("texts => JSON.stringify(texts.map(words.encode))", texts))
    wrong = [
        (text, ids, here)
        for text, here in zip(texts, found, strict=True)
        if (ids := tokenizer(text, add_special_tokens=False)["input_ids"]) != here
    ]
    assert not wrong, (len(wrong), wrong[:5])
    # Any ids, also such that are half a character.
    ids = [[draw.randrange(len(tokenizer)) for _ in range(draw.randint(0, 30))] for _ in range(MANY)] + found
    read = json.loads(page.evaluate("ids => JSON.stringify(ids.map(words.decode))", ids))
    unlike = [
        (one, text, here)
        for one, here in zip(ids, read, strict=True)
        if (text := tokenizer.decode(one, skip_special_tokens=True)) != here
    ]
    assert not unlike, (len(unlike), unlike[:5])


def test_a_prompt_is_the_same_turn_of_the_chat(page: Page) -> None:
    tokenizer = shared_store().model(shared_store().first_model).tokenizer
    for prompt in ("What is Veldor like?", "  spaces \n", "<|end|>", "日本"):
        assert page.evaluate("text => words.encode(turn[0] + text + turn[1])", prompt) == prompt_ids(tokenizer, prompt)


def test_half_a_character_pair_is_refused_in_a_sentence(page: Page) -> None:
    said = page.evaluate("() => { try { words.encode('a\\ud800b'); } catch (error) { return error.message; } }")
    assert "broken Unicode character" in said
