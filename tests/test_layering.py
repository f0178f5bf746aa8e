"""Who may import whom, and that nothing in the core writes to a model: read from the source, not from a run.

The order of the core's packages has one source: the list in the README's section on architecture.
"""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
CORE = sorted((ROOT / "s2e_core").rglob("*.py"))
COMPONENTS = sorted((ROOT / "components").rglob("*.py"))
PAGE_LIBRARIES = {"gradio", "plotly", "pandas", "starlette", "fastapi"}
NAMED_FOR_GRADIO = re.compile(r"(.*panel|.*wiring|events|.*view|errors|look|.*_widget|text_columns|answer_table)\.py")
"""Files whose name says that they build, wire or draw the page: only these may import gradio."""
KNOWS = {
    "plotly": {"studio_widget.py", "figure_widget.py", "figure.py", "report.py"},
    "pandas": {"table.py"},
}
"""The files of the page that may import these libraries."""


def name_of(path: Path) -> str:
    """s2e_core/method/edit.py -> s2e_core.method.edit; a package's own file has the package's name."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports(path: Path) -> Iterator[tuple[str, str]]:
    """(module, name) of every import outside `if TYPE_CHECKING`, anywhere in the file, both in full."""
    here = path.relative_to(ROOT).parts[:-1]
    for node in _without_type_checking(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from ((alias.name, "") for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = ".".join(here[: len(here) - node.level + 1]) if node.level else ""
            module = ".".join(part for part in (above, node.module) if part)
            yield from ((module, alias.name) for alias in node.names)


def _without_type_checking(node: ast.AST) -> Iterator[ast.AST]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.If) and isinstance(child.test, ast.Name) and child.test.id == "TYPE_CHECKING":
            continue
        yield child
        yield from _without_type_checking(child)


def libraries(path: Path) -> set[str]:
    return {module.split(".")[0] for module, _ in imports(path)}


@cache
def package_order() -> tuple[tuple[str, ...], ...]:
    """The floors of the core from the ground up, as the README lists them."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    block = re.search(r"<!-- packages -->\n```\n(.*?)\n```", text, re.DOTALL)
    assert block, "the README lists no packages"
    return tuple(tuple(line.split("  ")[0].replace(",", " ").split()) for line in block[1].splitlines())


def floor_of(path: Path) -> int:
    own = path.relative_to(ROOT / "s2e_core").parts[0].removesuffix(".py")
    return next(number for number, names in enumerate(package_order()) if own in names)


CORE_FILES = [path for path in CORE if path.parent != ROOT / "s2e_core" or not path.stem.startswith("__")]


def test_the_readme_lists_every_package_once() -> None:
    listed = [name for names in package_order() for name in names]
    there = {path.relative_to(ROOT / "s2e_core").parts[0].removesuffix(".py") for path in CORE_FILES}
    assert sorted(listed) == sorted(there)


@pytest.mark.parametrize("path", CORE_FILES, ids=name_of)
def test_a_core_file_imports_from_the_floors_below_it(path: Path) -> None:
    """Within its package, and from packages of lower floors; the two packages of one floor do not know each other."""
    own = name_of(path).split(".")[1]
    names = {module.split(".")[1] for module, _ in imports(path) if module.startswith("s2e_core.")}
    floors = {name: next(n for n, row in enumerate(package_order()) if name in row) for name in names - {own}}
    assert not {name for name, floor in floors.items() if floor >= floor_of(path) and not _is_root(path, name)}
    assert not [name for module, name in imports(path) if module == "s2e_core" and name != "__version__"]


def _is_root(path: Path, name: str) -> bool:
    """Whether both are single files at the package's root; these are checked for circles alone."""
    return path.parent == ROOT / "s2e_core" and (ROOT / "s2e_core" / f"{name}.py").is_file()


@pytest.mark.parametrize("path", [*CORE, *COMPONENTS, ROOT / "app.py"], ids=name_of)
def test_imports_across_packages_of_the_core_end_at_the_package(path: Path) -> None:
    here = name_of(path) if path.stem == "__init__" else name_of(path).rpartition(".")[0]
    deep = [
        module
        for module, _ in imports(path)
        if module.startswith("s2e_core.")
        and module.count(".") > 1
        and not module.startswith(here + ".")
        and module != here
    ]
    assert not deep, f"{name_of(path)} reaches into {deep}"


