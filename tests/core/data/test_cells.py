"""Lists and dictionaries written into a cell: what JSON, Python and numpy write, and what is left alone."""

import json
from collections import OrderedDict

import numpy as np
import pytest

from s2e_core.data.cells import LONGEST, read_literal

CHAT = [
    {"role": "user", "content": "It's \"5 o'clock\"?\nReally,\tthen"},
    {"role": "assistant", "content": "[No] {a}: ü"},
]


@pytest.mark.parametrize(
    "value", [CHAT, ["a", "it's"], {"choices": ["a", "b"], "labels": [1, 0]}, [1, -2.5, None, True]]
)
@pytest.mark.parametrize("spelled", [json.dumps, repr])
def test_what_json_and_python_write_is_read(value, spelled):
    assert read_literal(f" {spelled(value)}\n") == value


def test_what_numpy_writes_is_read_with_its_commas_put_in():
    """As pandas puts the lists and chats of a data set into a CSV file."""
    chat = np.array([OrderedDict(turn) for turn in CHAT], dtype=object)
    assert read_literal(str(np.array([dict(turn) for turn in chat], dtype=object))) == CHAT
    assert read_literal(str(np.array(["T1", "it's", 'a "b"'], dtype=object))) == ["T1", "it's", 'a "b"']
    labelled = {"choices": np.array(["yes, sir", "no"], dtype=object), "labels": np.array([1, 0], dtype=np.int32)}
    assert read_literal(str(labelled)) == {"choices": ["yes, sir", "no"], "labels": [1, 0]}
    assert read_literal(str(np.array([1, -1]))) == [1, -1]
    assert read_literal(str(np.array(["word " * 9] * 20, dtype=object))) == ["word " * 9] * 20  # over several lines


@pytest.mark.parametrize(
    "text",
    ["", "plain", "12", '"a"', "[a, b]", "[1 + 1]", "[print(1)]", "[__import__('os')]", "[x for x in [1]]", "['a'",
     "['a]", "{1: }", "{[]: 1}", "[1.5.real]", "[b'a'][0]", "[" * 5000, "[" * 150 + "]" * 150, "{" * 300 + "}" * 300,
     "[" + "-" * 9000 + "1]", "[f'{1}']", "[lambda: 1]", "[" + "1," * LONGEST + "]", "[#]", "[$]"],
)  # fmt: skip
def test_every_other_text_is_none_and_nothing_runs(text):
    value = read_literal(text)
    assert value is None or (text.startswith("[[") and isinstance(value, list))
