"""The package as pip installs it: the command works from any folder, with the bundled data and without the page."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
PAGE = {"gradio", "plotly", "pandas"}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The built package. It is built from a copy, so that the checkout stays as it is."""
    folder = tmp_path_factory.mktemp("wheel")
    tracked = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True).stdout.split(b"\0")
    for name in filter(None, (path.decode() for path in tracked)):
        copy = folder / "source" / name
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes((ROOT / name).read_bytes())
    command = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "--no-index", "-q", "-w"]
    subprocess.run([*command, str(folder), str(folder / "source")], check=True, timeout=300)
    (built,) = folder.glob("*.whl")
    return built


def test_the_package_contains_the_core_its_data_and_the_licence_alone(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    assert {name.split("/")[0] for name in names if ".dist-info/" not in name} == {"s2e_core"}
    for part in ("demo_model/model.safetensors", "demo_model/tokenizer.json", "behaviors/safety/behavior.json"):
        assert f"s2e_core/_assets/{part}" in names
    assert any(name.endswith("LICENSE") for name in names)
    assert not [name for name in names if "/recipe/" in name or name.endswith((".css", ".js", ".svg", ".png"))]
    modules = {str(path.relative_to(ROOT)) for path in (ROOT / "s2e_core").rglob("*.py")}
    assert modules <= set(names)


def test_the_installed_command_works_in_any_folder_without_the_page(wheel: Path, tmp_path: Path) -> None:
    place = tmp_path / "installed"
    command = [sys.executable, "-m", "pip", "install", "--no-deps", "--no-index", "-q", "--target", str(place)]
    subprocess.run([*command, str(wheel)], check=True, timeout=300)
    blocked = tmp_path / "blocked"  # found first, so that the page's libraries cannot be imported
    for name in PAGE:
        (blocked / name).mkdir(parents=True)
        (blocked / name / "__init__.py").write_text("raise ImportError('the core needs no page library')")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join((str(blocked), str(place)))}
    for arguments in (("info",), ("edit", "--behavior", "safety", "-o", "safer.safetensors")):
        program = [sys.executable, str(place / "bin" / "steer2edit"), *arguments]
        done = subprocess.run(program, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stderr
    assert (tmp_path / "safer.safetensors").is_file()


def test_the_core_needs_what_the_requirements_pin_but_for_the_page() -> None:
    lines = (ROOT / "requirements.txt").read_text(encoding="utf-8").splitlines()
    pinned = {line.split("#")[0].strip() for line in lines} - {""}
    assert set(PROJECT["project"]["dependencies"]) == {p for p in pinned if p.split("==")[0] not in PAGE}


def test_every_package_of_the_core_is_installed() -> None:
    folders = {path.parent.relative_to(ROOT) for path in (ROOT / "s2e_core").rglob("__init__.py")}
    listed = set(PROJECT["tool"]["setuptools"]["packages"]) - {"s2e_core._assets"}
    assert listed == {".".join(folder.parts) for folder in folders}
