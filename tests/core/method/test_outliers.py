"""Positions with an extreme residual norm: left out and weighed down as by a plain loop, and nothing else changes."""

import copy
import json

import pytest
import torch
from safetensors.torch import load_file, save_file

from s2e_core import Example, capture_means, extract, load_behavior, load_model
from s2e_core.cli import chosen_outliers, main, parse
from s2e_core.data import contrast_set
from s2e_core.method import capture, capture_inputs, outlier_sentence, outliers, reliability
from s2e_core.model import example_ids
from s2e_core.values import OUTLIERS
from tests.core.by_hand import inputs_by_hand
from tests.families import saved_folder

POSITIVE = [
    Example("How are you?", "Great, thank Z you so much!"),
    Example("Hi", "Yes, yes"),
    Example("And you Z there?", "Oh my, ZZ well"),
]
NEGATIVE = [
    Example("How are you?", "Awful."),
    Example("A much longer prompt than the others", "No, no, no, Z no, never!"),
    Example("Hi, how are you now", "Z"),
]
CONTRAST = contrast_set(POSITIVE, NEGATIVE, name="mood")
WAYS = ("keep", "leave out", "weigh down")


@pytest.fixture(scope="module")
def massive(tmp_path_factory):
    """A model whose residual stream is much longer at the letter Z, from the embedding on."""
    return model_with_outlier(tmp_path_factory.mktemp("massive"), "llama")


def model_with_outlier(folder, family):
    folder = saved_folder(folder / family, family)
    letter = load_model(folder, device="cpu").tokenizer("Z", add_special_tokens=False)["input_ids"][0]
    path = folder / "model.safetensors"
    weights = load_file(path)
    name = next(n for n in weights if n.endswith(("embed_tokens.weight", "wte.weight")) and "position" not in n)
    weights[name][letter] *= 400
    save_file(weights, path, {"format": "pt"})
    return load_model(folder, device="cpu")


