"""A model's own generation config: of all its fields only special tokens, suppressed tokens and stop strings count."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from transformers import GenerationConfig

from s2e_core import ModelLoadError, Original, compare, generate_responses, load_model
from s2e_core.generation import BatchRow, answers, batching, encode_prompt
from s2e_core.loading.generation import KEPT
from s2e_core.model import LoadedModel

PROMPT = "Hello"
WATERMARK = {"greenlist_ratio": 0.5, "bias": 50.0, "hashing_key": 7, "seeding_scheme": "lefthash", "context_width": 1}
SYNTHID = {"ngram_len": 2, "keys": [1, 2], "context_history_size": 8}
BENDING: dict[str, list[Any]] = {
    "max_length": [2, 1_000_000],
    "max_new_tokens": [1, -1],
    "min_length": [400],
    "min_new_tokens": [400],
    "early_stopping": [True, "never", 3],
    "max_time": [1e-9],
    "do_sample": [True],
    "num_beams": [3, "many"],
    "use_mtp": [True],
    "use_cache": [False],
    "cache_implementation": ["static", "quantized", "offloaded", "paged", "no such cache"],
    "cache_config": [{"backend": "quanto", "nbits": 2}],
    "max_cache_len": [4],
    "temperature": [9.0, 0.0, -1.0],
    "top_k": [1, -5],
    "top_p": [0.01, 7.0],
    "min_p": [0.9],
    "top_h": [0.1],
    "typical_p": [0.1],
    "epsilon_cutoff": [0.5],
    "eta_cutoff": [0.5],
    "repetition_penalty": [50.0, -1.0],
    "encoder_repetition_penalty": [50.0],
    "length_penalty": [-9.0],
    "no_repeat_ngram_size": [1],
    "bad_words_ids": [[[token] for token in range(60, 300)], 7],
    "renormalize_logits": [True],
    "forced_bos_token_id": [70],
    "forced_eos_token_id": [2, [2]],
    "remove_invalid_values": [True],
    "exponential_decay_length_penalty": [[0, 50.0], "fast"],
    "sequence_bias": [[[[71], 90.0]]],
    "token_healing": [True],
    "guidance_scale": [3.0],
    "watermarking_config": [WATERMARK, SYNTHID, {"no": "such key"}],
    "num_return_sequences": [3],
    "output_attentions": [True],
    "output_hidden_states": [True],
    "output_scores": [True],
    "output_logits": [True],
    "return_dict_in_generate": [False, True],
    "pad_token_id": [70, -1, 10_000],
    "bos_token_id": [70, -1],
    "encoder_no_repeat_ngram_size": [1],
    "decoder_start_token_id": [70],
    "is_assistant": [True],
    "num_assistant_tokens": [5],
    "num_assistant_tokens_schedule": ["heuristic"],
    "assistant_confidence_threshold": [0.99],
    "prompt_lookup_num_tokens": [4],
    "max_matching_ngram_size": [2],
    "assistant_early_exit": [1],
    "assistant_lookbehind": [3],
    "target_lookbehind": [3],
    "assistant_ensemble_weight": [0.5, 7.0],
    "speculation_type": ["mtp", "ngram"],
    "compile_config": [{"mode": "max-autotune"}],
    "disable_compile": [True],
    "continuous_batching_config": [{"block_size": 2}],
    "low_memory": [True],
    "penalty_alpha": [0.6],
    "dola_layers": ["low"],
    "diversity_penalty": [2.0],
    "num_beam_groups": [3],
    "constraints": [[[71]]],
    "force_words_ids": [[[71]]],
    "prefill_chunk_size": [2],
    "transformers_version": ["4.1.0", 7],
    "chat_format": ["chatml"],
    "trust_remote_code": [True],
    "custom_generate": ["owner/name"],
}
"""Values for every field of transformers' class that is not kept, and for some that others write."""


def folder_with(llama: LoadedModel, folder: Path, **entries: Any) -> Path:
    """A copy of the tiny model with entries in its own generation config."""
    shutil.copytree(llama.source, folder)
    file = folder / "generation_config.json"
    own = json.loads(file.read_text()) if file.is_file() else {}
    file.write_text(json.dumps(own | entries))
    return folder


def texts(loaded: LoadedModel, temperature: float = 0.0) -> tuple[str, ...]:
    *_, (text,) = compare(loaded, PROMPT, [Original()], max_new_tokens=12, temperature=temperature, seed=5)
    return text, *generate_responses(loaded, [PROMPT, "Another"], max_new_tokens=12, temperature=temperature, seed=5)


def tokens(loaded: LoadedModel, temperature: float = 0.0, n: int = 12) -> list[list[int]]:
    """The token ids of two answers, without what ends them."""
    rows = [BatchRow(0, tuple(encode_prompt(loaded, text, None, n, 0.0)), 5) for text in (PROMPT, "Another")]
    return answers(loaded, [Original()], rows, max_new_tokens=n, temperature=temperature)


@pytest.fixture(scope="module")
def plain(llama: LoadedModel) -> tuple[list[int], ...]:
    return (*tokens(llama), *tokens(llama, 1.0))


