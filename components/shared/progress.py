"""How a long run is told: a sentence, a bar while something runs, and times. Knows words and HTML, no run."""

from __future__ import annotations

import html


def progress_bar(words: str, done: int = 0, total: int = 0) -> str:
    """A sentence, and a bar while something runs."""
    bar = f'<progress max="{total}" value="{done}"></progress>' if total else ""
    return f'<p role="status">{html.escape(words)}</p>{bar}'


def duration(seconds: float) -> str:
    """ "2 min 05 s"."""
    minutes, rest = divmod(max(0, round(seconds)), 60)
    return f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"
