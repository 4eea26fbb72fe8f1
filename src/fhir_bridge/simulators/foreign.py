"""Somebody else's document server, on its own port: it notes what was brought to its door."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

SIGNED_SECONDS = 600
_NOTHING_FOLLOWS = b'{"resourceType":"Bundle","type":"searchset","total":0}'


@dataclass(slots=True)
class Foreign:
    """
    Serves one document to everybody; header names are noted, header values never.

    `/documents/...` is the document, `/signed/...` the document for `SIGNED_SECONDS` after the
    start and only without a login, as presigned addresses are. Anything else is an empty searchset:
    what a client believes that follows a next link here.
    """

    content_type: str
    body: bytes
    visits: list[dict[str, Any]] = field(default_factory=list)
    origin: str = ""
    _server: ThreadingHTTPServer | None = None

    def start(self) -> Foreign:
        """Listen on a free loopback port."""
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _door(self, time.monotonic()))
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        self.origin = f"http://127.0.0.1:{self._server.server_port}"
        return self

    @property
    def url(self) -> str:
        """Where the document is."""
        return f"{self.origin}/documents/1"

    def stop(self) -> None:
        """Stop listening."""
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()

    def as_json(self) -> dict[str, Any]:
        """The visits, and whether any of them brought an Authorization or a cookie."""
        secret = any(visit["authorization"] for visit in self.visits)
        return {"visits": self.visits, "authorization": secret}

    def answer(self, path: str, *, secret: bool, age_seconds: float) -> tuple[int, str, bytes]:
        """Status, content type and body for a path."""
        if path.startswith("/documents/"):
            return 200, self.content_type, self.body
        if not path.startswith("/signed/"):
            return 200, "application/fhir+json", _NOTHING_FOLLOWS
        if secret:
            return 400, "application/xml", b"<Error><Code>InvalidArgument</Code></Error>"
        if age_seconds > SIGNED_SECONDS or "signature=fresh" not in path:
            return 403, "application/xml", b"<Error><Code>AccessDenied</Code></Error>"
        return 200, self.content_type, self.body


def _door(foreign: Foreign, opened: float) -> type[BaseHTTPRequestHandler]:
    class Door(BaseHTTPRequestHandler):
        wbufsize = -1  # one write an answer, so that the client does not wait for its own ACK

        def do_GET(self) -> None:
            names = sorted(name.lower() for name in self.headers)
            secret = any(name in ("authorization", "cookie") for name in names)
            path = self.path.partition("?")[0]
            foreign.visits.append({"path": path, "headers": names, "authorization": secret})
            age = time.monotonic() - opened
            status, kind, body = foreign.answer(self.path, secret=secret, age_seconds=age)
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
            """Nothing is printed; `visits` is the log."""

    return Door
