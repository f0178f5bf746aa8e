"""How the page looks: theme, style sheet, scripts, header and footer. Fonts are the system's; nothing is fetched."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import gradio as gr
from starlette.routing import Route

from components.lessons.lessons_widget import lesson_routes
from components.lessons.panel import WAY_IN, lessons_css
from components.shared import texts
from components.shared.limits import Limits
from components.studio.panel import studio_css
from components.studio.studio_widget import routes
from components.tab_model.tab_widget import tab_routes
from components.why.panel import why_css
from components.why.why_widget import why_routes

ASSETS = Path(__file__).parents[2] / "assets"
SCRIPTS = ("stream", "controls", "page")  # the page reads numbers that controls have corrected
SANS = ["system-ui", "-apple-system", "Segoe UI", "Roboto", "sans-serif"]
MONO = ["ui-monospace", "SFMono-Regular", "Menlo", "Consolas", "monospace"]


def header() -> gr.HTML:
    steps = "".join(f"<li><b>{name}</b> {what}</li>" for name, what in texts.STEPS)
    return gr.HTML(
        f"<header><h1>{texts.TITLE}</h1><p>{texts.INTRO}{WAY_IN}</p></header><ol>{steps}</ol>",
        elem_id="top",
        apply_default_css=False,
    )


def footer(limits: Limits) -> None:
    with gr.Accordion(texts.HOW, open=False, elem_id="how"):
        gr.Markdown(texts.HOW_TEXT, latex_delimiters=[
            {"left": "$$", "right": "$$", "display": True}, {"left": "$", "right": "$", "display": False},
        ])  # fmt: skip
    gr.Markdown(limits.sentence(), elem_classes="status")


def launch_options(limits: Limits) -> dict[str, Any]:
    """Arguments of `launch` that belong to the page, whatever the host and port."""
    return {
        "theme": _theme(),
        "css": (ASSETS / "style.css").read_text(encoding="utf-8") + studio_css() + why_css() + lessons_css(),
        "js": _script(),
        "app_kwargs": {"routes": page_routes()},
        "max_file_size": f"{limits.file_megabytes}mb",
        "run_history": False,
        "footer_links": [],
        "ssr_mode": False,
        "enable_monitoring": False,
        "show_error": False,
        "state_session_capacity": 200,
    }


def page_routes() -> list[Route]:
    """Every script of the page that is a file of its own."""
    return [*routes(), *tab_routes(), *why_routes(), *lesson_routes()]


def _script() -> str:
    """The page's own scripts, one after the other, with the words they show."""
    told = json.dumps(texts.TOOLTIPS, ensure_ascii=False)
    scripts = [(ASSETS / f"{name}.js").read_text(encoding="utf-8") for name in SCRIPTS]
    whole = "\n".join(f"(\n{script})();" for script in scripts)
    return f"() => {{\n{whole}\n}}".replace("const TOLD = {}", f"const TOLD = {told}")


def _theme() -> gr.themes.Base:
    """Gradio's monochrome theme without its frames; the style sheet draws the few lines that are wanted."""
    return gr.themes.Monochrome(font=SANS, font_mono=MONO, spacing_size="sm", radius_size="md", text_size="sm").set(
        body_background_fill="#ffffff",
        body_background_fill_dark="#12161c",
        block_background_fill="transparent",
        block_background_fill_dark="transparent",
        block_border_width="0px",
        block_border_width_dark="0px",
        block_label_text_weight="500",
        block_title_text_weight="600",
        button_border_width="1px",
        button_small_text_weight="500",
        button_small_padding="5px 11px",
        button_small_radius="7px",
        button_large_text_weight="550",
        button_secondary_border_color="#cfd5dc",
        button_secondary_border_color_dark="#3a4450",
        button_secondary_background_fill="#ffffff",
        button_secondary_background_fill_dark="#1b2129",
        button_secondary_background_fill_hover="#f4f6f8",
        button_secondary_background_fill_hover_dark="#303945",
        button_secondary_text_color_hover="#1c2430",
        button_secondary_border_color_hover="#5b6573",
        input_background_fill="#f4f6f8",
        input_background_fill_dark="#1b2129",
        input_placeholder_color="#5b6573",
        input_placeholder_color_dark="#a3adba",
        button_primary_background_fill="#1c2430",
        button_primary_background_fill_dark="#dfe6ee",
        button_primary_background_fill_hover="#33404f",
        button_primary_background_fill_hover_dark="#ffffff",
        button_primary_text_color="#ffffff",
        button_primary_text_color_dark="#12161c",
        button_primary_border_color="#1c2430",
        button_primary_border_color_dark="#dfe6ee",
        slider_color="#1c2430",
        slider_color_dark="#c9d4e0",
    )
