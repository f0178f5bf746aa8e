"""Which handlers listen to which events of the page, and that the page comes to rest after them."""

from __future__ import annotations

import gradio as gr

import app
from tests.ui.running import first_session, shared_store


def test_no_handler_that_waits_for_its_last_value_shares_its_event() -> None:
    """Gradio tells such an event again, to all who listen: two that wait would start each other without an end."""
    first_session()
    demo: gr.Blocks = app.build(shared_store())
    listeners: dict[tuple[int | None, str], list[str]] = {}
    for event in demo.fns.values():
        waits = event.fn is not None and event.trigger_mode == "always_last"
        for target in event.targets:
            if target[0] is None:  # after another event, and told by that one alone
                continue
            listeners.setdefault(target, []).append("waits" if waits else "hears")
    assert ["waits"] in listeners.values()
    assert not [target for target, all_of in listeners.items() if "waits" in all_of and len(all_of) > 1]
