"""The words of the core: its headers, the documentation of its fields, and the words that the glossary replaces."""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.readme_tree import COLUMN, LONGEST, phrase, tree, written_tree

ROOT = Path(__file__).parent.parent
CORE = sorted((ROOT / "s2e_core").rglob("*.py"))
FILES = [ROOT / "app.py", *CORE, *sorted((ROOT / "components").rglob("*.py"))]
README = (ROOT / "README.md").read_text(encoding="utf-8")
CLIPPED = re.compile(r"(?:[^A-Z`]|(?:Of|Than|Where|By|Between)\b)")
"""The beginning of a note that does not stand alone in a tooltip: it needs the name above it to be understood."""


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


def attribute_docs(path: Path) -> Iterator[tuple[int, str]]:
    """(line, text) of every string that stands under a field or a constant."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        body = getattr(node, "body", None)
        for above, below in zip(body, body[1:], strict=False) if isinstance(body, list) else ():
            value = getattr(below, "value", None) if isinstance(above, ast.Assign | ast.AnnAssign) else None
            if isinstance(below, ast.Expr) and isinstance(value, ast.Constant) and isinstance(value.value, str):
                yield below.lineno, value.value


@pytest.mark.parametrize("path", CORE, ids=name_of)
def test_the_documentation_of_a_field_stands_alone(path: Path) -> None:
    assert not [(line, text[:60]) for line, text in attribute_docs(path) if CLIPPED.match(text)]


def test_the_check_of_fields_finds_what_it_looks_for() -> None:
    assert all(CLIPPED.match(text) for text in ("Of a weight's norm", "Than its inputs give", "(d,)", "per site (n,)"))
    assert not any(
        CLIPPED.match(text) for text in ("Offered to all", "Unit direction: (d,)", "`None` if unknown", "True if")
    )


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_a_file_says_what_it_does_in_one_line_of_the_tree(path: Path) -> None:
    assert 10 < len(phrase(path)) <= LONGEST


def test_the_tree_in_the_readme_is_made_of_the_headers() -> None:
    assert written_tree() == tree(), "run: python -m tests.readme_tree"
    assert all(len(line.split("  ")[0]) < COLUMN for line in tree().splitlines())


def glossary() -> list[tuple[str, list[str]]]:
    """(word, the words it is used instead of) of every row of the README's glossary."""
    rows = re.search(r"<!-- glossary -->\n(.*?)<!-- end of glossary -->", README, re.DOTALL)
    assert rows, "the README has no glossary"
    cells = [[cell.strip() for cell in line.strip("|").split(" | ")] for line in rows[1].splitlines() if "|" in line]
    return [(word.strip("* "), re.findall(r'"([^"]+)"', instead)) for word, _, instead in cells[2:]]


def test_the_glossary_has_forty_words_in_order() -> None:
    words = [word for word, _ in glossary()]
    assert len(words) >= 40
    assert words == sorted(words, key=str.casefold)


def prose(path: Path) -> Iterator[tuple[int, str]]:
    """(line, text) of every string and comment of a Python file."""
    with tokenize.open(path) as file:
        text = file.read()
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type in (tokenize.STRING, tokenize.COMMENT):
            yield token.start[0], " ".join(token.string.split())


FORBIDDEN = re.compile("|".join(rf"\b{re.escape(word)}\b" for _, words in glossary() for word in words), re.IGNORECASE)


@pytest.mark.parametrize("path", CORE, ids=name_of)
def test_the_core_uses_the_words_of_the_glossary(path: Path) -> None:
    assert not [(line, found[0]) for line, text in prose(path) if (found := FORBIDDEN.search(text))]


def test_the_readme_uses_the_words_of_the_glossary() -> None:
    text = re.sub(r"<!-- (glossary|answers) -->.*?<!-- end of \1 -->", "", README, flags=re.DOTALL)
    assert not FORBIDDEN.findall(text)


def test_a_step_that_is_cited_stands_in_the_readme() -> None:
    steps = dict(re.findall(r"^\| (\d) (\w+) \|", README, re.MULTILINE))
    assert sorted(steps) == ["1", "2", "3", "4", "5"]
    cited = [
        (path, *found)
        for path in CORE
        for _, text in prose(path)
        for found in re.findall(r"README, step (\d): (\w+)", text)
    ]
    assert cited
    assert not [(name_of(path), number, word) for path, number, word in cited if steps[number] != word]
    assert not [(name_of(path), line) for path in CORE for line, text in prose(path) if re.search(r"\(method, ", text)]
