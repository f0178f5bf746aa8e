"""Words of the push to the Hub. Knows no component; the strings with figures are HTML."""

from __future__ import annotations

import html

from components.shared.progress import progress_bar

PUSH_TO_HUB = "Push to the Hub"
HELP = (
    "The edited model, with its model card and the recipe, as a new repository of your own on the Hugging Face Hub: "
    "written and checked here first, then sent. Your access token needs the right to write. It is used for this one "
    "push, and kept nowhere: the field is emptied as soon as the push begins. With *as stored* or *float32* above you "
    "choose the checkpoint's numbers."
)
REPOSITORY = "Repository"
REPOSITORY_EXAMPLE = "your-name/my-edited-model"
TOKEN = "Access token"
TOKEN_EXAMPLE = "hf_…"
WHAT = "What to push"
WHAT_CHOICES = (("Edited checkpoint", "checkpoint"), ("LoRA adapter", "adapter"))
PRIVATE = "Private: only you can see it"
PUSH = "Push"
NOT_PUSHED = progress_bar("Nothing was pushed. Your edit is still here.")
STOPPED_NOTE = "Stop takes effect after the file that is being sent; nothing of it becomes visible."


def writing(done: int, total: int) -> str:
    return progress_bar(f"Writing and checking: {done / total:.0%}" if total else "Writing …", done, total)


def uploading(done: int, total: int) -> str:
    return progress_bar(f"Uploading: {done / 1e6:,.1f} of {total / 1e6:,.1f} MB. {STOPPED_NOTE}", done, total)


def pushed(address: str, private: bool, verdict: str) -> str:
    """The link to the result. `verdict` is what was found when the files were checked."""
    seen = "Only you can see it." if private else "Everybody can see it."
    link = f'<a href="{html.escape(address)}" target="_blank" rel="noopener noreferrer">{html.escape(address)}</a>'
    return f'<p role="status"><b>Pushed:</b> {link}</p><p>{seen} {html.escape(verdict)}</p>'
