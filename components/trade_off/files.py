"""The files of a measurement: figures as CSV, all answers as JSONL, and the report.

Knows labs and the work folder; no page. Every file lies in a folder of its own below the server's file cache, and
nothing a visitor typed becomes part of a path.
"""

from __future__ import annotations

import shutil
import tempfile
import zipfile
from pathlib import Path

from components.shared.session import Session
from components.shared.store import ModelStore
from s2e_core import SweepError

from .figure import leave_one_out_figure, progressive_figure
from .lab import Bench, Lab
from .measured import Measured
from .report import now, report_html
from .rows import csv_text


def csv_file(store: ModelStore, bench: Bench, session: Session) -> Path:
    """One line per trial."""
    lab, measured = _measured(bench, session)
    path = _new(store, lab, ".csv")
    path.write_text(csv_text(measured), encoding="utf-8")
    return path


def sweep_download(store: ModelStore, bench: Bench, session: Session) -> Path:
    """The file of a sweep, or the files of a search in one archive; they can be loaded and gone on with."""
    lab, _ = _measured(bench, session)
    files = sorted(lab.folder.glob("*.jsonl"))
    if not files:
        raise SweepError("The file of this sweep has been cleaned up since. Run it again.")
    if len(files) == 1:
        return Path(shutil.copyfile(files[0], _new(store, lab, ".jsonl")))
    path = _new(store, lab, ".zip")
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in files:
            archive.write(file, f"{path.stem}/{file.name}")
    return path


def report_file(store: ModelStore, bench: Bench, session: Session) -> Path:
    """One HTML page with all plots of this model and behaviour."""
    lab, measured = _measured(bench, session)
    more = []
    curve, bars = bench.of(session, "progressive"), bench.of(session, "leave-one-out")
    if curve is not None and curve.measured is not None:
        more.append(progressive_figure(curve.measured))
    if bars is not None and bars.measured is not None:
        more.append(leave_one_out_figure(bars.measured))
    path = _new(store, lab, ".html")
    path.write_text(report_html(measured, made=now(), more=more), encoding="utf-8")
    return path


def _measured(bench: Bench, session: Session) -> tuple[Lab, Measured]:
    lab = bench.of(session)
    if lab is None or lab.measured is None or not lab.measured.points:
        raise SweepError("Nothing has been measured here yet. Find a good edit or sweep a grid first.")
    return lab, lab.measured


def _new(store: ModelStore, lab: Lab, ending: str) -> Path:
    store.work.mkdir(parents=True, exist_ok=True)
    return Path(tempfile.mkdtemp(dir=store.work)) / f"steer2edit-{lab.place.behavior}-trade-off{ending}"
