"""Bodies on their way in: bounded, and only whole when their end was really seen."""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Iterator, Mapping

from fhir_bridge.errors import NotFhir, TooLarge, Truncated

PIECE = 256 * 1024


def framing(headers: Mapping[str, str]) -> str:
    """
    How the end of a body is known (RFC 9112 6.3): `length`, `chunked` or `close`.

    Of `close` nothing but the content itself can tell whether it is whole. Header names are lower
    case.
    """
    if "chunked" in headers.get("transfer-encoding", "").lower():
        return "chunked"
    return "length" if "content-length" in headers else "close"


def decoder(coding: str) -> Decoder:
    """The decoder for a Content-Encoding; raises NotFhir for one that was never asked for."""
    match coding.strip().lower():
        case "" | "identity":
            return Decoder()
        case "gzip" | "x-gzip":
            return Inflater(zlib.MAX_WBITS | 16)
        case "deflate":
            return Deflater()
    raise NotFhir("the answer has a content coding that was not asked for")


class Decoder:
    """The body as it is; counts what came over the wire."""

    def __init__(self) -> None:
        self.wire_size = 0

    def feed(self, chunk: bytes) -> Iterator[bytes]:
        """What a chunk of the wire means, in bounded pieces."""
        self.wire_size += len(chunk)
        yield from self._decoded(chunk)

    def _decoded(self, chunk: bytes) -> Iterator[bytes]:
        yield chunk

    def finish(self) -> None:
        """The wire has ended; raises Truncated when the coding has not."""

    def facts(self) -> dict[str, str]:
        """What the wire carried, where that differs from what is stored."""
        return {}


class Inflater(Decoder):
    """gzip (RFC 1952), one member or several; a stream without its trailer is truncated."""

    def __init__(self, window: int) -> None:
        super().__init__()
        self._window, self._inflate = window, zlib.decompressobj(window)
        self._hash = hashlib.sha256()

    def feed(self, chunk: bytes) -> Iterator[bytes]:
        """The same, and the hash of what came over the wire: the store has the decoded bytes."""
        self._hash.update(chunk)
        yield from super().feed(chunk)

    def _decoded(self, chunk: bytes) -> Iterator[bytes]:
        while chunk:
            if self._inflate.eof:
                self._inflate = zlib.decompressobj(self._window)
            piece = self._piece(chunk)
            yield piece
            # A full piece may leave input unread, or output that only another call brings out.
            while len(piece) == PIECE and not self._inflate.eof:
                piece = self._piece(self._inflate.unconsumed_tail)
                yield piece
            chunk = self._inflate.unused_data

    def _piece(self, chunk: bytes) -> bytes:
        try:
            return self._inflate.decompress(chunk, PIECE)
        except zlib.error:
            raise Truncated("a compressed body is broken") from None

    def finish(self) -> None:
        """Raises Truncated unless the compressed stream ended by its own trailer."""
        if self.wire_size and not self._inflate.eof:
            raise Truncated("a compressed body has no end")

    def facts(self) -> dict[str, str]:
        """Size and hash of the compressed bytes; the store has the decoded ones."""
        return {"encoded_size": str(self.wire_size), "encoded_sha256": self._hash.hexdigest()}


class Deflater(Inflater):
    """`deflate` (RFC 9110 8.4.1.2): zlib, or the raw stream that some servers send instead."""

    def __init__(self) -> None:
        super().__init__(zlib.MAX_WBITS)
        self._begun = False

    def _decoded(self, chunk: bytes) -> Iterator[bytes]:
        if chunk and not self._begun:
            self._begun = True
            if chunk[0] & 0x0F != zlib.DEFLATED:
                self._window = -zlib.MAX_WBITS
                self._inflate = zlib.decompressobj(self._window)
        yield from super()._decoded(chunk)


class Cap:
    """Counts decoded bytes; raises TooLarge beyond the cap."""

    def __init__(self, max_bytes: int) -> None:
        self._left, self._max_bytes = max_bytes, max_bytes

    def take(self, count: int) -> None:
        """That many more bytes."""
        self._left -= count
        if self._left < 0:
            raise TooLarge(f"an answer of more than {self._max_bytes} bytes")
