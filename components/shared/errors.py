"""Turns what goes wrong in a handler into one sentence on the page; the page itself stays as it was.

Knows gradio's toasts and the core's errors. An S2EError is meant for the visitor; anything else is a bug: its traceback
goes to the log and never to the page.
"""

from __future__ import annotations

import html
import inspect
import logging
from collections.abc import Callable, Generator
from functools import wraps
from typing import Any

import gradio as gr

from s2e_core import Cancelled, S2EError

BUG = "Something went wrong on our side; your work is still here. The details are in the server's log."
log = logging.getLogger("steer2edit")


def guarded(handler: Callable[..., Any], *, after_failure: bool = False) -> Callable[..., Any]:
    """The handler, with every exception turned into a `gr.Error` of one escaped sentence.

    `after_failure` is for what repairs the page when another handler has failed, which has said that much already.
    """
    if inspect.isgeneratorfunction(handler):

        @wraps(handler)
        def streaming(*args: Any) -> Generator[Any, None, None]:
            try:
                yield from handler(*args)
            except Exception as error:
                raise told(error, visible=not after_failure) from error

        return streaming

    @wraps(handler)
    def plain(*args: Any) -> Any:
        try:
            return handler(*args)
        except Exception as error:
            raise told(error, visible=not after_failure) from error

    return plain


def told(error: Exception, *, visible: bool = True) -> gr.Error:
    """What the visitor reads about an exception. A Stop says nothing: who pressed it knows."""
    if isinstance(error, gr.Error):
        return error
    if isinstance(error, S2EError):
        shown = visible and not isinstance(error, Cancelled)
        return gr.Error(html.escape(str(error)), visible=shown, print_exception=False)
    log.error("A handler failed", exc_info=error)
    return gr.Error(BUG, visible=visible, print_exception=False)


def sentence(error: Exception) -> str:
    """The same for what is asked outside of gradio's events: plain text."""
    if isinstance(error, S2EError):
        return str(error)
    log.error("A question failed", exc_info=error)
    return BUG
