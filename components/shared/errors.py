"""Turns what goes wrong in a handler into one sentence on the page; the page itself stays as it was.

Knows gradio's toasts and the core's errors. An S2EError is meant for the visitor; anything else is a bug: its traceback
goes to the log and never to the page.
"""

from __future__ import annotations

import html
import inspect
import logging
from collections.abc import Callable, Generator, Sequence
from functools import wraps
from typing import Any

import gradio as gr

from s2e_core import S2EError

from .session import Lost

LOST = (
    "This page was left for too long, or the app was started again: its edit is no longer here, and nothing was done. "
    "Reload the page to go on; a recipe that you saved brings an edit back."
)
BUG = "Something went wrong on our side; your work is still here. The details are in the server's log."
log = logging.getLogger("steer2edit")


def guarded(handler: Callable[..., Any], *, after_failure: bool = False) -> Callable[..., Any]:
    """The handler, with every exception turned into a `gr.Error` of one escaped sentence; a lost session never gets it.

    `after_failure` is for what repairs the page when another handler has failed, which has said that much already.
    """
    if inspect.isgeneratorfunction(handler):

        @wraps(handler)
        def streaming(*args: Any) -> Generator[Any, None, None]:
            try:
                _check_session(args, visible=not after_failure)
                yield from handler(*args)
            except Exception as error:
                raise told(error) from error

        return streaming

    @wraps(handler)
    def plain(*args: Any) -> Any:
        try:
            _check_session(args, visible=not after_failure)
            return handler(*args)
        except Exception as error:
            raise told(error) from error

    return plain


def _check_session(values: Sequence[Any], *, visible: bool) -> None:
    """gr.Error if the session is lost that a handler was to work on: any other would pass for the visitor's own."""
    if any(value is Lost.LOST for value in values):
        raise gr.Error(LOST, visible=visible, print_exception=False)


def told(error: Exception) -> gr.Error:
    """What the visitor reads about an exception."""
    if isinstance(error, gr.Error):
        return error
    if isinstance(error, S2EError):
        return gr.Error(html.escape(str(error)), print_exception=False)
    log.error("A handler failed", exc_info=error)
    return gr.Error(BUG, print_exception=False)
