"""`python -m s2e_core`: the command line."""

import signal

from .cli import main

if __name__ == "__main__":
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # a program ended from outside cleans up as after Ctrl+C
    raise SystemExit(main())
