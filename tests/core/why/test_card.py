"""The card of one component: the same figures as its parts, complete for every kind of model, and plain JSON."""

from __future__ import annotations

import json

import pytest

from s2e_core import EditSettings, Example, build_edit, extract
from s2e_core.errors import Cancelled
from s2e_core.spec import Component
from s2e_core.why import HOWS, METRICS, make_card, open_study
from tests.core.chain import MANY
from tests.families import in_memory, tiny_model

TEXT = Example("How are you?", "Great, thank you!")


@pytest.fixture(scope="module", params=["llama", "gpt2", "mixtral", "jetmoe", "bloom", "falcon"])
def study(request):
    loaded = in_memory(tiny_model(request.param, vocab_size=320))
    return open_study(loaded, MANY, extract(loaded, MANY))


def cards(study):
    edit = build_edit(study.extraction, EditSettings(0.3, 0.3, 0.2))
    sites = [study.loaded.spec.of_kind(kind)[1] for kind in ("heads", "neurons")]
    for index in sites:
        component = Component(index, int(edit.strength[index].abs().argmax()))
        yield component, edit, make_card(study, component, edit, TEXT, others={"same": edit})


def test_a_card_has_every_part_or_a_sentence(study):
    for component, _, card in cards(study):
        index, n = component
        scores, step = study.extraction.scores, card.arithmetic
        assert step.g == pytest.approx(step.contribution / step.output_length, abs=1e-4)
        assert step.g == float(scores.g[index][n])
        assert step.strength == pytest.approx(
            (abs(step.g) - step.threshold) * step.gain * (1 if step.g > 0 else -1), abs=1e-4
        )
        assert card.luck.low <= step.g <= card.luck.high and 1 <= card.luck.rank <= card.luck.count
        assert [effect.how for effect in card.effects] == list(HOWS)
        assert card.touched_by == {"same": step.strength}
        assert len(card.relatives) == 8 and len(card.unrelated) == 3
        family, is_head = study.loaded.spec.model_type, card.kind == "head"
        if is_head and family not in ("falcon", "jetmoe"):
            assert set(card.head_kind) == set(METRICS) and len(card.attention.tokens) == len(card.activations.tokens)
        else:
            assert card.attention is None and card.head_kind == {}
        assert all((reading.jacobian is None) == (family == "bloom") for reading in card.readings)
        assert bool(card.missing) == (family in ("falcon", "bloom", "jetmoe"))
        assert all(sentence.endswith(".") for sentence in card.missing)


def test_a_card_is_plain_json(study):
    for component, _, card in cards(study):
        record = json.loads(json.dumps(card.to_json(), allow_nan=False))
        assert record["component"] == {"site": component.site, "index": component.index}
        assert len(record["examples"]["deciles"]) == 10 and sum(record["examples"]["positive"]) == 10
        assert record["luck"]["rank"] == card.luck.rank
        assert record["effects"][0]["margin"]["value"] == card.effects[0].margin.value
        assert len(record["activations"]["original"]) == len(record["activations"]["tokens"])


def test_a_stop_reaches_the_study(llama):
    def stop(done, total):
        raise Cancelled("Stopped.")

    with pytest.raises(Cancelled):
        open_study(llama, MANY, extract(llama, MANY), progress=stop)


def test_progress_never_goes_back(llama):
    seen = []
    open_study(llama, MANY, extract(llama, MANY), progress=lambda done, total: seen.append((done, total)))
    assert seen == sorted(seen) and seen[-1][0] == seen[-1][1]
