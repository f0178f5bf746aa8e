"""Sweeps and searches on the workers of a real ray cluster: the same answers as here, though a worker is killed."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest

from s2e_core import Cancelled, ModelLoadError, S2EError, SettingsError, SweepError, find_edit, sweep
from s2e_core.measure import Plan, RayWorkers, SearchPlan, Trial
from s2e_core.measure import ray as spread_file
from s2e_core.measure.shortlist import count_measurements
from tests.core.chain import MANY, SETTINGS, chain
from tests.core.toy import toy_behavior

ray = pytest.importorskip("ray", reason="ray is optional")
PLAN = Plan(toy_behavior(), seed=31, max_new_tokens=24)
TRIALS = (Trial(), Trial(gamma=0.8), Trial(SETTINGS))
N_SHARES = len(TRIALS) * 7
DAYS = tuple(
    {"prompt": f"How are you on day {n}?", "kind": "length", "split": "development" if n < 6 else "test"}
    for n in range(12)
)
SEARCH = SearchPlan(
    toy_behavior(attribute=DAYS, utility=DAYS, contrast=MANY), floor=0.5, n_trials=5, shortlist=4, seed=31,
    gammas=(0.8,), prompts=4, finalists=2, samples=1, max_new_tokens=12,
)  # fmt: skip
STAGES = ("development", "finals", "test")
N_SCREENED = count_measurements(SEARCH.n_trials, SEARCH.shortlist)
"""Progress before the workers are asked anything."""


@pytest.fixture(scope="module")
def monkeypatch_module():
    with pytest.MonkeyPatch.context() as patch:
        yield patch


@pytest.fixture(scope="module")
def cluster(monkeypatch_module):
    """Two workers' worth of cluster; its sockets need a short path."""
    folder = tempfile.mkdtemp(prefix="s2e", dir="/tmp")
    monkeypatch_module.setenv("RAY_USAGE_STATS_ENABLED", "0")
    monkeypatch_module.setenv("RAY_worker_niceness", "0")  # by default workers wait for all else that runs here
    try:
        ray.init(
            address="local",
            num_cpus=2,
            object_store_memory=100_000_000,
            include_dashboard=False,
            log_to_driver=False,
            _temp_dir=folder,
        )
        yield
    finally:
        ray.shutdown()
        shutil.rmtree(folder, ignore_errors=True)
    deadline = time.monotonic() + 20
    while worker_processes() and time.monotonic() < deadline:
        time.sleep(0.1)
    assert worker_processes() == {}


@pytest.fixture(scope="module")
def made(llama):
    return chain(llama)


@pytest.fixture(scope="module")
def expected(llama, made):
    return texts(sweep(llama, made.extraction, PLAN, TRIALS))


def run(loaded, made, plan=PLAN, workers=2, **options):
    with RayWorkers(loaded, n_workers=workers) as asker:
        return sweep(loaded, made.extraction, plan, TRIALS, asker=asker, **options)


def search(loaded, made, path, workers=2, **options):
    with RayWorkers(loaded, n_workers=workers) as asker:
        return find_edit(loaded, made.extraction, SEARCH, path=path, asker=asker, **options)


@pytest.fixture(scope="module")
def searched(llama, made, tmp_path_factory):
    """(what the search finds in one process, its folder)."""
    folder = tmp_path_factory.mktemp("search")
    return find_edit(llama, made.extraction, SEARCH, path=folder), folder


def choices(found):
    return [trial and trial.label for trial in (found.edit, found.steering)]


def assert_same_search(found, folder, searched):
    expected, here = searched
    assert choices(found) == choices(expected) and all(choices(expected))
    for ours, theirs in (
        (found.development, expected.development), (found.finals, expected.finals), (found.held_out, expected.held_out)
    ):  # fmt: skip
        assert [o.trial.label for o in ours.outcomes] == [o.trial.label for o in theirs.outcomes]
        assert texts(ours) == texts(theirs)
    for stage in STAGES:
        assert answer_lines(folder / f"{stage}.jsonl") == answer_lines(here / f"{stage}.jsonl")


def kill_a_worker():
    """Ends one worker, a busy one if there is one; returns its process id."""
    workers = worker_processes()
    busy = [number for number, title in workers.items() if "answer" in title]
    victim = [*busy, *workers][0]  # on a loaded machine all may have finished: one dies before its next portion
    os.kill(victim, signal.SIGKILL)
    return victim


def texts(swept):
    return [[answer.text for answer in outcome.answers] for outcome in swept.outcomes]


def answer_lines(path):
    return sorted(line for line in path.read_text("utf-8").split("\n") if line.startswith('{"t":'))


