"""The command line from arguments to exit status: parse, run one command, turn an error into a sentence.

Knows which commands there are; what each takes and does is in the file of its group.
"""

from __future__ import annotations

import argparse
import logging
import os
import signal
import sys
import threading
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from pathlib import PurePath

from transformers.utils import logging as transformers_logging

from s2e_core.errors import S2EError

from . import data, difference, edit, evaluate, find, importing, model, results, sweep, take_home, why
from .arguments import add_json, add_model
from .command import Command
from .json_output import to_json

COMMANDS: tuple[Command, ...] = (
    *model.COMMANDS,
    *edit.COMMANDS,
    *data.COMMANDS,
    *importing.COMMANDS,
    sweep.COMMAND,
    find.COMMAND,
    evaluate.COMMAND,
    why.COMMAND,
    difference.COMMAND,
    *take_home.COMMANDS,
    results.COMMAND,
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status.

    0: done. 1: the check failed, or the examples are not understood yet. 2: bad input. 130: interrupted.
    """
    options = parse(arguments)
    _silence_libraries()
    try:
        with _interrupt_on_sigterm():
            status = _run(options)
            sys.stdout.flush()  # here, where a reader that has gone can be handled
            return status
    except BrokenPipeError:  # whoever reads our output, such as `head`, has enough of it
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # Python flushes once more as it ends
        return 0
    except S2EError as error:
        print(f"{program_name()}: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("Stopped.", file=sys.stderr)
        return 130


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """The options of one command line, by default this program's; `command` is the name of the command.

    Exits with status 2 if they are not understood, and with 0 after `--help`.
    """
    parser = argparse.ArgumentParser(
        prog=program_name(), description="Steer2Edit: turn a steering direction into rank-1 weight edits."
    )
    subparsers = parser.add_subparsers(dest="command", required=True, metavar="command")
    for command in COMMANDS:
        sub = subparsers.add_parser(
            command.name,
            help=command.help,
            description=command.help,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        if command.needs_model:
            add_model(sub)
        command.add(sub)
        if command.fields is not None:
            add_json(sub, command.name, command.fields)
    return parser.parse_args(arguments)


def program_name() -> str:
    """How the program was started, for messages."""
    return "steer2edit" if PurePath(sys.argv[0]).stem == "steer2edit" else "python -m s2e_core"


def _run(options: argparse.Namespace) -> int:
    command = next(command for command in COMMANDS if command.name == options.command)
    if command.describe is None or not options.json:
        return command.run(options) or 0
    with redirect_stdout(sys.stderr):  # standard output contains the object and nothing else, whoever prints
        record = command.describe(options)
    print(to_json(command.name, record))
    return 0 if record.get("passed", True) else 1


def _silence_libraries() -> None:
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    # PEFT imports bitsandbytes if it is installed, and asks transformers for an attribute under its old name.
    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", ".*is_gradient_checkpointing", FutureWarning)


@contextmanager
def _interrupt_on_sigterm() -> Iterator[None]:
    """Treat SIGTERM as Ctrl+C, so that a command that is ended from outside cleans up too."""
    if threading.current_thread() is not threading.main_thread():  # no other thread may handle signals
        yield
        return
    previous = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, previous or signal.SIG_DFL)
