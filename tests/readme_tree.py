"""Write the README's file tree: one line a file, the first sentence of its own header.

python -m tests.readme_tree   # rewrites the tree in README.md
"""

from __future__ import annotations

import ast
import itertools
import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
README = ROOT / "README.md"
BEGIN, END = "<!-- file tree -->", "<!-- end of file tree -->"
COLUMN = 40  # where the phrases start
LONGEST = 120
FIRST = ("__init__", "__main__", "errors", "spec", "settings", "settings_json", "values", "progress")
"""Files that come before the folders."""


def tree() -> str:
    """The tree as text: app.py, then the two packages, every folder with its phrase and its files."""
    lines = [_line("app.py", 0, phrase(ROOT / "app.py"))]
    for package in ("components", "s2e_core"):
        lines += _folder(ROOT / package, 0)
    return "\n".join(["```", *lines, "```"])


def phrase(path: Path) -> str:
    """The first sentence of a file's header, without its full stop. Raises ValueError if the file has no header."""
    text = path.read_text(encoding="utf-8")
    header = _comment(text) if path.suffix == ".js" else ast.get_docstring(ast.parse(text))
    if not header:
        raise ValueError(f"{path.relative_to(ROOT)} has no header.")
    paragraph = " ".join(header.split("\n\n")[0].split())
    return re.split(r"\.(?:\s|$)", paragraph, maxsplit=1)[0]


def _folder(folder: Path, depth: int) -> Iterator[str]:
    yield _line(f"{folder.name}/", depth, phrase(folder / "__init__.py"))
    found = [f for kind in ("*.py", "*.js") for f in folder.glob(kind)]
    files = sorted((f for f in found if f.stem != "__init__"), key=_order)
    yield from (_line(file.name, depth + 1, phrase(file)) for file in files)
    for inner in sorted(f for f in folder.iterdir() if (f / "__init__.py").is_file()):
        yield from _folder(inner, depth + 1)


def _comment(text: str) -> str:
    """The lines of `//` that a script opens with."""
    lines = itertools.takewhile(lambda line: line.startswith("//"), text.splitlines())
    return "\n".join(line.removeprefix("//").strip() for line in lines)


def _order(path: Path) -> tuple[int, str, str]:
    return (FIRST.index(path.stem) if path.stem in FIRST else len(FIRST), path.stem, path.suffix)


def _line(name: str, depth: int, text: str) -> str:
    return f"{'  ' * depth + name:<{COLUMN}}{text}".rstrip()


def written_tree() -> str:
    """The tree as it stands in the README."""
    text = README.read_text(encoding="utf-8")
    return text[text.index(BEGIN) + len(BEGIN) : text.index(END)].strip()


def main() -> None:
    text = README.read_text(encoding="utf-8")
    before, after = text[: text.index(BEGIN) + len(BEGIN)], text[text.index(END) :]
    README.write_text(f"{before}\n{tree()}\n{after}", encoding="utf-8")


if __name__ == "__main__":
    main()
