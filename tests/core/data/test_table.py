"""Files as tables: encodings, separators and JSON shapes as they occur in the wild, and the limits."""

import json

import pytest

from s2e_core import ContrastDataError
from s2e_core.data import read_table
from s2e_core.data import table as data_file
from s2e_core.data.table import parse_table

CSV = "prompt,response,label\nHi,Grüße 👋,positive\nHo,Nein,negative\n"


def cells(table):
    return [dict(row.cells) for row in table.rows]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
@pytest.mark.parametrize("line_end", ["\n", "\r\n", "\r"])
def test_every_encoding_with_a_byte_order_mark_gives_the_same_table(tmp_path, encoding, line_end):
    path = tmp_path / "a.csv"
    path.write_bytes(CSV.replace("\n", line_end).encode(encoding))
    assert cells(read_table(path)) == cells(parse_table(CSV, name="a", suffix=".csv"))


def test_both_byte_orders_of_utf_16_are_read(tmp_path):
    for mark, encoding in ((b"\xff\xfe", "utf-16-le"), (b"\xfe\xff", "utf-16-be")):
        (tmp_path / "a.csv").write_bytes(mark + CSV.encode(encoding))
        assert cells(read_table(tmp_path / "a.csv"))[0]["response"] == "Grüße 👋"


@pytest.mark.parametrize("content", [CSV.encode("cp1252", "replace"), CSV.encode("utf-16-le"), b"\x00\x01\x02"])
def test_a_file_in_an_unmarked_encoding_gets_a_sentence(tmp_path, content):
    (tmp_path / "a.csv").write_bytes(content)
    with pytest.raises(ContrastDataError, match="UTF-8.*xpected"):
        read_table(tmp_path / "a.csv")


@pytest.mark.parametrize(
    ("separator", "suffix", "said"),
    [(",", ".csv", "commas"), (";", ".csv", "semicolons"), ("\t", ".csv", "tabs"), ("|", ".csv", "bars"),
     ("\t", ".tsv", "tabs")],
)  # fmt: skip
def test_the_separator_is_found_and_said(separator, suffix, said):
    text = f'id{separator}prompt{separator}response\n1{separator}"a{separator}b, c; d"{separator}e, f; g\n'
    if separator == "," or separator == ";":
        text = text.replace("e, f; g", '"e, f; g"')
    table = parse_table(text, name="a", suffix=suffix)
    assert cells(table) == [{"id": "1", "prompt": f"a{separator}b, c; d", "response": "e, f; g"}]
    assert said in table.format


def test_a_line_that_names_the_separator_is_heeded():
    assert cells(parse_table("sep=;\r\na;b\r\n1,5;2\r\n", name="a", suffix=".csv")) == [{"a": "1,5", "b": "2"}]


def test_line_ends_and_quotes_within_quoted_cells_are_kept():
    text = 'prompt,response\r\n"He said ""hi""","one\r\ntwo"\r\n'
    expected = [{"prompt": 'He said "hi"', "response": "one\r\ntwo"}]
    assert cells(parse_table(text, name="a", suffix=".csv")) == expected


def test_names_of_columns_are_one_line_in_lower_case():
    text = '" Correct\nAnswers ",Incorrect  answers\nYes.,No.\n'
    assert parse_table(text, name="a", suffix=".csv").columns() == ("correct answers", "incorrect answers")


def test_an_unnamed_index_column_and_empty_cells_at_the_end_are_dropped():
    text = ",prompt,response\n0,a,b,,\n1,c\n"
    expected = [{"prompt": "a", "response": "b"}, {"prompt": "c", "response": ""}]
    assert cells(parse_table(text, name="a", suffix=".csv")) == expected


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("prompt,response\na,b, and c\n", "Row 2 has 3 cells and the header 2"),
        ("prompt,Prompt\na,b\n", 'Two columns are named "prompt"'),
        ('prompt,response\n"a,b\n', "malformed"),
    ],
)
def test_a_malformed_table_gets_a_sentence(text, said):
    with pytest.raises(ContrastDataError, match=said) as error:
        parse_table(text, name="a", suffix=".csv")
    assert "xpected" in str(error.value)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (["a", "b"], [{"text": "a"}, {"text": "b"}]),
        ([{"Prompt ": "a"}], [{"prompt": "a"}]),
        ({"data": [{"prompt": "a"}], "version": 1}, [{"prompt": "a"}]),
        ({"question": ["a", "b"], "answer": ["c", "d"]},
         [{"question": "a", "answer": "c"}, {"question": "b", "answer": "d"}]),
    ],
)  # fmt: skip
def test_json_lists_of_rows_of_texts_and_of_columns_are_read(value, expected):
    assert cells(parse_table(json.dumps(value), name="a", suffix=".json")) == expected


def test_two_json_lists_keep_their_names():
    table = parse_table('{"Happy": ["a"], "sad": [{"prompt": "b"}, {"prompt": "c"}]}', name="a", suffix=".json")
    assert table.sources == ("happy", "sad")
    assert [(row.source, row.number) for row in table.rows] == [("happy", 1), ("sad", 1), ("sad", 2)]


