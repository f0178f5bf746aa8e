"""Tests of exports that fail from outside: a full disk, a killed process, a read-only target, a changing source.

Each gets one message, and nothing incomplete appears under the final name.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from s2e_core import Cancelled, ExportError, export_adapter, export_checkpoint, load_model, save_edit
from s2e_core.files import LEFTOVER, Meter, copy_file, copying, stage_folder
from s2e_core.model import LoadedModel
from tests.core.edits import FP32, files_of, folder_of, random_edit

ROOT = Path(__file__).parents[3]
PATIENCE_SECONDS = 60.0


@pytest.fixture
def sharded_model(tmp_path: Path) -> LoadedModel:
    return load_model(folder_of(tmp_path / "model", "llama", FP32, sharded=True), device="cpu")


@pytest.fixture
def exports(tmp_path: Path) -> Path:
    """An empty folder to export into."""
    (tmp_path / "exports").mkdir()
    return tmp_path / "exports"


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A separate disk of 4 MB; the test is skipped if this system does not allow one."""
    with mounted(tmp_path / "disk", "size=4m") as disk:
        yield disk


@contextmanager
def mounted(disk: Path, options: str) -> Iterator[Path]:
    disk.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(disk)]
    if not shutil.which("mount") or subprocess.run(command, stderr=subprocess.DEVNULL).returncode:
        pytest.skip("a disk can only be mounted by root, on Linux")
    try:
        yield disk
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def export_refused(export: Callable[..., Path], loaded: LoadedModel, target: Path, **options: object) -> str:
    """The message of an export that fails; it contains no path, and nothing is left beside the target."""
    before = set(target.parent.iterdir())
    with pytest.raises(ExportError) as error:
        export(loaded, random_edit(loaded), target, **options)
    added = set(target.parent.iterdir()) - before
    assert not {path for path in added if path.name != "filler"}
    sentence = str(error.value)
    assert str(target.parent) not in sentence and str(loaded.source) not in sentence and sentence.endswith(".")
    return sentence


# ---- the target -----------------------------------------------------------------------------------------------------


def test_a_disk_that_others_fill_up_meanwhile_is_a_sentence_and_leaves_nothing(llama, small_disk):
    def fill(done: int, total: int) -> None:
        if not (small_disk / "filler").exists():
            (small_disk / "filler").write_bytes(bytes(shutil.disk_usage(small_disk).free - 4096))

    message = export_refused(export_checkpoint, llama, small_disk / "out", progress=fill)
    assert "is full" in message and "make room" in message
    (small_disk / "filler").unlink()
    assert export_checkpoint(llama, random_edit(llama), small_disk / "out").is_dir()


def test_a_disk_that_is_too_small_is_said_before_the_first_byte(llama, small_disk):
    (small_disk / "filler").write_bytes(bytes(shutil.disk_usage(small_disk).free - 4096))
    ticks: list[int] = []
    message = export_refused(
        export_checkpoint, llama, small_disk / "out", progress=lambda done, total: ticks.append(done)
    )
    assert "make room" in message and not ticks


@pytest.mark.parametrize("export", [export_checkpoint, export_adapter])
def test_a_target_that_cannot_be_written_is_a_sentence(llama, tmp_path, export):
    if os.geteuid():
        (tmp_path / "mine").mkdir(mode=0o500)
        message = export_refused(export, llama, tmp_path / "mine" / "out")
    else:  # only a read-only disk refuses root
        with mounted(tmp_path / "disk", "size=4m,ro") as disk:
            message = export_refused(export, llama, disk / "out")
    assert message.startswith("out could not be written") and "may write to" in message


@pytest.mark.parametrize("size", [0, 1, 999, 1000, 1001, 2500])
def test_a_file_is_copied_whole_in_pieces_and_stop_takes_effect_within_a_file(tmp_path, monkeypatch, size):
    monkeypatch.setattr(copying, "PIECE", 1000)
    (tmp_path / "source").write_bytes(os.urandom(size))
    ticks: list[int] = []
    copy_file(tmp_path / "source", tmp_path / "target", Meter(size, lambda done, total: ticks.append(done)))
    assert (tmp_path / "target").read_bytes() == (tmp_path / "source").read_bytes()
    assert ticks == [min(end, size) for end in range(1000, size + 1000, 1000)]

    def stop(done: int, total: int) -> None:
        raise Cancelled("Stopped.")

    if size:
        with pytest.raises(Cancelled):
            copy_file(tmp_path / "source", tmp_path / "second", Meter(size, stop))
        assert (tmp_path / "second").stat().st_size == min(size, 1000)


# ---- killed ---------------------------------------------------------------------------------------------------------

KILLED_IN_THE_MIDDLE = """
import sys, time
from pathlib import Path
from s2e_core import load_edit, load_model
from s2e_core.export.checkpoint import export_checkpoint

source, recipe, target = sys.argv[1:]
loaded = load_model(source, device="cpu")

def wait(done, total):
    if done > total // 3:
        print("in the middle", flush=True)
        time.sleep(600)

export_checkpoint(loaded, load_edit(recipe, base=loaded), target, progress=wait)
"""


