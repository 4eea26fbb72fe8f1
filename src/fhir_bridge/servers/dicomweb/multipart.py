"""A multipart/related body taken apart part by part, without holding a part in memory."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from email.message import Message

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser

from fhir_bridge.errors import Truncated, Unreadable

MAX_PARTS = 20_000
_BEGIN, _CHUNK, _END = "begin", "chunk", "end"


class Part:
    """One part: its headers (names in lower case) and its content, to be read once, in order."""

    def __init__(self, headers: dict[str, str], content: Iterator[bytes]) -> None:
        self.headers, self.content = headers, content


class Parts:
    """
    The parts of a body whose chunks `body` gives (RFC 2046 5.1, PS3.18 8.6.1.2).

    Iterating reads on in the body; what was not read of a part is skipped. Raises Truncated when
    the body ends before the closing boundary and Unreadable when it is no multipart at all.
    """

    def __init__(self, body: Iterator[bytes], boundary: str) -> None:
        self._body = body
        self._events: deque[tuple[str, bytes]] = deque()
        self._headers: dict[str, str] = {}
        self._field = self._value = b""
        self._over = False
        try:
            self._parser = MultipartParser(
                boundary,
                {
                    "on_header_field": self._on_field,
                    "on_header_value": self._on_value,
                    "on_header_end": self._on_header,
                    "on_headers_finished": lambda: self._events.append((_BEGIN, b"")),
                    "on_part_data": lambda data, start, end: self._events.append(
                        (_CHUNK, data[start:end])
                    ),
                    "on_part_end": lambda: self._events.append((_END, b"")),
                    "on_end": self._on_end,
                },
            )
        except FormParserError:
            raise Unreadable("a boundary that is not allowed") from None

    def __iter__(self) -> Iterator[Part]:
        for _ in range(MAX_PARTS):
            if not self._next_part():
                return
            headers, self._headers = self._headers, {}
            content = self._content()
            yield Part(headers, content)
            for _skipped in content:
                pass
        raise Unreadable(f"more than {MAX_PARTS} parts")

    def _next_part(self) -> bool:
        while not self._events:
            if not self._read():
                return False
        kind, _ = self._events.popleft()
        if kind != _BEGIN:
            raise Unreadable("content without a part")
        return True

    def _content(self) -> Iterator[bytes]:
        while True:
            while not self._events:
                if not self._read():
                    raise Truncated("the body ended inside a part")
            kind, chunk = self._events.popleft()
            if kind == _END:
                return
            yield chunk

    def _read(self) -> bool:
        if self._over:
            return False
        chunk = next(self._body, None)
        if chunk is None:
            raise Truncated("the body ended before its closing boundary")
        try:
            self._parser.write(chunk)
        except FormParserError:
            raise Unreadable("the body is no multipart with the boundary it announces") from None
        return True

    def _on_field(self, data: bytes, start: int, end: int) -> None:
        self._field += data[start:end]

    def _on_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _on_header(self) -> None:
        name = self._field.decode("latin-1").strip().lower()
        self._headers[name] = self._value.decode("latin-1").strip()
        self._field = self._value = b""

    def _on_end(self) -> None:
        self._over = True


def media_type(header: str) -> tuple[str, dict[str, str]]:
    """
    A Content-Type taken apart: the type in lower case and its parameters.

    >>> media_type('multipart/related; type="application/dicom"; boundary=x')
    ('multipart/related', {'type': 'application/dicom', 'boundary': 'x'})
    """
    message = Message()
    message["content-type"] = header.replace("\r", "").replace("\n", "")
    parameters = message.get_params(failobj=[])[1:]
    return message.get_content_type(), {name.lower(): value for name, value in parameters}