def worker_processes():
    """{process id: what it does} of our workers on this machine: ray writes both into the title."""
    found = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            title = (folder / "cmdline").read_bytes().decode(errors="replace").strip("\0")
        except OSError:  # ended meanwhile
            continue
        if title.startswith("ray::_Worker"):
            found[int(folder.name)] = title
    return found


def test_a_killed_workers_share_is_answered_by_another_and_all_is_as_in_one_process(
    cluster, llama, made, expected, tmp_path
):
    path, killed, seen = tmp_path / "sweep.jsonl", [], []

    def progress(done, total):
        seen.append((done, total))
        if done and not killed:
            killed.append(kill_a_worker())

    swept = run(llama, made, path=path, progress=progress)
    assert killed
    assert not set(killed) & set(worker_processes())
    assert texts(swept) == expected
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)
    assert seen[0] == (0, N_SHARES)
    assert seen[-1] == (N_SHARES, N_SHARES)
    here = tmp_path / "here.jsonl"
    sweep(llama, made.extraction, PLAN, TRIALS, path=here)
    assert answer_lines(path) == answer_lines(here)  # nothing is written twice


def test_a_stop_leaves_a_file_that_one_machine_can_finish(cluster, llama, made, expected, tmp_path):
    path, stop = tmp_path / "sweep.jsonl", threading.Event()

    def progress(done, total):
        if done:
            stop.set()

    with pytest.raises(Cancelled):
        run(llama, made, path=path, workers=1, progress=progress, stop=stop)
    assert 0 < len(answer_lines(path)) < N_SHARES
    swept = sweep(llama, made.extraction, PLAN, TRIALS, path=path)
    assert texts(swept) == expected
    assert len(answer_lines(path)) == N_SHARES
    again = run(llama, made, path=path)  # nothing is left to ask: no worker starts
    assert texts(again) == expected


def test_a_search_with_killed_workers_finds_what_one_process_finds(cluster, llama, made, searched, tmp_path):
    killed, shown = [], []

    def progress(done, total):
        shown.append((done, total))
        if done > N_SCREENED and (not killed or (len(killed) == 1 and (tmp_path / "finals.jsonl").exists())):
            killed.append(kill_a_worker())

    found = search(llama, made, tmp_path, progress=progress)
    assert len(set(killed)) == 2, "one in the first stage, one later"
    assert not set(killed) & set(worker_processes())
    assert_same_search(found, tmp_path, searched)
    assert shown == sorted(shown) and len({total for _, total in shown}) == 1 and shown[-1][0] == shown[-1][1]


def test_a_search_that_was_stopped_on_workers_is_finished_in_one_process(cluster, llama, made, searched, tmp_path):
    stop = threading.Event()

    def progress(done, total):
        if done > N_SCREENED + 10:  # among the development prompts
            stop.set()

    with pytest.raises(Cancelled):
        search(llama, made, tmp_path, workers=1, progress=progress, stop=stop)
    assert not (tmp_path / "test.jsonl").exists()
    assert_same_search(find_edit(llama, made.extraction, SEARCH, path=tmp_path), tmp_path, searched)


def test_the_workers_of_a_search_load_the_model_once_for_all_stages(cluster, llama, made, searched, tmp_path):
    before, seen = set(worker_processes()), set()  # one of the test before may still be on its way out
    search(llama, made, tmp_path, progress=lambda *_: seen.update(worker_processes()))
    assert seen and len(seen - before) <= 2


def test_a_sentence_of_a_worker_arrives_as_it_was_said(cluster, llama, made, tmp_path):
    moved = replace(llama, source=shutil.copytree(llama.source, tmp_path / "model"))
    (moved.source / "model.safetensors").unlink()
    with pytest.raises(ModelLoadError, match="^model has no safetensors weights") as error:
        run(moved, made, workers=1)
    assert type(error.value) is ModelLoadError


def test_more_workers_than_the_cluster_has_cores_are_refused(cluster, llama, made):
    with pytest.raises(SettingsError, match="has 2 CPUs for 3 workers"):
        run(llama, made, workers=3)
    with pytest.raises(SettingsError, match="at least one"):
        run(llama, made, workers=0)


def test_other_weights_under_the_same_name_are_refused(llama):
    copy = replace(spread_file._Copy.of(llama), fingerprint="0" * 64)
    with pytest.raises(SweepError, match="other weights"):
        copy.load()
    assert spread_file._Copy.of(llama).load().fingerprint == llama.fingerprint


def test_without_ray_a_sentence_says_what_to_install(llama, made, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(S2EError, match="pip install ray"):
        run(llama, made)


def test_the_core_does_not_import_ray():
    program = "import sys, s2e_core, s2e_core.measure.ray; assert 'ray' not in sys.modules"
    root = Path(__file__).parents[3]
    done = subprocess.run([sys.executable, "-c", program], cwd=root, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
