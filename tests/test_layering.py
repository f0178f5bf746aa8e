"""Who may import whom, and that nothing in the core writes to a model: read from the source, not from a run."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import s2e_core

ROOT = Path(__file__).parent.parent
CORE = sorted((ROOT / "s2e_core").glob("*.py"))
COMPONENTS = sorted((ROOT / "components").glob("*.py"))
PAGE_LIBRARIES = {"gradio", "plotly", "pandas", "starlette", "fastapi"}
ROWS = (
    {"types", "spec", "naming", "placement", "site_weight", "settings", "errors"},
    {"directions", "scores", "edit", "settings_json", "estimates", "wording", "refusals", "scoring", "trials"},
    {
        "architecture",
        "site_check",
        "decoder_layer",
        "experts",
        "contrast",
        "behaviors",
        "chat",
        "reading",
        "reading_words",
        "row_examples",
        "data_file",
        "json_rows",
        "literals",
        "choices",
        "columns",
        "labels",
        "turns",
    },
    {"intervene", "cache", "plan", "trade_off", "finalists", "proposals", "stages"},
)
"""Rows of the core from the bottom; every file that is not named stands above them."""
DRAWS_OR_WIRES = ("_panel.py", "_wiring.py")
KNOWS = {
    "gradio": {
        "handlers.py", "heatmap.py", "text_columns.py", "figure_widget.py", "look.py", "page/view.py",
        "trade_off_view.py", "wiring.py", "answer_table.py",
    },
    "plotly": {"heatmap.py", "figure_widget.py", "trade_off_figure.py", "report.py"},
    "pandas": {"tables.py"},
}  # fmt: skip
"""Files of the page that may import these libraries; gradio also where a panel is drawn or wired."""


def imports(path: Path) -> Iterator[tuple[int, str]]:
    """(level, module) of every import outside `if TYPE_CHECKING`, wherever it stands in the file."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in _without_type_checking(tree):
        if isinstance(node, ast.Import):
            yield from ((0, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from ((node.level, name) for name in ([node.module] if node.module else [a.name for a in node.names]))


def _without_type_checking(node: ast.AST) -> Iterator[ast.AST]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.If) and isinstance(child.test, ast.Name) and child.test.id == "TYPE_CHECKING":
            continue
        yield child
        yield from _without_type_checking(child)


def packages(path: Path) -> set[str]:
    return {module.split(".")[0] for level, module in imports(path) if level == 0}


def row_of(name: str) -> int:
    return next((number for number, row in enumerate(ROWS) if name in row), len(ROWS))


@pytest.mark.parametrize("path", CORE, ids=lambda path: path.stem)
def test_a_core_file_imports_no_page_library_and_no_page(path: Path) -> None:
    assert not packages(path) & (PAGE_LIBRARIES | {"components", "app"})


@pytest.mark.parametrize("path", [p for p in CORE if not p.stem.startswith("__")], ids=lambda path: path.stem)
def test_a_core_file_imports_from_its_row_or_below(path: Path) -> None:
    own = row_of(path.stem)
    upward = [module for level, module in imports(path) if level == 1 and row_of(module.split(".")[0]) > own]
    assert not upward, f"{path.name} imports {upward}, which stand above it"


def test_no_file_imports_itself_by_way_of_others() -> None:
    """Imports inside of functions count too."""
    for folder in (CORE, COMPONENTS):
        names = {path.stem for path in folder} - {"__init__"}
        needs = {path.stem: set(_own_imports(path, names)) for path in folder if path.stem in names}
        while free := {name for name, below in needs.items() if not below}:
            needs = {name: below - free for name, below in needs.items() if name not in free}
        assert not needs, f"one circle at least among {sorted(needs)}"


def _own_imports(path: Path, names: set[str]) -> Iterator[str]:
    """Files of its own folder that a file imports."""
    for node in _without_type_checking(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.level == 1:
            yield from {node.module} & names if node.module else {alias.name for alias in node.names} & names


def test_pure_math_knows_no_model_library_and_no_file() -> None:
    for name in ROWS[1]:
        assert not packages(ROOT / "s2e_core" / f"{name}.py") & {"transformers", "safetensors", "pathlib", "json", "os"}


def test_the_rows_in_the_readme_are_the_ones_checked_here() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    table = re.findall(r"^\| (\d) \| (`.*) \|$", text, flags=re.MULTILINE)
    assert [int(number) for number, _ in table] == [5, 4, 3, 2, 1, 0]
    for number, names in table:
        for name in re.findall(r"`(\w+)`", names):
            assert (ROOT / "s2e_core" / f"{name}.py").is_file(), name
            assert row_of(name) == min(int(number), len(ROWS)), name


def test_every_file_of_the_core_stands_in_the_readme() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    rows = "".join(re.findall(r"^\| \d \| (`.*) \|$", text, flags=re.MULTILINE))
    assert set(re.findall(r"`(\w+)`", rows)) == {path.stem for path in CORE} - {"__init__"}


def test_optional_libraries_are_imported_when_they_are_needed() -> None:
    for path in CORE:
        assert not packages(path) & {"ray"}, path.name


@pytest.mark.parametrize("path", COMPONENTS, ids=lambda path: path.stem)
def test_the_page_never_imports_the_app_and_its_libraries_only_where_it_draws(path: Path) -> None:
    assert "app" not in packages(path)
    may = {library for library, files in KNOWS.items() if path.name in files}
    may |= {"gradio"} if path.name.endswith(DRAWS_OR_WIRES) else set()
    assert packages(path) & set(KNOWS) <= may


@pytest.mark.parametrize("path", [ROOT / "app.py", *COMPONENTS], ids=lambda path: path.stem)
def test_the_page_takes_public_names_from_the_package(path: Path) -> None:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    from_inside = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and _is_inside(node.module)]
    assert not {alias.name for node in from_inside for alias in node.names} & set(s2e_core.__all__)


def _is_inside(module: str | None) -> bool:
    return (module or "").startswith("s2e_core.")


def test_panels_hold_layout_alone() -> None:
    for path in ROOT.glob("components/*_panel.py"):
        modules = {module for level, module in imports(path) if level == 1}
        assert not {module for module in modules if module.endswith("_handlers")}, path.name
        assert not modules & {"store", "session", "dials"}, path.name


def test_the_core_works_without_a_page_library_and_imports_none_that_few_steps_need() -> None:
    program = (
        "import sys\n"
        f"for name in {sorted(PAGE_LIBRARIES)!r}: sys.modules[name] = None\n"
        "import s2e_core, s2e_core.export.checkpoint, s2e_core.verify.verify, s2e_core.export.recipe\n"
        "assert s2e_core.load_model and s2e_core.build_edit\n"
        "assert not {'peft', 'bitsandbytes', 'transformers.modeling_utils'} & set(sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr


def writes_to_a_parameter(tree: ast.AST) -> list[int]:
    """Lines that change a weight in place: assignment to `.weight` or `.data`, or an in-place method on one of them."""

    def is_weight(node: ast.AST) -> bool:
        while isinstance(node, ast.Subscript | ast.Call):
            node = node.value if isinstance(node, ast.Subscript) else node.func
        if isinstance(node, ast.Attribute):
            return node.attr in ("weight", "data") or is_weight(node.value)
        return False

    lines = []
    for node in ast.walk(tree):
        targets = (
            node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AugAssign) else []
        )
        lines += [
            node.lineno for target in targets if isinstance(target, ast.Attribute | ast.Subscript) and is_weight(target)
        ]
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            name = node.func.attr
            in_place = name.endswith("_") and not name.endswith("__") and name != "requires_grad_"
            if (in_place and is_weight(node.func.value)) or name in ("load_state_dict", "copy_parameters"):
                lines.append(node.lineno)
    return lines


@pytest.mark.parametrize("path", [*CORE, *COMPONENTS], ids=lambda path: path.stem)
def test_nothing_writes_to_a_parameter(path: Path) -> None:
    assert writes_to_a_parameter(ast.parse(path.read_text(encoding="utf-8"))) == []


@pytest.mark.parametrize(
    "line",
    ["m.weight += x", "m.weight.data[0] = x", "m.weight.add_(x)", "m.weight.data.copy_(x)", "m.load_state_dict(x)"],
)
def test_the_check_finds_every_way_of_writing(line: str) -> None:
    assert writes_to_a_parameter(ast.parse(line)) == [1]
