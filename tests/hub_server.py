"""A small Hub on the loopback, for the real client: repositories, commits, branches, and what goes wrong there.

Serves the requests that downloading a model makes, and those of a push (without Xet). Weights come, as from the Hub, by
a redirect to another host, in ranges where asked, and go to that host. Keeps a list of the requests.
"""

from __future__ import annotations

import base64
import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import NamedTuple
from urllib.parse import unquote, urlsplit

import pytest
from huggingface_hub import constants
from huggingface_hub.utils import _http, close_session
from transformers.utils import hub as transformers_hub

BLOCK = 1 << 14
LARGE = (".safetensors", ".jsonl")
"""Ends of the names of files that come by a redirect, as large ones do from the Hub."""


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
    private: bool = False

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
    bodies: list[bytes] = field(default_factory=list)
    """What was sent with the requests, in their order."""
    writers: dict[str, str] = field(default_factory=dict)
    """Token -> the one owner that it may write to."""
    refusals: dict[str, int] = field(default_factory=dict)
    """Part of a path -> the status that a POST or PUT there is answered with; 0 breaks the connection."""
    card_errors: tuple[str, ...] = ()
    """What it finds wrong in the front matter of a model card."""
    uploads: dict[str, bytes] = field(default_factory=dict)
    """Large files by their hash, before and after they belong to a commit."""
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
    monkeypatch.setattr(transformers_hub, "_hf_api", None)  # keeps the address of when it was first used
    close_session()


def use_hub_to_write(monkeypatch: pytest.MonkeyPatch, hub: HubServer, cache: Path, token: str, owner: str) -> None:
    """An empty `hub` that lets `token` write to `owner`'s repositories, for a client that repeats without a pause."""
    hub.repositories, hub.requests, hub.bodies, hub.uploads, hub.refusals = {}, [], [], {}, {}
    hub.writers = {token: owner}
    use_hub(monkeypatch, hub.address, cache)
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    monkeypatch.setattr(_http, "time", SimpleNamespace(sleep=lambda seconds: None, time=lambda: 0.0))


class _Handler(BaseHTTPRequestHandler):
    hub: HubServer
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self._answer(body=True)

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def do_POST(self) -> None:
        self._take(json_body=True)

    def do_PUT(self) -> None:
        self._take(json_body=False)

    def _take(self, *, json_body: bool) -> None:
        path = unquote(urlsplit(self.path).path)
        token = self.headers.get("Authorization", "")
        self.hub.requests.append(Request(self.command, path, "", token))
        status = next((status for part, status in self.hub.refusals.items() if part in path), None)
        if status == 0:
            self.close_connection = True
            return self.connection.shutdown(2)
        body = self._body()
        self.hub.bodies.append(body)
        if status is not None:
            return self._refuse(status, "")
        if path.startswith("/upload/"):
            self.hub.uploads[path.rsplit("/", 1)[1]] = body
            return self._send(200, {"Content-Length": "0"}, b"")
        owner = self.hub.writers.get(token.removeprefix("Bearer "))
        if owner is None:
            return self._refuse(401, "")
        self._write(path, body, owner)

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length", "0")))
        parts = []
        while size := int(self.rfile.readline(), 16):
            parts.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(parts)

    def _write(self, path: str, body: bytes, owner: str) -> None:
        if path == "/api/validate-yaml" and self.hub.card_errors:
            errors = [{"message": message} for message in self.hub.card_errors]
            return self._json({"errors": errors, "warnings": []}, status=400)
        if path == "/api/validate-yaml" or path == "/verify":
            return self._json({"errors": [], "warnings": []})
        if path == "/api/repos/create":
            asked = json.loads(body)
            repo_id = f"{asked['organization']}/{asked['name']}"
            if asked["organization"] != owner:
                return self._refuse(403, "")
            if repo_id in self.hub.repositories:
                return self._refuse(409, "")
            private = asked.get("visibility") == "private" or asked.get("private", False)
            self.hub.repositories[repo_id] = Repository({".gitattributes": b""}, private=private)
            return self._json({"url": f"{self.hub.address}/{repo_id}"})
        if path.endswith(".git/info/lfs/objects/batch"):
            return self._json({"transfer": "basic", "objects": [self._batch(o) for o in json.loads(body)["objects"]]})
        parts = path.strip("/").split("/")  # api models owner name what revision
        repository = self.hub.repositories.get("/".join(parts[2:4]))
        if repository is None:
            return self._refuse(404, "RepoNotFound")
        if parts[4] == "preupload":
            files = json.loads(body)["files"]
            return self._json({"files": [_upload_mode(file["path"]) for file in files]})
        self._commit("/".join(parts[2:4]), repository, [json.loads(line) for line in body.splitlines()])

    def _batch(self, asked: dict[str, object]) -> dict[str, object]:
        if asked["oid"] in self.hub.uploads:
            return asked
        storage = f"http://localhost:{self.hub.port}/upload/{asked['oid']}"
        actions = {"upload": {"href": storage}, "verify": {"href": f"{self.hub.address}/verify"}}
        return asked | {"actions": actions}

    def _commit(self, repo_id: str, repository: Repository, lines: list[dict[str, dict[str, str]]]) -> None:
        for line in lines:
            value = line["value"]
            if line["key"] == "file":
                repository.files[value["path"]] = base64.b64decode(value["content"])
            elif line["key"] == "lfsFile":
                repository.files[value["path"]] = self.hub.uploads[value["oid"]]
        address = f"{self.hub.address}/{repo_id}/commit/{repository.commit}"
        self._json({"commitUrl": address, "commitOid": repository.commit})

    def log_message(self, *_: object) -> None:
        pass

    def _answer(self, *, body: bool) -> None:
        path = unquote(urlsplit(self.path).path)
        asked = Request(self.command, path, self.headers.get("Range", ""), self.headers.get("Authorization", ""))
        self.hub.requests.append(asked)
        parts = path.strip("/").split("/")
        if parts[0] == "cdn":
            return self._weights(parts[1], body=body)
        api = parts[0] == "api" and parts[1] in ("models", "datasets")
        parts = parts[2:] if api else parts[1:] if parts[0] == "datasets" else parts
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
        if name.endswith(LARGE):
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

    def _json(self, value: object, status: int = 200) -> None:
        content = json.dumps(value).encode()
        self._send(status, {"Content-Type": "application/json", "Content-Length": str(len(content))}, content)

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
    names = {"_id": "1", "id": model_id, "modelId": model_id}
    return names | {"sha": repository.commit, "siblings": files, "private": repository.private}


def _upload_mode(path: str) -> dict[str, object]:
    mode = "lfs" if path.endswith(LARGE) else "regular"
    return {"path": path, "uploadMode": mode, "shouldIgnore": False, "oid": None}


def _tree(repository: Repository) -> list[dict[str, object]]:
    files = repository.files.items()
    return [{"type": "file", "path": name, "size": len(c), "oid": _oid(c)} for name, c in files]


def _oid(content: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
