"""Parts of a multipart/related answer, whole ones only, one by one while they stream in."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import chain
from tempfile import SpooledTemporaryFile
from typing import IO

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from fhir_bridge.errors import DicomError, Truncated

PIECE = 1024 * 1024
IN_MEMORY = 8 * PIECE
_LONGEST_BOUNDARY = 256
_LONGEST_PREAMBLE = 64 * 1024
_MOST_HEADERS, _LONGEST_HEADER = 16, 8 * 1024


@dataclass(slots=True)
class Part:
    """One whole part: headers in lower case, content in a file (in memory while it is small)."""

    headers: dict[str, str] = field(default_factory=dict)
    size: int = 0
    file: IO[bytes] = field(default_factory=lambda: SpooledTemporaryFile(max_size=IN_MEMORY))  # noqa: SIM115 (closed with the part)

    def write(self, chunk: bytes) -> None:
        """Append to the content."""
        self.size += self.file.write(chunk)

    def start(self, length: int) -> bytes:
        """The first bytes of the content."""
        self.file.seek(0)
        return self.file.read(length)

    def chunks(self) -> Iterator[bytes]:
        """The content in pieces of 1 MiB."""
        self.file.seek(0)
        while piece := self.file.read(PIECE):
            yield piece

    def close(self) -> None:
        """Drop the content."""
        self.file.close()


def whole(chunks: Iterable[bytes], headers: Mapping[str, str]) -> Iterator[Part]:
    """A body that is no multipart, as its only part."""
    part = Part(dict(headers))
    for chunk in chunks:
        part.write(chunk)
    yield part


def parts(chunks: Iterable[bytes], content_type: str) -> Iterator[Part]:
    """
    The parts of a multipart body (RFC 2046 5.1), each when it is whole.

    The caller closes each. Raises Truncated when the closing delimiter is missing, after every
    whole part was handed out; the part that broke off is thrown away. DicomError when there is no
    boundary at all. A boundary that is quoted oddly or not announced is found in the body.
    """
    reader = _Reader()
    stream = iter(chunks)
    boundary, begun = _begin(stream, content_type)
    parser = MultipartParser(
        boundary, reader.callbacks(),  # type: ignore[arg-type]  # a plain dict of the same shape
        max_header_count=_MOST_HEADERS, max_header_size=_LONGEST_HEADER,
    )  # fmt: skip
    try:
        for chunk in chain((begun,), stream):
            parser.write(chunk)
            yield from reader.finished()
    except FormParserError:
        raise Truncated("a multipart answer is broken") from None
    finally:
        reader.drop()
    if not reader.ended:
        raise Truncated("a multipart answer has no closing delimiter")


def _begin(stream: Iterator[bytes], content_type: str) -> tuple[bytes, bytes]:
    """The boundary, and the body from its first delimiter on."""
    announced = parse_options_header(content_type)[1].get(b"boundary", b"")
    wanted = [b for b in (announced, announced.strip(b"'\"")) if b]
    begun = b""
    for chunk in stream:
        begun += chunk
        for boundary in wanted:
            at = _line_start(begun, b"--" + boundary)
            if at is not None:
                return boundary, begun[at:]
        if len(begun) > _LONGEST_PREAMBLE:
            break
    return _found_in(begun)


def _line_start(body: bytes, line: bytes) -> int | None:
    if body.startswith(line):
        return 0
    at = body.find(b"\n" + line)
    return None if at < 0 else at + 1


def _found_in(body: bytes) -> tuple[bytes, bytes]:
    at = _line_start(body, b"--")
    if at is None:
        raise DicomError("a multipart answer without delimiters")
    line, end, _ = body[at : at + _LONGEST_BOUNDARY].partition(b"\r\n")
    if not end:
        raise DicomError("a multipart answer without delimiters")
    return line[2:].rstrip(), body[at:]


class _Reader:
    """What the parser calls; a part is finished when its closing delimiter was seen."""

    def __init__(self) -> None:
        self.ended = False
        self._part: Part | None = None
        self._name, self._value = b"", b""
        self._finished: list[Part] = []

    def callbacks(self) -> dict[str, object]:
        """By the parser's names."""
        return {
            "on_part_begin": self._begin,
            "on_header_field": self._header_name,
            "on_header_value": self._header_value,
            "on_header_end": self._header_end,
            "on_part_data": self._content,
            "on_part_end": self._end,
            "on_end": self._last,
        }

    def finished(self) -> Iterator[Part]:
        """The parts that became whole since the last call."""
        while self._finished:
            yield self._finished.pop(0)

    def drop(self) -> None:
        """Close what nobody took, the part that broke off included."""
        for part in (*self._finished, *filter(None, [self._part])):
            part.close()

    def _begin(self) -> None:
        self._part = Part()

    def _header_name(self, text: bytes, start: int, end: int) -> None:
        self._name += text[start:end]

    def _header_value(self, text: bytes, start: int, end: int) -> None:
        self._value += text[start:end]

    def _header_end(self) -> None:
        if self._part is not None:
            name, value = self._name.decode("latin-1"), self._value.decode("latin-1")
            self._part.headers[name.lower()] = value
        self._name, self._value = b"", b""

    def _content(self, text: bytes, start: int, end: int) -> None:
        if self._part is not None:
            self._part.write(text[start:end])

    def _end(self) -> None:
        if self._part is not None:
            self._finished.append(self._part)
        self._part = None

    def _last(self) -> None:
        self.ended = True
