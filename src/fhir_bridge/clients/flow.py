"""An open answer: status and headers are here, the body comes as it is asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from fhir_bridge.clients.ask import Kind
from fhir_bridge.clients.body import Cap, Decoder, framing
from fhir_bridge.clients.network import Deadline
from fhir_bridge.errors import ProviderUnreachable


@dataclass(frozen=True, slots=True)
class Flow:
    """
    An answer whose body has not been read. Header names are lower case.

    `kind` decides cap and memory: what was asked for, or `page` for refusals and for JSON where a
    file was asked for. `raw` is the body as it comes over the wire, with typed errors; `close`
    gives the connection back, or drops it when the body was not read to its end.
    """

    url: str
    status: int
    headers: Mapping[str, str]
    foreign: bool
    kind: Kind
    raw: Iterator[bytes]
    close: Callable[[], None]
    decoder: Decoder
    deadline: Deadline
    cap: Cap

    @property
    def good(self) -> bool:
        """Whether the status is 2xx."""
        return 200 <= self.status < 300

    def chunks(self) -> Iterator[bytes]:
        """
        The decoded body. Raises Truncated when it ends early, ProviderUnreachable past the
        deadline and TooLarge beyond the cap.
        """
        while (raw := self._next()) is not None:
            for piece in self.decoder.feed(raw):
                self.cap.take(len(piece))
                yield piece
        self.decoder.finish()

    def _next(self) -> bytes | None:
        with self.deadline.ruling():
            raw = next(self.raw, None)
        if raw is not None:
            self.deadline.arrived(len(raw))
            if self.deadline.remaining() <= 0:
                raise ProviderUnreachable("no whole answer before the deadline")
        return raw

    def facts(self) -> dict[str, str]:
        """How the body was framed and coded."""
        return {"framing": framing(self.headers), **self.decoder.facts()}
