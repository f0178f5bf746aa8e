"""`python -m s2e_core COMMAND`: the command line without an installation."""

from .cli import main

if __name__ == "__main__":
    raise SystemExit(main())
