"""A file that appears only when it is complete: what stands at its path before, after and in between."""

from pathlib import Path

import pytest

from s2e_core.errors import Cancelled
from s2e_core.files import write_whole


def test_a_file_appears_when_it_is_complete_and_replaces_another(tmp_path: Path) -> None:
    path = tmp_path / "edit"
    path.write_text("before")

    def write(temporary: Path) -> None:
        assert temporary.parent == tmp_path and temporary != path
        temporary.write_text("after")
        assert path.read_text() == "before"

    write_whole(path, write)
    assert path.read_text() == "after" and list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("error", [OSError("full"), Cancelled("Stopped."), KeyboardInterrupt()])
def test_an_error_leaves_the_file_as_it_was_and_nothing_beside_it(tmp_path: Path, error: BaseException) -> None:
    path = tmp_path / "edit"
    path.write_text("before")

    def write(temporary: Path) -> None:
        temporary.write_text("half")
        raise error

    with pytest.raises(type(error)):
        write_whole(path, write)
    assert path.read_text() == "before" and list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("parent", ["missing", "a_file"])
def test_a_folder_that_cannot_take_the_file_is_an_os_error(tmp_path: Path, parent: str) -> None:
    (tmp_path / "a_file").write_text("")
    with pytest.raises(OSError):
        write_whole(tmp_path / parent / "edit", lambda temporary: temporary.write_bytes(b"x"))