def test_json_lines_in_a_json_file_are_read_and_said():
    table = parse_table('{"prompt": "a"}\n{"prompt": "b"}\n', name="a", suffix=".json")
    assert len(table.rows) == 2 and "one object per line" in table.notes[0]


def test_a_json_list_in_a_file_of_json_lines_is_read_and_said():
    for text in (json.dumps(ROWS), json.dumps(ROWS, indent=1), "\ufeff\n" + json.dumps(ROWS)):
        table = parse_table(text, name="a", suffix=".jsonl")
        assert cells(table) == ROWS and "contains one list" in table.notes[0]
    with pytest.raises(ContrastDataError, match="Row 1 is a list"):
        parse_table('["a", "b"]\n["c", "d"]\n', name="a", suffix=".jsonl")


def test_three_json_lists_are_not_two():
    with pytest.raises(ContrastDataError, match="lists a, b, c, not two"):
        parse_table('{"a": [], "b": ["x"], "c": []}', name="a", suffix=".json")


def test_a_text_file_is_one_text_per_line():
    table = parse_table("\ufefffirst, with; signs\r\n\r\n  second\n", name="a", suffix=".txt")
    assert [(row.number, row.cells["text"]) for row in table.rows] == [(1, "first, with; signs"), (3, "second")]


def test_what_is_too_large_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(data_file, "MAX_BYTES", 2_000_000)
    path = tmp_path / "a.json"
    path.write_bytes(b"x" * 2_000_001)
    with pytest.raises(ContrastDataError, match="a.json is larger than 2 MB"):
        read_table(path)
    for wide in ([{str(i): "x" for i in range(500)}], [{str(i): "x"} for i in range(500)]):
        with pytest.raises(ContrastDataError, match="more than 200 different columns"):
            parse_table(json.dumps(wide), name="a", suffix=".json")


def test_a_folder_and_an_endlessly_nested_file_get_a_sentence(tmp_path):
    with pytest.raises(ContrastDataError, match="could not be read"):
        read_table(tmp_path)
    with pytest.raises(ContrastDataError, match="not valid JSON"):
        parse_table("[" * 100_000, name="a", suffix=".json")


ROWS = [{"prompt": "a", "response": "b", "label": 1}, {"prompt": "c", "response": "d", "label": 0}]


@pytest.mark.parametrize(
    "value",
    [
        {"meta": {"version": 1}, "data": {"rows": ROWS}},
        {"data": {"examples": {"train": ROWS}}},
        {"0": ROWS[0], "1": ROWS[1]},  # pandas: orient="index"
        {name: {str(i): row[name] for i, row in enumerate(ROWS)} for name in ROWS[0]},  # pandas, as it does by itself
        {"features": [{"name": "prompt"}], "rows": [{"row_idx": i, "row": row} for i, row in enumerate(ROWS)]},
    ],
)
def test_rows_that_stand_deeper_in_a_json_file_are_found(value):
    assert cells(parse_table(json.dumps(value), name="a", suffix=".json")) == ROWS


def test_the_parts_of_a_data_set_are_one_table_and_no_sides():
    value = {"train": ROWS, "test": ROWS[:1]}
    table = parse_table(json.dumps(value), name="a", suffix=".json")
    assert cells(table) == [*ROWS, ROWS[0]] and not table.sources
    assert table.notes == ("The lists train and test are parts of one data set and were read as one table.",)


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ({"meta": {"a": 1}, "model": "x"}, "an object with the entries meta, model, and no list of rows"),
        ({}, "an object without entries"),
        ({"a": {"x": [1]}, "b": {"y": [2]}}, "an object with the entries a, b, and no list of rows"),
        ("text", "a text, and no list of rows"),
        ([["a", "b"]], "Row 1 is a list, not an object with named columns"),
        ({"columns": ["prompt"], "index": [0], "data": [["a"]]}, "Row 1 is a text|lists columns, index, data"),
    ],
)
def test_json_without_rows_names_what_it_holds_and_what_was_expected(value, said):
    with pytest.raises(ContrastDataError, match=f"{said}.*Expected JSONL or CSV"):
        parse_table(json.dumps(value), name="a", suffix=".json")


def test_json_that_nests_without_end_gets_a_sentence():
    value = {"a": 1}
    for _ in range(400):
        value = {"a": value}
    with pytest.raises(ContrastDataError, match="no list of rows"):
        parse_table(json.dumps(value), name="a", suffix=".json")


def test_quotes_in_a_table_of_tabs_may_be_ordinary_characters():
    text = 'prompt\tresponse\n"Well", he said\tab"c\n"open\tr\n'
    table = parse_table(text, name="a", suffix=".tsv")
    assert cells(table) == [{"prompt": '"Well", he said', "response": 'ab"c'}, {"prompt": '"open', "response": "r"}]
    assert table.notes == ("The quotes in this table do not enclose cells and were read as ordinary characters.",)
    assert cells(parse_table('prompt\tresponse\n"a\tb"\tc\n', name="a", suffix=".tsv"))[0]["prompt"] == "a\tb"


def test_a_quote_out_of_place_names_its_line():
    with pytest.raises(ContrastDataError, match="malformed at line 3 .*Double every quote inside a quoted cell"):
        parse_table('prompt,response\na,b\n"c" d,e\n', name="a", suffix=".csv")
