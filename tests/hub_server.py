"""A small Hub on the loopback, for the real client: repositories, commits, branches, and what goes wrong there.

Serves the requests that downloading a model makes. Weights come, as from the Hub, by a redirect to another host, in
ranges where asked. Keeps a list of the requests.
"""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import NamedTuple
from urllib.parse import unquote, urlsplit

import pytest
from huggingface_hub import constants
from huggingface_hub.utils import close_session

BLOCK = 1 << 14


class Request(NamedTuple):
    method: str
    path: str
    range: str
    token: str


@dataclass
class Repository:
    """Files by name at one commit, and the names of branches and tags that lead there."""

    files: dict[str, bytes]
    refs: tuple[str, ...] = ("main", "v1.0")
    refusal: tuple[int, str] | None = None
    """(status, X-Error-Code) for every request of a file, as a gated repository answers."""
    hidden: tuple[int, str] | None = None
    """The same for every request whatever."""

    @property
    def commit(self) -> str:
        return hashlib.sha1(repr(sorted(self.files.items())).encode()).hexdigest()

    @classmethod
    def of(cls, folder: Path, **changes: object) -> Repository:
        return cls({p.name: p.read_bytes() for p in sorted(folder.iterdir()) if p.is_file()}, **changes)


@dataclass
class HubServer:
    """What it offers, how it misbehaves, and what was asked of it."""

    repositories: dict[str, Repository] = field(default_factory=dict)
    breaks: list[int] = field(default_factory=list)
    """Bytes of weights after which the next connections break; one number each, then all is well again."""
    ranges: bool = True
    """Whether it sends a part where a part is asked for."""
    seconds_a_block: float = 0.0
    requests: list[Request] = field(default_factory=list)
    port: int = 0

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def of_weights(self) -> list[Request]:
        return [request for request in self.requests if request.path.startswith("/cdn/")]


@contextmanager
def running_hub() -> Iterator[HubServer]:
    hub = HubServer()
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"hub": hub}))
    server.daemon_threads = True
    hub.port = server.server_port
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def use_hub(monkeypatch: pytest.MonkeyPatch, address: str, cache: Path) -> None:
    """Let the client of this process ask `address` and keep files in `cache`; it reads its variables at import."""
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "ENDPOINT", address)
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", address + "/{repo_id}/resolve/{revision}/{filename}")
    monkeypatch.setattr(constants, "HF_URL_HOSTS", frozenset({"127.0.0.1"}))
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(cache))
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(cache / "no-token"))
    monkeypatch.delenv("HF_TOKEN", raising=False)
    close_session()


class _Handler(BaseHTTPRequestHandler):
    hub: HubServer
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self._answer(body=True)

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def log_message(self, *_: object) -> None:
        pass

    def _answer(self, *, body: bool) -> None:
        path = unquote(urlsplit(self.path).path)
        asked = Request(self.command, path, self.headers.get("Range", ""), self.headers.get("Authorization", ""))
        self.hub.requests.append(asked)
        parts = path.strip("/").split("/")
        if parts[0] == "cdn":
            return self._weights(parts[1], body=body)
        api = parts[:2] == ["api", "models"]
        parts = parts[2:] if api else parts
        repository = self.hub.repositories.get("/".join(parts[:2]))
        if repository is None:
            return self._refuse(401, "RepoNotFound")
        if repository.hidden:
            return self._refuse(*repository.hidden)
        what, revision = (parts[2], parts[3]) if len(parts) > 3 else ("revision", "main")
        if revision not in (*repository.refs, repository.commit):
            return self._refuse(404, "RevisionNotFound")
        if api:
            return self._json(_tree(repository) if what == "tree" else _info("/".join(parts[:2]), repository))
        if repository.refusal:
            return self._refuse(*repository.refusal)
        name = "/".join(parts[4:])
        if name not in repository.files:
            return self._refuse(404, "EntryNotFound")
        return self._file(repository, name, body=body)

    def _file(self, repository: Repository, name: str, *, body: bool) -> None:
        content = repository.files[name]
        headers = {"X-Repo-Commit": repository.commit, "ETag": f'"{_oid(content)}"'}
        if name.endswith(".safetensors"):
            digest = hashlib.sha256(content).hexdigest()
            headers |= {"X-Linked-ETag": f'"{digest}"', "X-Linked-Size": str(len(content)), "Content-Length": "0"}
            headers["Location"] = f"http://localhost:{self.hub.port}/cdn/{digest}"
            return self._send(302, headers, b"")
        self._send(200, headers | {"Content-Length": str(len(content))}, content if body else b"")

    def _weights(self, digest: str, *, body: bool) -> None:
        contents = (c for repository in self.hub.repositories.values() for c in repository.files.values())
        content = next(c for c in contents if hashlib.sha256(c).hexdigest() == digest)
        asked = self.headers.get("Range", "bytes=0-") if self.hub.ranges else "bytes=0-"
        first = int(asked.removeprefix("bytes=").split("-")[0])
        headers = {"Content-Length": str(len(content) - first), "Accept-Ranges": "bytes"}
        if first:
            headers["Content-Range"] = f"bytes {first}-{len(content) - 1}/{len(content)}"
        self._send(206 if first else 200, headers, b"")
        rest = content[first:] if body else b""
        limit = self.hub.breaks.pop(0) if self.hub.breaks else len(rest)
        with suppress(ConnectionError):  # the client was stopped
            for start in range(0, min(limit, len(rest)), BLOCK):
                self.wfile.write(rest[start : min(start + BLOCK, limit)])
                if self.hub.seconds_a_block:
                    threading.Event().wait(self.hub.seconds_a_block)
        if limit < len(rest):
            self.close_connection = True

    def _json(self, value: object) -> None:
        content = json.dumps(value).encode()
        self._send(200, {"Content-Type": "application/json", "Content-Length": str(len(content))}, content)

    def _refuse(self, status: int, code: str) -> None:
        self._send(status, {"Content-Length": "0"} | ({"X-Error-Code": code} if code else {}), b"")

    def _send(self, status: int, headers: dict[str, str], content: bytes) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)


def _info(model_id: str, repository: Repository) -> dict[str, object]:
    files = [
        {"rfilename": name, "size": len(content), "blobId": _oid(content)} for name, content in repository.files.items()
    ]
    return {"_id": "1", "id": model_id, "modelId": model_id, "sha": repository.commit, "siblings": files}


def _tree(repository: Repository) -> list[dict[str, object]]:
    files = repository.files.items()
    return [{"type": "file", "path": name, "size": len(c), "oid": _oid(c)} for name, c in files]


def _oid(content: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
