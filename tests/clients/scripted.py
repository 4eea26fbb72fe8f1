"""A scripted HTTP server over a real loopback socket, and a Keep that remembers what it kept."""

from __future__ import annotations

import hashlib
import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Self

from fhir_bridge.case.original import Blob, Original
from fhir_bridge.clients.patience import Patience
from fhir_bridge.errors import TooLarge

BUNDLE = b'{"resourceType":"Bundle","type":"searchset"}'
PATIENT = b'{"resourceType":"Patient","id":"1"}'
QUICK = Patience(first_seconds=0.01, longest_seconds=0.02)
CANARY = "canary-token-5f1c"
FHIR = {"Content-Type": "application/fhir+json"}


class MemoryKeep:
    """A store in memory that also notes in which order bodies and rows came."""

    def __init__(self) -> None:
        self.blobs: dict[str, bytes] = {}
        self.rows: list[Original] = []
        self.dropped = 0

    def writer(self, *, max_bytes: int) -> MemoryWriter:
        return MemoryWriter(self, max_bytes)

    def keep(self, original: Original) -> Original:
        assert original.sha256 in self.blobs, "a row before its bytes"
        self.rows.append(original)
        return original

    def body(self, original: Original) -> bytes:
        return self.blobs[original.sha256]


class MemoryWriter:
    def __init__(self, keep: MemoryKeep, max_bytes: int) -> None:
        self.keep, self.max_bytes, self.body, self.committed = keep, max_bytes, b"", False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.keep.dropped += not self.committed

    def write(self, chunk: bytes) -> None:
        self.body += chunk
        if len(self.body) > self.max_bytes:
            raise TooLarge(f"more than {self.max_bytes} bytes")

    def commit(self) -> Blob:
        self.committed = True
        digest = hashlib.sha256(self.body).hexdigest()
        self.keep.blobs[digest] = self.body
        return Blob(digest, len(self.body))


class Bearer:
    """A login that can be renewed, and counts how often it was."""

    name = "Authorization"

    def __init__(self, *values: str) -> None:
        self.values, self.renewals = list(values) or [CANARY], 0

    def header(self) -> str:
        return f"Bearer {self.values[0]}"

    def renewed(self, refused: str) -> str:
        self.renewals += 1
        if len(self.values) > 1:
            self.values.pop(0)
        return self.header()


@dataclass
class Call:
    """One request as the server saw it. Header names are lower case."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes


Reaction = Callable[["Door"], None]


class Door(BaseHTTPRequestHandler):
    """What a scripted reaction works with: `say` sends a whole answer, `raw` sends bytes."""

    protocol_version = "HTTP/1.1"
    call: Call

    def _any(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        headers = {name.lower(): value for name, value in self.headers.items()}
        self.call = Call(self.command, self.path, headers, body)
        scripted: Scripted = self.server.scripted  # type: ignore[attr-defined]
        scripted.calls.append(self.call)
        scripted.reaction(self.call)(self)

    def do_GET(self) -> None:
        self._any()

    def do_POST(self) -> None:
        self._any()

    def say(self, status: int, body: bytes = b"", headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def raw(self, text: bytes) -> None:
        """Send bytes as they are; the connection closes afterwards."""
        self.close_connection = True
        self.wfile.write(text)
        self.wfile.flush()

    def log_message(self, *args: object) -> None:
        """Nothing is printed."""


@dataclass
class Scripted:
    """A server that answers each path by a queue of reactions; the last one stays."""

    url: str
    calls: list[Call] = field(default_factory=list)
    script: dict[str, list[Reaction]] = field(default_factory=dict)

    def on(self, path: str, *reactions: Reaction) -> None:
        self.script[path] = list(reactions)

    def reaction(self, call: Call) -> Reaction:
        queue = self.script.get(call.path) or self.script.get(call.path.partition("?")[0])
        if not queue:
            return says(404, b"")
        return queue.pop(0) if len(queue) > 1 else queue[0]

    def paths(self) -> list[str]:
        return [call.path for call in self.calls]


def says(status: int, body: bytes = b"", headers: dict[str, str] | None = None) -> Reaction:
    """An ordinary answer."""
    return lambda door: door.say(status, body, headers)


def sends(text: bytes) -> Reaction:
    """These bytes and then the end of the connection."""
    return lambda door: door.raw(text)


class _Server(ThreadingHTTPServer):
    def handle_error(self, *args: object) -> None:
        """A client that hangs up is what many of these tests are about."""


@contextmanager
def scripted_server(host: str = "127.0.0.1") -> Iterator[Scripted]:
    server = _Server((host, 0), Door)
    server.daemon_threads = True
    server.scripted = Scripted(f"http://{host}:{server.server_port}")  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield server.scripted  # type: ignore[attr-defined]
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def utc_now() -> datetime:
    return datetime.now(UTC)


def new_id() -> str:
    return str(uuid.uuid4())
