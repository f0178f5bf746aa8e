"""How the page looks: theme, style sheet, scripts, header and footer. Fonts are the system's; nothing is fetched."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gradio as gr

from . import texts
from .heatmap import heatmap_routes
from .limits import Limits

ASSETS = Path(__file__).parent.parent / "assets"
SANS = ["system-ui", "-apple-system", "Segoe UI", "Roboto", "sans-serif"]
MONO = ["ui-monospace", "SFMono-Regular", "Menlo", "Consolas", "monospace"]


def header() -> gr.HTML:
    steps = "".join(f"<li><b>{name}</b> {what}</li>" for name, what in texts.STEPS)
    return gr.HTML(
        f"<header><h1>{texts.TITLE}</h1><p>{texts.INTRO}</p></header><ol>{steps}</ol>",
        elem_id="top",
        apply_default_css=False,
    )


def footer() -> None:
    with gr.Accordion(texts.HOW, open=False, elem_id="how"):
        gr.Markdown(texts.HOW_TEXT, latex_delimiters=[
            {"left": "$$", "right": "$$", "display": True}, {"left": "$", "right": "$", "display": False},
        ])  # fmt: skip


def launch_options(limits: Limits) -> dict[str, Any]:
    """Arguments of `launch` that belong to the page, whatever the host and port."""
    return {
        "theme": gr.themes.Monochrome(font=SANS, font_mono=MONO, spacing_size="sm", radius_size="sm", text_size="sm"),
        "css": (ASSETS / "style.css").read_text(encoding="utf-8"),
        "js": (ASSETS / "page.js").read_text(encoding="utf-8"),
        "app_kwargs": {"routes": heatmap_routes()},
        "max_file_size": f"{limits.file_megabytes}mb",
        "run_history": False,
        "footer_links": [],
        "ssr_mode": False,
        "enable_monitoring": False,
        "show_error": False,
        "state_session_capacity": 200,
    }
