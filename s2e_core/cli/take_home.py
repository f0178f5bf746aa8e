"""The command that sends an export to the Hub.

Knows the terminal and where a person's token comes from; the upload is `push_to_hub`.
"""

from __future__ import annotations

import argparse
import getpass
import os
import sys

from s2e_core.export import push_to_hub

from .terminal import progress_line


def push(options: argparse.Namespace) -> None:
    """An exported folder to the Hub, private unless --public; the token comes from HF_TOKEN or is asked for."""
    token = os.environ.get("HF_TOKEN", "")
    if not token and sys.stdin.isatty():
        token = getpass.getpass("Access token of your account on the Hub (not shown): ")
    with progress_line("uploading", "MB", 1_000_000) as progress:
        print(push_to_hub(options.folder, options.repo, token, private=not options.public, progress=progress))
