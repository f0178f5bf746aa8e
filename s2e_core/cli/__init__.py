"""The command line: one file a group of commands, holding its arguments and its runs."""

from .arguments import memory_argument, parse
from .main import COMMANDS, main
from .terminal import progress_line

__all__ = ["COMMANDS", "main", "memory_argument", "parse", "progress_line"]
