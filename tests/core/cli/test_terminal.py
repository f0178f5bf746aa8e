"""Progress on standard error, and the output files of the commands."""

import io
import re
import subprocess
import sys

import pytest

from s2e_core.cli import ProgressLine, main, program_name, terminal
from s2e_core.errors import SettingsError


class Terminal(io.StringIO):
    def isatty(self):
        return True


def count_to(total, line):
    with line as progress:
        for done in range(total + 1):
            progress(done, total)


def test_a_terminal_shows_a_line_that_counts(monkeypatch):
    monkeypatch.setattr(sys, "stderr", Terminal())
    count_to(300, ProgressLine("answers"))
    text = sys.stderr.getvalue()
    assert text.count("\r") == 301 and text.count("\n") == 1 and text.endswith("\ranswers 300/300\n")


def test_a_log_gets_one_line_a_stage_with_total_and_seconds(capsys):
    count_to(3_000_000, ProgressLine("downloading", "MB", 1_000_000))
    text = capsys.readouterr().err
    assert re.fullmatch(r"downloading 3/3 MB in \d+\.\d s\n", text)


def test_a_stage_that_ends_early_says_how_far_it_came(capsys):
    with pytest.raises(KeyboardInterrupt), ProgressLine("answers") as progress:
        progress(2, 40)
        raise KeyboardInterrupt
    assert capsys.readouterr().err.startswith("answers 2/40 in ")


def test_a_stage_that_counts_nothing_shows_nothing(capsys):
    with ProgressLine("downloading"):
        pass
    assert capsys.readouterr().err == ""


def test_a_command_writes_few_lines_to_a_log(tmp_path, capsys):
    assert main(["edit", "--behavior", "tone", "-o", str(tmp_path / "a.safetensors")]) == 0
    text = capsys.readouterr().err
    assert "\r" not in text and len(text.splitlines()) == 1 and text.startswith("extracting ")


def test_output_goes_to_a_file_or_to_standard_output(tmp_path, capsys):
    for path in ("-", str(tmp_path / "a.csv")):
        with terminal.open_output(path) as file:
            file.write("a,b\n")
    assert capsys.readouterr().out == (tmp_path / "a.csv").read_text() == "a,b\n"
    with pytest.raises(SettingsError, match="cannot be written"), terminal.open_output(str(tmp_path)):
        pass


@pytest.mark.parametrize(
    ("first", "name"),
    [("/usr/bin/steer2edit", "steer2edit"), ("s2e_core/__main__.py", "python -m s2e_core")],
)
def test_messages_name_the_program_as_it_was_started(monkeypatch, capsys, first, name):
    monkeypatch.setattr(sys, "argv", [first])
    assert program_name() == name
    assert main(["scores"]) == 2 and capsys.readouterr().err.startswith(f"{name}: No examples were named.")


def test_a_reader_that_has_enough_ends_the_command_without_a_traceback():
    command = [sys.executable, "-m", "s2e_core", "scores", "--behavior", "tone", "--csv", "-"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline().startswith("kind,")
        process.stdout.close()
        assert "Traceback" not in process.stderr.read()
    assert process.returncode == 0
