"""One command as a value: its name, its arguments, what it runs, and what its JSON object contains.

Knows no command.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from .json_output import Fields


@dataclass(frozen=True, eq=False)
class Command:
    """One command of the command line."""

    name: str
    help: str
    """One sentence for the list of commands."""
    add: Callable[[argparse.ArgumentParser], None]
    """Adds the command's own arguments to its parser."""
    run: Callable[[argparse.Namespace], int | None]
    """Prints the results; returns the exit status, None for 0."""
    needs_model: bool = True
    """True if the command takes the arguments that choose a model."""
    describe: Callable[[argparse.Namespace], dict[str, Any]] | None = None
    """Does the same work for `--json` and returns the fields of the object; None if there is no `--json`.

    The exit status is 1 if the object has a field "passed" that is false.
    """
    fields: Fields | None = None
    """Meaning of every field that `describe` returns."""
