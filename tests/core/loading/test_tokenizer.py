"""What is checked of a tokenizer and its template at load: mistakes that raise no error by themselves."""

import json
from pathlib import Path

import pytest
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from s2e_core import ModelLoadError, load_model
from s2e_core.cli import main
from s2e_core.loading import describe_template, describe_tokenizer
from s2e_core.loading.tokenizer import PROBES, check_texts, load_tokenizer
from tests.families import CHAT_TEMPLATE, saved_folder, tiny_tokenizer

TEXT = "Hello, how are you?"


def sentencepiece_like() -> PreTrainedTokenizerFast:
    """Spaces are part of the words, as in Llama's first tokenizers."""
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Metaspace()
    trainer = trainers.BpeTrainer(vocab_size=300, special_tokens=["<unk>", "<s>", "</s>"], show_progress=False)
    tokenizer.train_from_iterator([TEXT, *PROBES.values()] * 3, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>", unk_token="<unk>", chat_template=CHAT_TEMPLATE
    )


def test_a_qwen2_model_with_another_tokenizer_inside_is_read_by_its_file_and_says_so(tmp_path):
    folder = saved_folder(tmp_path, "qwen2")
    own = sentencepiece_like()
    own.save_pretrained(folder)
    picked = AutoTokenizer.from_pretrained(folder)
    assert picked(TEXT)["input_ids"] != own(TEXT)["input_ids"], "transformers reads this right by now"
    loaded = load_model(folder, device="cpu")
    assert loaded.tokenizer(TEXT)["input_ids"] == own(TEXT)["input_ids"]
    assert loaded.tokenizer.decode(loaded.tokenizer(TEXT)["input_ids"]) == TEXT
    assert loaded.tokenizer.chat_template == CHAT_TEMPLATE
    assert any("Qwen2Tokenizer" in warning and "PreTrainedTokenizerFast" in warning for warning in loaded.warnings)


@pytest.mark.parametrize("model_type", ["llama", "qwen2"])
def test_a_tokenizer_that_is_what_its_file_says_gets_no_warning(tmp_path, model_type):
    loaded = load_model(saved_folder(tmp_path, model_type), device="cpu")
    assert loaded.warnings == ()


def test_the_bundled_model_gets_no_warning():
    assert load_model("bundled", device="cpu").warnings == ()


def test_a_tokenizer_that_loses_something_names_it():
    plain = tiny_tokenizer()
    plain.backend_tokenizer.normalizer = normalizers.Sequence([normalizers.NFD(), normalizers.StripAccents()])
    (warning,) = check_texts(plain, "m")
    assert "accents" in warning and "numbers" not in warning
    plain.backend_tokenizer.normalizer = normalizers.Lowercase()
    assert "simple sentence" in check_texts(plain, "m")[0]


def test_a_template_that_begins_twice_is_said_and_one_that_begins_once_is_not():
    tokenizer = tiny_tokenizer()
    assert check_texts(tokenizer, "m") == ()
    tokenizer.chat_template = "{{ bos_token }}" + CHAT_TEMPLATE
    assert "more than one BOS" in check_texts(tokenizer, "m")[0]


def test_a_bos_token_that_also_ends_a_turn_is_no_second_beginning():
    tokenizer = tiny_tokenizer()
    tokenizer.chat_template = "{{ bos_token }}{{ messages[0].content }}{{ bos_token }}"
    assert check_texts(tokenizer, "m") == ()


def test_what_the_checks_found_is_told_in_a_few_words_and_shown_by_info(capsys):
    tokenizer = tiny_tokenizer()
    assert describe_tokenizer(tokenizer) == "259 tokens, gives text back unchanged, prompts begin with one BOS token"
    tokenizer.chat_template = "{{ bos_token }}" + CHAT_TEMPLATE
    tokenizer.backend_tokenizer.normalizer = normalizers.Sequence([normalizers.NFD(), normalizers.StripAccents()])
    assert describe_tokenizer(tokenizer) == "259 tokens, changes accents, prompts begin with 2 BOS tokens"
    assert main(["info", "--device", "cpu"]) == 0
    assert "gives text back unchanged, prompts begin with" in capsys.readouterr().out


def test_a_tokenizer_of_a_larger_model_is_refused_and_single_tokens_too_many_are_said(tmp_path):
    with pytest.raises(ModelLoadError, match="its tokenizer has 259 tokens and the model knows 100"):
        load_model(saved_folder(tmp_path / "small", vocab_size=100), device="cpu")
    folder = saved_folder(tmp_path / "model", vocab_size=259)
    assert load_model(folder, device="cpu").warnings == ()
    tokenizer = tiny_tokenizer()
    tokenizer.add_special_tokens({"additional_special_tokens": ["<new>"]})
    tokenizer.save_pretrained(folder)
    (warning,) = load_model(folder, device="cpu").warnings
    assert "the model knows only 259: a text that contains one of the others (such as <new>)" in warning


def test_a_template_that_fails_is_a_sentence(tmp_path):
    folder = saved_folder(tmp_path)
    (folder / "chat_template.jinja").write_text("{{ raise_exception('tools are needed') }}")
    with pytest.raises(ModelLoadError, match="chat template cannot write a simple prompt .tools are needed"):
        load_model(folder, device="cpu")


@pytest.mark.parametrize("content", ["{", "{}", '{"model": {"type": "nothing"}}'])
def test_a_broken_tokenizer_file_is_a_sentence(tmp_path, content):
    folder = saved_folder(tmp_path)
    (folder / "tokenizer.json").write_text(content)
    with pytest.raises(ModelLoadError, match="could not be loaded"):
        load_model(folder, device="cpu")


def test_how_prompts_reach_the_model_is_told_in_a_few_words():
    tokenizer = tiny_tokenizer()
    assert describe_template(tokenizer).startswith("yes") and "of its own" in describe_template(tokenizer)
    tokenizer.chat_template = "{% for m in messages %}{% if m.role == 'user' %}{{ m.content }}{% endif %}{% endfor %}"
    assert "folded into the user's turn" in describe_template(tokenizer)
    assert "plain text" in describe_template(tiny_tokenizer(chat=False))


def test_a_model_without_a_tokenizer_file_of_that_kind_keeps_what_transformers_picks(tmp_path):
    folder = saved_folder(tmp_path, "gpt2")
    vocabulary = json.loads((folder / "tokenizer.json").read_text())["model"]["vocab"]
    Path(folder / "tokenizer.json").unlink()
    (folder / "vocab.json").write_text(json.dumps(vocabulary))
    (folder / "merges.txt").write_text("#version: 0.2\n")
    settings = json.loads((folder / "tokenizer_config.json").read_text())
    (folder / "tokenizer_config.json").write_text(json.dumps(settings | {"tokenizer_class": "GPT2Tokenizer"}))
    tokenizer, warnings = load_tokenizer(folder)
    assert warnings == () and tokenizer.decode(tokenizer(TEXT)["input_ids"]) == TEXT
