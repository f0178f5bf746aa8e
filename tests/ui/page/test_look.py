"""Colours that can be read, and what the style sheet keeps off the page: WCAG's contrast, computed from its formula."""

from __future__ import annotations

import re
from typing import Any

import pytest

from components.page import look

AA = 4.5
STYLES = (look.ASSETS / "style.css").read_text(encoding="utf-8")


def resolved(theme: Any, name: str) -> str:
    """The colour of one of the theme's names as #rrggbb; "*name" is another name, None in the dark the light one."""
    value = getattr(theme, name)
    if value is None:
        return resolved(theme, name.removesuffix("_dark"))
    if value.startswith("*"):
        also_dark = value[1:] + "_dark"
        return resolved(theme, also_dark if name.endswith("_dark") and hasattr(theme, also_dark) else value[1:])
    return {"white": "#ffffff", "black": "#000000"}.get(value, value)


def contrast(one: str, other: str) -> float:
    """(L1 + 0.05) / (L2 + 0.05) of the relative luminances; source: WCAG 2.2, definition of contrast ratio."""
    lighter, darker = sorted((luminance(one), luminance(other)), reverse=True)
    return (lighter + 0.05) / (darker + 0.05)


def luminance(colour: str) -> float:
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def test_the_formula_gives_the_published_examples() -> None:
    assert contrast("#000000", "#ffffff") == pytest.approx(21) and contrast("#777777", "#ffffff") == pytest.approx(
        4.48, abs=0.005
    )


@pytest.mark.parametrize("mode", ["", "_dark"])
@pytest.mark.parametrize("button", ["button_primary", "button_secondary"])
@pytest.mark.parametrize("state", ["", "_hover"])
def test_the_words_of_a_button_can_be_read_also_below_the_pointer(mode: str, button: str, state: str) -> None:
    theme = look._theme()
    words = resolved(theme, f"{button}_text_color{state}{mode}")
    assert contrast(words, resolved(theme, f"{button}_background_fill{state}{mode}")) >= AA


@pytest.mark.parametrize("mode", ["", "_dark"])
def test_what_an_empty_field_suggests_can_be_read(mode: str) -> None:
    theme = look._theme()
    words = resolved(theme, f"input_placeholder_color{mode}")
    for field in ("input_background_fill", "body_background_fill"):
        assert contrast(words, resolved(theme, field + mode)) >= AA


@pytest.mark.parametrize("mode", [":root", ".dark"])
def test_the_style_sheets_own_words_can_be_read_on_its_own_papers(mode: str) -> None:
    rules = re.search(rf"^{re.escape(mode)} {{(.*?)}}", STYLES, re.MULTILINE)
    assert rules is not None
    colours = dict(re.findall(r"--([a-z]+): (#[0-9a-f]{6})", rules[1]))
    for words in ("ink", "quiet", "accent", "alarm"):
        for paper in ("paper", "tint"):
            assert contrast(colours[words], colours[paper]) >= AA, (words, paper)
    assert contrast(colours["ink"], colours["mark"]) >= AA


def test_texts_of_an_earlier_edit_are_quiet_and_still_readable() -> None:
    rules = re.findall(r"outdated[^{}]*{([^}]*)}", STYLES)
    assert rules and not any("opacity" in rule for rule in rules)
