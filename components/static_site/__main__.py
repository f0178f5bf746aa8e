"""The command line of the static site: python -m components.static_site OUT."""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from components.page.options import options, store_of
from s2e_core import S2EError

from .build import build


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(prog="python -m components.static_site", description=__doc__)
    parser.add_argument("out", type=Path, metavar="OUT", help="a new folder, or an empty one")
    out = parser.parse_args(arguments).out
    try:
        with tempfile.TemporaryDirectory() as work:
            build(store_of(options([]), Path(work)), out, progress=lambda line: print(line, flush=True))
    except S2EError as error:
        sys.exit(str(error))
    print(f"Put {out} behind any web server, for example: python3 -m http.server --directory {out}")


if __name__ == "__main__":
    main(sys.argv[1:])