def position_weights(loaded, example, way):
    """(ids, {position: weight}, number of outliers) of one example, one position after the other."""
    ids, start = example_ids(loaded.tokenizer, example)
    with torch.no_grad():
        model = copy.deepcopy(loaded.model)  # transformers leaves hooks of its own on it
        states = model(input_ids=torch.tensor([ids]), output_hidden_states=True).hidden_states
    ratio = [0.0] * len(ids)
    for layer in states[1:-1]:  # outputs of all layers but the last, whose output has been through the final norm
        norms = [float(layer[0, position].norm()) for position in range(len(ids))]
        median = sorted(norms)[(len(norms) - 1) // 2]
        ratio = [max(r, norm / median) for r, norm in zip(ratio, norms, strict=True)]
    span = range(start - 1, len(ids) - 1)
    extreme = {position for position in span if ratio[position] > outliers.FACTOR}
    if len(extreme) == len(span):
        extreme = set()
    less = {p: {"keep": 1, "leave out": 0, "weigh down": 1 / ratio[p]}[way] for p in extreme}
    weights = {p: less.get(p, 1) for p in span}
    total = sum(weights.values())
    return ids, {p: weight / total for p, weight in weights.items()}, len(extreme)


def means_one_by_one(loaded, examples, way):
    """Mean input of every site, and the number of outliers, from all activations of one example at a time."""
    totals, count = [torch.zeros(site.n_inputs, dtype=torch.float64) for site in loaded.spec.sites], 0
    for example in examples:
        ids, weights, n = position_weights(loaded, example, way)
        count += n
        for total, rows in zip(totals, inputs_by_hand(loaded, ids), strict=True):
            total += sum(weight * rows[position].double() for position, weight in weights.items()) / len(examples)
    return totals, count


@pytest.mark.parametrize("family", ["llama", "gpt2"])
@pytest.mark.parametrize("way", WAYS)
def test_means_and_counts_equal_a_plain_loop(family, way, massive, tmp_path):
    loaded = massive if family == "llama" else model_with_outlier(tmp_path, family)
    means = capture_means(loaded, CONTRAST, outliers=way)
    n_outliers = 0
    for side, examples in ((means.positive, POSITIVE), (means.negative, NEGATIVE)):
        expected, count = means_one_by_one(loaded, examples, way)
        n_outliers += count
        for mean, row in zip(side, expected, strict=True):
            torch.testing.assert_close(mean.double(), row, rtol=1e-4, atol=1e-5)
    assert (means.n_outliers, means.outliers) == (n_outliers, way)
    assert n_outliers == 4  # that of a prompt is not averaged anyway


def test_a_span_of_nothing_but_outliers_keeps_them_and_other_rows_their_bits():
    weights = torch.tensor([[0.0, 1 / 3, 1 / 3, 1 / 3], [0.0, 0.5, 0.5, 0.0], [0.0, 1 / 3, 1 / 3, 1 / 3]])
    ratios = torch.tensor([[1.0, 9.0, 1.0, 1.0], [1.0, 90.0, 9.0, 1.0], [100.0, 1.0, 5.0, 1.0]])
    left, n_left = outliers.reweigh(weights, ratios, "leave out")
    down, n_down = outliers.reweigh(weights, ratios, "weigh down")
    assert n_left == n_down == 1 and torch.equal(left[1:], weights[1:]) and torch.equal(down[1:], weights[1:])
    torch.testing.assert_close(left[0], torch.tensor([0.0, 0.0, 0.5, 0.5]))
    torch.testing.assert_close(down[0], torch.tensor([0.0, 1.0, 9.0, 9.0]) / 19)


@pytest.mark.parametrize("way", WAYS)
def test_batches_and_padding_change_nothing(massive, monkeypatch, way):
    whole = capture_means(massive, CONTRAST, outliers=way)
    monkeypatch.setattr(capture, "MAX_BATCH_TOKENS", 1)
    single = capture_means(massive, CONTRAST, outliers=way)
    assert whole.n_outliers == single.n_outliers
    for a, b in zip((*whole.positive, *whole.negative), (*single.positive, *single.negative), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)


def test_without_outliers_every_way_gives_the_same_bits_and_runs_the_model_once(llama, monkeypatch):
    runs = []
    handle = llama.model.base_model.register_forward_hook(lambda *_: runs.append(1))
    kept, *others = (extract(llama, CONTRAST, outliers=way) for way in WAYS)
    handle.remove()
    assert len(runs) == len(WAYS)
    for other in others:
        assert other.means.n_outliers == 0 and other.outliers == "keep"
        for field in ("g", "keys", "contributions"):
            ours, theirs = getattr(other.scores, field), getattr(kept.scores, field)
            assert all(torch.equal(a, b) for a, b in zip(ours, theirs, strict=True))


@pytest.mark.parametrize("name", ["safety", "truthfulness", "tone", "reasoning"])
def test_the_bundled_model_has_no_outliers(name):
    assert extract(load_model("bundled"), load_behavior(name).contrast).means.n_outliers == 0


def test_no_hook_stays_on_the_model(massive):
    capture_means(massive, CONTRAST)
    assert not any(m._forward_pre_hooks or m._forward_hooks for m in massive.model.modules())


def test_the_sentence_counts_outliers_and_says_what_became_of_them(massive):
    left, down, kept = (capture_means(massive, CONTRAST, outliers=way) for way in ("leave out", "weigh down", "keep"))
    assert outlier_sentence(left) == (
        f"4 of {left.n_tokens} positions have a residual norm of more than 5 times the median of the example and were "
        "left out; the paper keeps them (--outliers keep)."
    )
    assert "4 of" in outlier_sentence(down) and "weighed down" in outlier_sentence(down)
    assert "were kept, as in the paper; --outliers leave-out" in outlier_sentence(kept)
    assert outlier_sentence(capture_inputs(massive, POSITIVE)) == ""


def test_mean_inputs_and_reliability_use_the_same_positions(massive):
    inputs = capture_inputs(massive, POSITIVE, outliers="leave out")
    expected, _ = means_one_by_one(massive, POSITIVE, "leave out")
    for mean, row in zip(inputs.mean, expected, strict=True):
        torch.testing.assert_close(mean.double(), row, rtol=1e-4, atol=1e-5)
    for way in WAYS:
        measured, scores = reliability(massive, CONTRAST, outliers=way), extract(massive, CONTRAST, outliers=way).scores
        for a, b in zip(measured.g, scores.g, strict=True):
            torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-4)


def test_a_command_says_how_many_positions_were_left_out_and_keeps_them_on_request(massive, tmp_path, capsys):
    examples = tmp_path / "mood.jsonl"
    rows = [(example, side) for side, part in (("yes", POSITIVE), ("no", NEGATIVE)) for example in part]
    examples.write_text(
        "".join(json.dumps({"prompt": e.prompt, "response": e.response, "label": side}) + "\n" for e, side in rows)
    )
    command = ["scores", "--model", str(massive.source), "--contrast", str(examples), "--no-cache", "--json"]
    outputs = {}
    for way in ("leave-out", "weigh-down", "keep"):
        assert main([*command, "--outliers", way]) == 0
        outputs[way] = capsys.readouterr()
    for way, fate in (("leave-out", "left out"), ("weigh-down", "weighed down"), ("keep", "kept")):
        assert f"the example and were {fate}" in outputs[way].err
    assert len({output.out for output in outputs.values()}) == 3


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["scores"], OUTLIERS),
        (["scores", "--outliers", "weigh-down"], "weigh down"),
        (["sweep", "--behavior", "tone"], OUTLIERS),
        (["sweep", "--behavior", "tone", "--preset", "paper"], "keep"),
        (["sweep", "--behavior", "tone", "--preset", "paper", "--outliers", "leave-out"], "leave out"),
    ],
)
def test_the_papers_grid_keeps_them_as_the_paper_does(arguments, expected):
    assert chosen_outliers(parse(arguments)) == expected
