"""What the hospital saw: one line per request, without queries and without bodies."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

_KEPT = 20_000


@dataclass(frozen=True, slots=True)
class Request:
    """`status` is the HTTP status, the DIMSE status, or 0 for no answer at all."""

    time: str
    method: str
    path: str
    status: int


class Requests:
    """The newest requests, oldest first; safe between the HTTP loop and DIMSE threads."""

    def __init__(self, clock: Callable[[], datetime]) -> None:
        self._clock = clock
        self._lines: deque[Request] = deque(maxlen=_KEPT)
        self._lock = threading.Lock()

    def note(self, method: str, path: str, status: int) -> None:
        """Write one line down."""
        with self._lock:
            self._lines.append(Request(self._clock().isoformat(), method, path, status))

    def as_json(self) -> list[dict[str, Any]]:
        """All lines as objects."""
        with self._lock:
            return [asdict(line) for line in self._lines]


def noting(app: ASGIApp, requests: Requests, *, but: str) -> ASGIApp:
    """An app that notes each request with the status that really left; not those below `but`."""

    async def noted(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"].startswith(but):
            await app(scope, receive, send)
            return
        status = 0

        async def watch(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await app(scope, receive, watch)
        finally:
            requests.note(scope["method"], scope["path"], status)

    return noted
