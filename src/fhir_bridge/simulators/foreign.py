"""Somebody else's document server, on its own port: it notes what was brought to its door."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass(slots=True)
class Foreign:
    """Serves one document to everybody; header names are noted, header values never."""

    content_type: str
    body: bytes
    url: str = ""
    visits: list[dict[str, Any]] = field(default_factory=list)
    _server: ThreadingHTTPServer | None = None

    def start(self) -> str:
        """Listen on a free loopback port; answers the document's URL."""
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _door(self))
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self._server.server_port}/documents/1"
        return self.url

    def stop(self) -> None:
        """Stop listening."""
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()

    def as_json(self) -> dict[str, Any]:
        """The visits, and whether any of them brought an Authorization or a cookie."""
        secret = any(visit["authorization"] for visit in self.visits)
        return {"visits": self.visits, "authorization": secret}


def _door(foreign: Foreign) -> type[BaseHTTPRequestHandler]:
    class Door(BaseHTTPRequestHandler):
        wbufsize = -1  # one write an answer, so that the client does not wait for its own ACK

        def do_GET(self) -> None:
            names = sorted(name.lower() for name in self.headers)
            secret = "authorization" in names or "cookie" in names
            foreign.visits.append({"headers": names, "authorization": secret})
            self.send_response(200)
            self.send_header("Content-Type", foreign.content_type)
            self.send_header("Content-Length", str(len(foreign.body)))
            self.end_headers()
            self.wfile.write(foreign.body)

        def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
            """Nothing is printed; `visits` is the log."""

    return Door
