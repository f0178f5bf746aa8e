"""The program: `python -m s2e_core`, and `steer2edit` where the package is installed."""

import signal

from .cli import main


def run() -> int:
    """The command line of this process; a program ended from outside cleans up as after Ctrl+C."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    return main()


if __name__ == "__main__":
    raise SystemExit(run())
