"""The bundled behaviours and the sentences for malformed ones."""

import json

import pytest

from s2e_core import BehaviorError, list_behaviors, load_behavior

NAMES = ("safety", "truthfulness", "reasoning", "tone")


def test_the_four_bundled_behaviours_are_listed():
    assert sorted(list_behaviors()) == sorted(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_a_bundled_behaviour_is_complete(name):
    behavior = load_behavior(name)
    assert behavior.name == behavior.contrast.name == name
    assert all((behavior.title, behavior.summary, behavior.lesson, behavior.source, behavior.positive))
    assert min(len(behavior.contrast.positive), len(behavior.contrast.negative)) >= 30
    assert len(behavior.examples) >= 4
    for rows in (behavior.attribute, behavior.utility):
        assert {row["split"] for row in rows} == {"development", "test"}
        assert all(row["prompt"] for row in rows)


@pytest.mark.parametrize("name", ["nothing", "../behaviors/safety", "", "/etc"])
def test_an_unknown_name_or_a_path_is_refused(name):
    with pytest.raises(BehaviorError, match="Known: "):
        load_behavior(name)


def test_a_malformed_description_is_named(tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "behavior.json").write_text("{")
    with pytest.raises(BehaviorError, match="mine/behavior.json"):
        load_behavior("mine", tmp_path)
    (tmp_path / "mine" / "behavior.json").write_text(json.dumps({"order": 1, "settings": {}}))
    (tmp_path / "mine" / "contrast.jsonl").write_text(json.dumps({"positive": "a", "negative": "b"}))
    with pytest.raises(BehaviorError, match="has no entry"):
        load_behavior("mine", tmp_path)
