"""Reading contrast sets: the formats people have, and a sentence for everything that cannot be used."""

import json
from pathlib import Path

import pytest

from s2e_core import ContrastDataError, Example, load_contrast_set, swapped
from s2e_core.data import contrast_set, parse_contrast_set

LABELLED = [
    {"prompt": "How are you?", "response": "Great!", "label": "positive"},
    {"prompt": "How are you?", "response": "Awful.", "label": "negative"},
]


def written(folder: Path, name: str, content: str | bytes) -> Path:
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def sides(path: Path) -> tuple[list[str], list[str]]:
    contrast = load_contrast_set(path)
    return [e.response for e in contrast.positive], [e.response for e in contrast.negative]


def test_labelled_jsonl_is_read(tmp_path):
    path = written(tmp_path, "mood.jsonl", "\n".join(json.dumps(row) for row in LABELLED) + "\n\n")
    assert sides(path) == (["Great!"], ["Awful."])
    assert load_contrast_set(path).name == "mood"


@pytest.mark.parametrize("labels", [("1", "0"), (1, 0), (True, False), ("TRUE", "FALSE"), ("Positive", "negative ")])
def test_labels_are_understood_in_the_forms_people_write(tmp_path, labels):
    rows = [row | {"label": label} for row, label in zip(LABELLED, labels, strict=True)]
    assert sides(written(tmp_path, "a.jsonl", "\n".join(map(json.dumps, rows)))) == (["Great!"], ["Awful."])


def test_a_row_with_both_sides_gives_one_example_to_each(tmp_path):
    rows = [{"prompt": "How are you?", "positive": "Great!", "negative": "Awful."}]
    assert sides(written(tmp_path, "a.json", json.dumps(rows))) == (["Great!"], ["Awful."])


def test_csv_with_byte_order_mark_crlf_quoted_commas_and_an_index_column_is_read(tmp_path):
    text = '\ufeff,prompt,response,label\r\n0,"Hi, you","Great, thanks",positive\r\n1,Hi,Awful.,negative\r\n'
    contrast = load_contrast_set(written(tmp_path, "a.csv", text))
    assert contrast.positive[0].prompt == "Hi, you"
    assert contrast.positive[0].response == "Great, thanks"


def test_a_line_separator_inside_a_string_does_not_split_a_jsonl_row(tmp_path):
    rows = [LABELLED[0] | {"response": "one\u2028two"}, LABELLED[1]]
    text = "\n".join(json.dumps(row, ensure_ascii=False) for row in rows)
    assert sides(written(tmp_path, "a.jsonl", text))[0] == ["one\u2028two"]


def test_empty_responses_are_skipped_and_reported():
    contrast = contrast_set([Example("a", "b"), Example("a", "  ")], [Example("a", "c")], name="x")
    assert len(contrast.positive) == 1
    assert any("1 positive" in note and "empty" in note for note in contrast.notes)


def test_a_side_left_without_examples_is_an_error():
    with pytest.raises(ContrastDataError, match="negative side of x"):
        contrast_set([Example("a", "b")], [Example("a", "")], name="x")


def test_examples_on_both_sides_are_reported():
    same = Example("a", "b")
    assert any("both sides" in note for note in contrast_set([same], [same], name="x").notes)


def test_the_hash_follows_the_content_and_not_the_name():
    one, other = [Example("a", "b")], [Example("a", "c")]
    first = contrast_set(one, other, name="x")
    assert first.content_hash == contrast_set(one, other, name="y").content_hash
    assert first.content_hash != swapped(first).content_hash
    assert swapped(swapped(first)).content_hash == first.content_hash


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.jsonl", "{not json", "Line 1 is not valid JSON"),
        ("a.jsonl", '["a list"]\n["another"]', "Row 1 is a list, not an object"),
        ("a.jsonl", '{"prompt": "a", "response": "b"}', "columns prompt, response"),
        ("a.jsonl", '{"prompt": "a", "response": "b", "label": "maybe"}', 'label "maybe"'),
        ("a.jsonl", '{"prompt": "a", "response": {"a": 1}, "label": 1}', "contains dict"),
        ("a.jsonl", "", "has no example"),
        ("a.json", '{"a": 1}', "no list of rows"),
        ("a.csv", "x,y\n1,2\n", "columns x, y"),
        ("a.csv", b"\xff\xfa\x00bad", "UTF-8"),
        ("a.xlsx", "anything", "program cannot read"),
    ],
)
def test_bad_files_get_a_sentence_that_says_what_was_expected(tmp_path, name, content, said):
    with pytest.raises(ContrastDataError, match=said) as error:
        load_contrast_set(written(tmp_path, name, content))
    assert "xpected" in str(error.value)


def test_half_a_character_pair_and_an_endless_number_get_a_sentence():
    with pytest.raises(ContrastDataError, match="broken Unicode character"):
        contrast_set([Example("\ud800", "b")], [Example("a", "c")], name="x")
    with pytest.raises(ContrastDataError, match="not valid JSON"):
        parse_contrast_set('{"label": ' + "1" * 5000 + "}", name="x", suffix=".jsonl")


def test_a_missing_file_is_named_without_its_folder(tmp_path):
    with pytest.raises(ContrastDataError, match="gone.jsonl does not exist") as error:
        load_contrast_set(tmp_path / "gone.jsonl")
    assert str(tmp_path) not in str(error.value)


def test_typed_text_is_parsed_like_a_file():
    text = "\n".join(json.dumps(row) for row in LABELLED)
    assert parse_contrast_set(text, name="typed", suffix=".jsonl").positive[0].response == "Great!"