def test_every_field_of_transformers_class_is_decided():
    fields = {name for name in vars(GenerationConfig()) if not name.startswith("_")}
    assert fields <= BENDING.keys() | set(KEPT) and not BENDING.keys() & set(KEPT)


@pytest.mark.parametrize(("name", "value"), [(name, value) for name, values in BENDING.items() for value in values])
def test_no_other_field_bends_or_breaks_a_text(llama, plain, tmp_path, name, value):
    loaded = load_model(folder_with(llama, tmp_path / "model", **{name: value}), device="cpu")
    assert (*tokens(loaded), *tokens(loaded, 1.0)) == plain


def test_all_of_them_at_once_and_in_the_old_place_bend_nothing(llama, plain, tmp_path):
    everything = {name: values[0] for name, values in BENDING.items()}
    loaded = load_model(folder_with(llama, tmp_path / "model", **everything), device="cpu")
    assert (*tokens(loaded), *tokens(loaded, 1.0)) == plain
    folder = folder_with(llama, tmp_path / "old")
    (folder / "generation_config.json").unlink()
    config = json.loads((folder / "config.json").read_text())
    old = {"repetition_penalty": 50.0, "num_beams": 3, "penalty_alpha": 0.6, "max_length": 2}
    (folder / "config.json").write_text(json.dumps(config | old))
    loaded = load_model(folder, device="cpu")
    assert (*tokens(loaded), *tokens(loaded, 1.0)) == plain


@pytest.mark.parametrize("part", [2, 8])
def test_a_stop_string_ends_the_text_before_it(llama, tmp_path, monkeypatch, part):
    monkeypatch.setattr(batching, "PART_TOKENS", part)  # the string may lie across two parts
    stop = texts(llama)[0][2:4]
    loaded = load_model(folder_with(llama, tmp_path / "model", stop_strings=[stop, "never written"]), device="cpu")
    cut = [text.partition(stop)[0] for text in texts(llama)]
    assert list(texts(loaded)) == cut and 0 < len(cut[0]) < len(texts(llama)[0])
    calls: list[int] = []
    hook = loaded.model.register_forward_hook(lambda *_: calls.append(1))
    generate_responses(loaded, [PROMPT], max_new_tokens=12, temperature=0.0)
    hook.remove()
    assert len(calls) < 12  # the model does not run on


@pytest.mark.parametrize("part", [2, 8])
def test_suppressed_tokens_are_never_written_and_the_first_ones_only_not_first(
    llama, plain, tmp_path, monkeypatch, part
):
    monkeypatch.setattr(batching, "PART_TOKENS", part)
    first = plain[0][0]
    everywhere = load_model(folder_with(llama, tmp_path / "all", suppress_tokens=[first]), device="cpu")
    assert not any(first in row for row in (*tokens(everywhere), *tokens(everywhere, 1.0)))
    begin = load_model(folder_with(llama, tmp_path / "begin", begin_suppress_tokens=[first]), device="cpu")
    assert all(row[0] != first for row in (*tokens(begin), *tokens(begin, 1.0)))
    assert texts(begin)[0] == texts(begin)[1] != texts(llama)[0]


def test_tokens_suppressed_at_the_beginning_may_begin_a_later_part(llama, tmp_path, monkeypatch):
    loaded = load_model(folder_with(llama, tmp_path / "model", begin_suppress_tokens=[5]), device="cpu")
    whole = generate_responses(loaded, [PROMPT] * 16, max_new_tokens=12)
    monkeypatch.setattr(batching, "PART_TOKENS", 1)
    assert generate_responses(loaded, [PROMPT] * 16, max_new_tokens=12) == whole


def test_several_ends_end_a_text_and_impossible_ones_are_left_out(llama, plain, tmp_path):
    second = plain[0][1]
    loaded = load_model(folder_with(llama, tmp_path / "model", eos_token_id=[-1, second, 99_999]), device="cpu")
    assert second != plain[0][0] and tokens(loaded)[0] == plain[0][:1]


@pytest.mark.parametrize(
    ("entries", "said"),
    [
        (
            {"eos_token_id": "</s>"},
            "its generation_config.json has .'</s>'. as eos_token_id. Correct it to a list of token ids",
        ),
        ({"suppress_tokens": {"1": 2}}, "as suppress_tokens"),
        ({"begin_suppress_tokens": [True]}, "as begin_suppress_tokens"),
        ({"stop_strings": [7]}, "has .7. as stop_strings. Correct it to a list of strings"),
    ],
)
def test_a_kept_field_of_another_type_is_a_sentence(llama, tmp_path, entries, said):
    with pytest.raises(ModelLoadError, match=said):
        load_model(folder_with(llama, tmp_path / "model", **entries), device="cpu")


@pytest.mark.parametrize("entries", [{"return_dict": False}, {"output_attentions": True, "output_hidden_states": True}])
def test_a_configuration_that_changes_the_form_of_outputs_changes_no_text(llama, plain, tmp_path, entries):
    folder = folder_with(llama, tmp_path / "model")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | entries))
    loaded = load_model(folder, device="cpu")
    assert (*tokens(loaded), *tokens(loaded, 1.0)) == plain