@pytest.fixture
def running_export(sharded_model: LoadedModel, exports: Path, tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """An export into exports / "out" in another process, which waits in the middle of its bytes."""
    recipe = save_edit(random_edit(sharded_model), tmp_path / "recipe.safetensors")
    command = [sys.executable, "-c", KILLED_IN_THE_MIDDLE, str(sharded_model.source), str(recipe), str(exports / "out")]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    with subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None and process.stdout.readline() == "in the middle\n"
        yield process
        process.kill()


@pytest.mark.parametrize("ending", [signal.SIGKILL, signal.SIGTERM])
def test_a_killed_export_leaves_no_folder_of_its_name_and_the_next_one_cleans_up(
    running_export, sharded_model, exports, ending
):
    running_export.send_signal(ending)
    running_export.wait(PATIENCE_SECONDS)
    (leftover,) = exports.iterdir()
    assert LEFTOVER.fullmatch(leftover.name) and leftover.name.startswith(".out.") and files_of(leftover)
    edit = random_edit(sharded_model)
    export_checkpoint(sharded_model, edit, exports / "another")
    assert {path.name for path in exports.iterdir()} == {"another"}
    export_checkpoint(sharded_model, edit, exports / "out")
    assert files_of(exports / "out") == files_of(exports / "another")


def test_an_export_that_still_runs_is_not_mistaken_for_a_leftover(running_export, sharded_model, exports):
    (unfinished,) = exports.iterdir()
    before = set(files_of(unfinished))  # by name: the copying thread continues while the other one waits
    export_checkpoint(sharded_model, random_edit(sharded_model), exports / "another")
    assert before and running_export.poll() is None and set(files_of(unfinished)) >= before


def test_only_leftovers_of_exports_are_removed(exports):
    similar = {".git", ".out.12345678.part", "out.0a1b2c3d.unfinished-export", ".out.0a1b2c3d.unfinished-export.txt"}
    for name in (*similar, ".out.0a1b2c3d.unfinished-export", ".young.0a1b2c3d.unfinished-export"):
        (exports / name).mkdir()
    (exports / ".out.0a1b2c3d.unfinished-export" / "model.safetensors").write_bytes(b"half")
    (exports / ".file.0a1b2c3d.unfinished-export").write_bytes(b"not a folder")
    (exports / ".link.0a1b2c3d.unfinished-export").symlink_to(exports / ".git")
    with stage_folder(exports / "out", 0):
        pass
    others = {".young.0a1b2c3d.unfinished-export", ".file.0a1b2c3d.unfinished-export"}
    assert {path.name for path in exports.iterdir()} == similar | others | {".link.0a1b2c3d.unfinished-export", "out"}
    os.utime(exports / ".young.0a1b2c3d.unfinished-export", (0, time.time() - 3600))
    with stage_folder(exports / "again", 0):
        pass
    assert not (exports / ".young.0a1b2c3d.unfinished-export").exists()


# ---- the source -----------------------------------------------------------------------------------------------------


def last_shard(folder: Path) -> Path:
    return sorted(folder.glob("*.safetensors"))[-1]


def first_shard(folder: Path) -> Path:
    return sorted(folder.glob("*.safetensors"))[0]


def flip_a_byte(path: Path) -> None:
    with path.open("r+b") as file:
        file.seek(-1, os.SEEK_END)
        byte = file.read(1)[0]
        file.seek(-1, os.SEEK_END)
        file.write(bytes([byte ^ 1]))


def replace_by_a_copy(path: Path) -> None:
    shutil.copyfile(path, path.with_suffix(".new"))
    path.with_suffix(".new").replace(path)


@pytest.mark.parametrize("dtype", ["stored", "float32"])
@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda folder: last_shard(folder).unlink(), "cannot be read|vanished"),
        (lambda folder: first_shard(folder).unlink(), "vanished|not complete"),
        (lambda folder: os.truncate(last_shard(folder), 5000), "shorter|not complete|was changed"),
        (lambda folder: os.truncate(first_shard(folder), 5000), "shorter|not complete|was changed"),
        (lambda folder: flip_a_byte(last_shard(folder)), "was changed"),
        (lambda folder: flip_a_byte(first_shard(folder)), "was changed"),
        (lambda folder: replace_by_a_copy(first_shard(folder)), "was changed"),
        (lambda folder: (folder / "tokenizer.json").unlink(), r"tokenizer\.json cannot be read"),
        (shutil.rmtree, "cannot be read|vanished"),
    ],
)
def test_a_source_that_goes_or_changes_in_the_middle_is_a_sentence(tmp_path, exports, dtype, spoil, message):
    """The parameters are copied first: those of a loaded fp32 model are mapped from the files that the test spoils."""
    loaded = load_model(folder_of(tmp_path / "model", "llama", FP32, sharded=True), device="cpu")
    for parameter in loaded.model.parameters():
        parameter.data = parameter.data.clone()
    spoiled_at: list[int] = []

    def meanwhile(done: int, total: int) -> None:
        if not spoiled_at and done > total // 4:
            spoiled_at.append(done)
            spoil(loaded.source)

    edit = random_edit(loaded)
    with pytest.raises(ExportError, match=message) as error:
        export_checkpoint(loaded, edit, exports / "out", dtype=dtype, progress=meanwhile)
    assert spoiled_at and not list(exports.iterdir())
    assert str(tmp_path) not in str(error.value) and str(error.value).endswith(".")


def test_an_untouched_source_passes_where_a_changed_one_is_refused(sharded_model, exports):
    export_checkpoint(sharded_model, random_edit(sharded_model), exports / "out", progress=lambda done, total: None)
    assert (exports / "out" / "config.json").is_file()
