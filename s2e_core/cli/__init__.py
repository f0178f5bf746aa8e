"""The command line: `python -m s2e_core COMMAND`, or `steer2edit COMMAND` when installed.

Knows arguments and the terminal; every computation is a function of the core. Results go to standard output, progress
and notes to standard error; bad input ends with one sentence and exit status 2.
"""

from .arguments import add_outliers, add_variations, chosen_outliers, parse_memory
from .main import COMMANDS, main, parse, program_name
from .terminal import ProgressLine

__all__ = [
    "COMMANDS",
    "ProgressLine",
    "add_outliers",
    "add_variations",
    "chosen_outliers",
    "main",
    "parse",
    "parse_memory",
    "program_name",
]
