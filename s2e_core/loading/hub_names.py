"""The names by which people call a model of the Hub: ids, with a revision or a file, addresses, folders of the cache.

Knows how names are written; asks neither the Hub nor, except for a folder of the cache, the disk.
"""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import unquote, urlsplit

from s2e_core.errors import ModelLoadError

from .file_names import GGUF

HUB_ID = re.compile(
    r"(?!.{250})([A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*(?:(?:/[A-Za-z0-9][\w.-]*)+\.gguf)?)"
    r"(?:@([A-Za-z0-9][\w.-]*(?:/[A-Za-z0-9][\w.-]*)*))?"
)
"""Model on the Hub, with or without a revision: owner/name@branch, tag or commit. No longer than a file name may be.

A GGUF file of a repository is owner/name/file.gguf, also with a revision.
"""
HOSTS = ("huggingface.co", "www.huggingface.co", "hf.co")
CACHED = re.compile(r"models--([A-Za-z0-9][\w.-]*?)--([A-Za-z0-9][\w.-]*)")
"""Name of a model's folder in the Hub's cache."""


def hub_name(source: str) -> str:
    """Return the id (owner/name, with @revision if it has one) of an address or a folder of the cache; others as is.

    Addresses are those of a model's page, of a revision (/tree/REVISION) and of a file (/blob/REVISION/file.gguf).
    """
    text = source.strip()
    parts = [part for part in text.split("/") if part]
    if parts and (match := CACHED.fullmatch(parts[0])):
        revision = parts[2] if len(parts) == 3 and parts[1] == "snapshots" else None
        return _join(match[1], match[2], None, revision) if len(parts) == 1 or revision else source
    address = urlsplit(text if "://" in text else f"https://{text}")
    if address.netloc.lower() not in HOSTS:
        return source
    owner, name, *rest = [unquote(part) for part in address.path.split("/") if part] + [""] * 2
    view, rest = (rest[0], [part for part in "/".join(rest[1:]).split("/") if part]) if rest else ("", [])
    size = 3 if rest[:1] == ["refs"] else 1
    revision, file = "/".join(rest[:size]) or None, "/".join(rest[size:]) or None
    is_page = not view or (view == "tree" and not file)
    is_file = view in ("blob", "resolve") and file is not None and file.endswith(GGUF)
    if not (owner and name and (is_page or is_file)):
        raise ModelLoadError(f"{text[:120]} is not the address of a model. Give the model's id, as in owner/name.")
    return _join(owner, name, file, revision)


def _join(owner: str, name: str, file: str | None, revision: str | None) -> str:
    whole = "/".join(filter(None, (owner, name, file)))
    return f"{whole}@{revision}" if revision else whole


def cached_snapshot(folder: Path) -> Path:
    """Return the snapshot to load of a folder of the cache (models--owner--name); any other folder as it is.

    It is that of the branch main, or else the only one. Raises ModelLoadError if neither is there.
    """
    match = CACHED.fullmatch(folder.name)
    if match is None or not (folder / "snapshots").is_dir():
        return folder
    snapshots = sorted(path for path in (folder / "snapshots").iterdir() if path.is_dir())
    main = folder / "refs" / "main"
    wanted = main.read_text(encoding="utf-8", errors="replace").strip() if main.is_file() else ""
    chosen = [path for path in snapshots if path.name == wanted] or snapshots
    if len(chosen) == 1:
        return chosen[0]
    names = " and ".join(path.name for path in snapshots[:3]) if snapshots else "none"
    raise ModelLoadError(
        f"{folder.name} contains {len(snapshots)} snapshots ({names}), and none of them is marked as main. Name one, "
        f"as in {folder.name}/snapshots/REVISION, or {match[1]}/{match[2]} to download the model."
    )


def split_revision(source: str | Path) -> tuple[str | Path, str | None]:
    """Return (source, revision): the revision follows the @ of a Hub id; None for a folder or an id without one."""
    match = HUB_ID.fullmatch(source) if isinstance(source, str) else None
    if match is None or match[2] is None or Path(source).exists():
        return source, None
    return match[1], match[2]


def split_file(source: str) -> tuple[str, str | None]:
    """Return (Hub id, GGUF file in its repository) of owner/name/file.gguf; None for a Hub id alone."""
    owner, _, rest = source.partition("/")
    name, _, file = rest.partition("/")
    return (f"{owner}/{name}", file) if file.endswith(GGUF) else (source, None)
