"""The file that grows while work goes on: what another process sees of it, and that two runs never write into one."""

import subprocess
import sys
from pathlib import Path

import pytest

from s2e_core import SweepError
from s2e_core.files import Kind, growing_file, read_lines

ROOT = Path(__file__).parents[3]
KIND = Kind("a test", "the file of a test", "another test: its number", SweepError)
HOLD = """
import sys
from pathlib import Path
from tests.core.files.test_growing_file import KIND, growing_file

with growing_file(Path(sys.argv[1]), {"number": 1}, KIND) as file:
    file.add([{"line": 1}])
    print("open", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def path(tmp_path):
    return tmp_path / "grows.jsonl"


def grown(path, *lines, number=1):
    """What was there, after these lines were added."""
    with growing_file(path, {"number": number}, KIND) as file:
        file.add(lines)
        return file.lines


def test_lines_stay_and_are_there_the_next_time(path):
    assert grown(path, {"line": 1}, {"line": "é\u2028"}) == []
    assert grown(path, {"line": 3}) == [{"line": 1}, {"line": "é\u2028"}]
    first = {"format": "a test", "number": 1}
    assert read_lines(path, KIND) == [first, {"line": 1}, {"line": "é\u2028"}, {"line": 3}]


@pytest.mark.parametrize("cut", range(1, 12))
def test_a_line_that_was_left_half_written_is_dropped(path, cut):
    grown(path, {"line": 1})
    whole = path.read_bytes()
    grown(path, {"line": 2})
    path.write_bytes(path.read_bytes()[:-cut])
    assert read_lines(path, KIND)[1:] == [{"line": 1}]
    grown(path)
    assert path.read_bytes() == whole


def test_a_file_that_another_process_writes_to_is_read_and_not_written(path):
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, path], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert holder.stdout.readline() == "open\n"
    content = path.read_bytes()
    with pytest.raises(SweepError, match="Another run is writing to grows.jsonl. Wait"):
        grown(path, {"line": 2})
    assert path.read_bytes() == content
    assert read_lines(path, KIND)[1:] == [{"line": 1}]
    holder.kill()
    holder.communicate()
    assert grown(path, {"line": 2}) == [{"line": 1}]


def test_a_run_in_the_same_process_is_another_run(path):
    with growing_file(path, {"number": 1}, KIND), pytest.raises(SweepError, match="Another run"):
        grown(path)
    assert grown(path) == []


def test_what_another_run_or_program_wrote_is_left_alone(path):
    grown(path, {"line": 1})
    content = path.read_bytes()
    with pytest.raises(SweepError, match="another test: its number differ"):
        grown(path, number=2)
    assert path.read_bytes() == content
    for other in (b"my notes", b"my notes\n", b'{"format": "a tesT", "number": 1}\n', b"\xff\xfe"):
        path.write_bytes(other)
        with pytest.raises(SweepError, match="grows.jsonl is not the file of a test"):
            grown(path)
        assert path.read_bytes() == other


def test_a_folder_or_a_damaged_file_is_refused_with_a_sentence(path, tmp_path):
    with pytest.raises(SweepError, match="cannot be written"):
        grown(tmp_path)
    with pytest.raises(SweepError, match="cannot be read"):
        read_lines(tmp_path, KIND)
    grown(path)
    path.write_bytes(path.read_bytes() + b"no JSON\n")
    with pytest.raises(SweepError, match="damaged"):
        grown(path)