@pytest.mark.parametrize("path", [p for p in CORE if p.stem == "__init__" and p.parent.name != "s2e_core"], ids=name_of)
def test_a_package_names_its_exports(path: Path) -> None:
    names = {name for _, name in imports(path)}
    tree = ast.parse(path.read_text(encoding="utf-8"))
    listed = [
        ast.literal_eval(n.value) for n in tree.body if isinstance(n, ast.Assign) and n.targets[0].id == "__all__"
    ]  # type: ignore[attr-defined]
    assert listed and set(listed[0]) == names


@pytest.mark.parametrize("folder", [CORE, COMPONENTS], ids=["s2e_core", "components"])
def test_no_file_imports_itself_by_way_of_others(folder: list[Path]) -> None:
    """Imports inside of functions count too. A package's own file stands for all that it imports."""
    paths = {name_of(path): path for path in folder}
    needs = {name: set(_own_imports(path, paths)) - {name} for name, path in paths.items()}
    while free := {name for name, below in needs.items() if not below}:
        needs = {name: below - free for name, below in needs.items() if name not in free}
    assert not needs, f"one circle at least among {sorted(needs)}"


def _own_imports(path: Path, paths: dict[str, Path]) -> Iterator[str]:
    for module, name in imports(path):
        yield from {f"{module}.{name}"} & set(paths) or {module} & set(paths)


def test_no_class_has_its_name_twice_in_the_core() -> None:
    classes: dict[str, list[str]] = {}
    for path in CORE:
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                classes.setdefault(node.name, []).append(name_of(path))
    assert not {name: where for name, where in classes.items() if len(where) > 1}


@pytest.mark.parametrize("path", CORE, ids=name_of)
def test_a_core_file_imports_no_page_library_and_no_page(path: Path) -> None:
    assert not libraries(path) & (PAGE_LIBRARIES | {"components", "app"})


PURE = [
    *(ROOT / "s2e_core/text").glob("*.py"),
    *(ROOT / "s2e_core/method" / f"{n}.py" for n in ("directions", "scores", "edit")),
]


@pytest.mark.parametrize("path", PURE, ids=name_of)
def test_words_and_pure_math_know_no_model_library_and_no_file(path: Path) -> None:
    assert not libraries(path) & {"transformers", "safetensors", "pathlib", "json", "os"}


def test_optional_libraries_are_imported_when_they_are_needed() -> None:
    for path in CORE:
        at_the_top = {node for node in ast.parse(path.read_text(encoding="utf-8")).body}
        names = {alias.name for node in at_the_top if isinstance(node, ast.Import) for alias in node.names}
        assert not names & {"ray", "bitsandbytes"}, path.name


@pytest.mark.parametrize("path", COMPONENTS, ids=name_of)
def test_the_page_never_imports_the_app_and_its_libraries_only_where_the_name_says_so(path: Path) -> None:
    assert "app" not in libraries(path)
    may = {library for library, files in KNOWS.items() if path.name in files}
    may |= {"gradio"} if NAMED_FOR_GRADIO.fullmatch(path.name) else set()
    assert libraries(path) & {"gradio", *KNOWS} <= may


def test_panels_hold_layout_alone() -> None:
    for path in ROOT.glob("components/*/*panel.py"):
        modules = {module.rpartition(".")[2] for module, _ in imports(path) if module.startswith("components")}
        assert not {module for module in modules if module.endswith("handlers")}, path.name
        assert not modules & {"store", "session", "dials"}, path.name


def test_the_core_works_without_a_page_library_and_imports_none_that_few_steps_need() -> None:
    program = (
        "import sys\n"
        f"for name in {sorted(PAGE_LIBRARIES)!r}: sys.modules[name] = None\n"
        "import s2e_core, s2e_core.export, s2e_core.verify\n"
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


@pytest.mark.parametrize("path", [*CORE, *COMPONENTS], ids=name_of)
def test_nothing_writes_to_a_parameter(path: Path) -> None:
    assert writes_to_a_parameter(ast.parse(path.read_text(encoding="utf-8"))) == []


@pytest.mark.parametrize(
    "line",
    ["m.weight += x", "m.weight.data[0] = x", "m.weight.add_(x)", "m.weight.data.copy_(x)", "m.load_state_dict(x)"],
)
def test_the_check_finds_every_way_of_writing(line: str) -> None:
    assert writes_to_a_parameter(ast.parse(line)) == [1]
