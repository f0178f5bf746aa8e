"""The README and the public names: what they promise exists."""

import inspect
import re
import shlex
from pathlib import Path

import pytest

import s2e_core
from components.page.options import options
from s2e_core.cli import COMMANDS, parse

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def pinned(package: str) -> str:
    found = re.search(rf"^{package}==(\S+)", (ROOT / "requirements.txt").read_text(), re.MULTILINE)
    assert found, package
    return found[1]


def test_the_front_matter_is_that_of_a_space_with_the_pinned_gradio():
    front = dict(line.split(": ", 1) for line in README.split("---")[1].strip().splitlines())
    assert front["sdk"] == "gradio"
    assert front["sdk_version"] == pinned("gradio")
    assert front["python_version"].strip('"') == "3.11"
    assert (ROOT / front["app_file"]).is_file()
    assert (ROOT / "LICENSE").is_file() and front["license"] == "apache-2.0"


def test_there_is_one_command_to_start_and_one_to_test():
    for marker in ("start command", "test command"):
        block = re.search(rf"<!-- {marker} -->\n```bash\n(.+)\n```", README)
        assert block and "\n" not in block[1]


def test_everything_is_pinned_exactly():
    for name in ("requirements.txt", "tests/requirements.txt"):
        for line in (ROOT / name).read_text().splitlines():
            requirement = line.split("#")[0].strip()
            assert not requirement or requirement.startswith("-r ") or re.fullmatch(r"[\w.-]+==[\w.]+", requirement)


def test_every_file_the_readme_names_exists():
    for target in re.findall(r"\]\((?!https?:|#)([^)]+)\)", README):
        assert (ROOT / target).exists(), target


def test_every_link_inside_the_readme_leads_to_a_heading():
    headings = re.findall(r"^#+ (.+)$", re.sub(r"```.*?```", "", README, flags=re.DOTALL), re.MULTILINE)
    anchors = [re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings]
    assert len(anchors) == len(set(anchors))
    links = re.findall(r"\]\(#([^)]+)\)", README)
    assert links
    for link in links:
        assert link in anchors, link


def test_every_command_line_of_the_readme_is_understood():
    """argparse ends the program where an option is not known or a value is none."""
    understood = []
    for block in re.findall(r"```bash\n(.*?)```", README, flags=re.DOTALL):
        for words in (shlex.split(line, comments=True) for line in block.splitlines()):
            if program := {"s2e_core", "steer2edit"} & set(words):
                understood.append(parse(words[words.index(*program) + 1 :]).command)
            elif words and words[0].endswith("python") and "app.py" in words:
                options(words[words.index("app.py") + 1 :])
    assert set(understood) == {command.name for command in COMMANDS}


@pytest.mark.parametrize("name", s2e_core.__all__)
def test_every_public_name_exists_and_says_what_it_is(name):
    value = getattr(s2e_core, name)
    if inspect.isclass(value) or inspect.isfunction(value):
        assert (value.__doc__ or "").strip() and not value.__doc__.startswith(f"{name}("), name


def test_the_names_are_few_and_complete():
    assert len(set(s2e_core.__all__)) == len(s2e_core.__all__) <= 50
    errors = {n for n, v in vars(s2e_core.errors).items() if inspect.isclass(v) and issubclass(v, s2e_core.S2EError)}
    assert errors <= set(s2e_core.__all__)
