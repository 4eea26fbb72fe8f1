"""Sockets under rules: no exchange outlives its deadline, no name leads to a private address."""

from __future__ import annotations

import socket
import ssl
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from typing import Any

import httpcore2

from fhir_bridge.clients.origins import is_public
from fhir_bridge.errors import ForeignAddress, ProviderUnreachable

READ_BYTES = 256 * 1024
SocketOptions = Iterable[httpcore2.SOCKET_OPTION] | None


class Deadline:
    """
    The end of one whole exchange, header and body, in seconds from now.

    With `bytes_per_second` each byte that arrives moves the end: a big image at a fair speed may
    take long, a drip may not.
    """

    def __init__(
        self,
        seconds: float,
        *,
        bytes_per_second: float | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._clock, self._rate = clock, bytes_per_second
        self._end = clock() + seconds

    def remaining(self) -> float:
        """Seconds left; none or fewer when it has passed."""
        return self._end - self._clock()

    def arrived(self, count: int) -> None:
        """That many bytes came."""
        if self._rate is not None:
            self._end += count / self._rate

    @contextmanager
    def ruling(self) -> Iterator[None]:
        """While this is open, every socket of this thread obeys the deadline."""
        token = _ruling.set(self)
        try:
            yield
        finally:
            _ruling.reset(token)


_ruling: ContextVar[Deadline | None] = ContextVar("deadline", default=None)


def _within(timeout: float | None, late: type[httpcore2.TimeoutException]) -> float | None:
    deadline = _ruling.get()
    if deadline is None:
        return timeout
    left = deadline.remaining()
    if left <= 0:
        raise late("the deadline of the whole exchange has passed")
    return left if timeout is None else min(timeout, left)


class _Stream(httpcore2.NetworkStream):
    def __init__(self, stream: httpcore2.NetworkStream, *, trusted: bool = True) -> None:
        self._stream, self._trusted = stream, trusted

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        # The library asks for little at a time, and every time costs it more than the bytes.
        return self._stream.read(
            max(max_bytes, READ_BYTES), _within(timeout, httpcore2.ReadTimeout)
        )

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._stream.write(buffer, _within(timeout, httpcore2.WriteTimeout))

    def close(self) -> None:
        self._stream.close()

    def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,
    ) -> httpcore2.NetworkStream:
        left = _within(timeout, httpcore2.ConnectTimeout)
        # Our certificate and the endpoint's private authorities are between it and us: another
        # host is told neither who we are nor vouched for by them.
        if not self._trusted:
            ssl_context = elsewhere()
        stream = self._stream.start_tls(ssl_context, server_hostname, left)
        return _Stream(stream, trusted=self._trusted)

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)


@cache
def elsewhere() -> ssl.SSLContext:
    """The TLS for hosts that are not the endpoint's: the machine's authorities, no certificate."""
    plain = ssl.create_default_context()
    plain.set_alpn_protocols(["http/1.1"])
    return plain


class GuardedNetwork(httpcore2.NetworkBackend):
    """
    Connects to trusted (host, port) pairs wherever they are, to others only on the open internet.

    A name is resolved once and the checked address itself is connected to, so that a second
    answer of the name server cannot lead elsewhere (DNS rebinding).
    """

    def __init__(self, trusted: Iterable[tuple[str, int]]) -> None:
        self._trusted = set(trusted)
        self._backend = httpcore2.SyncBackend()

    def trust(self, host: str, port: int) -> None:
        """From now on, connect there wherever it is."""
        self._trusted.add((host, port))

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: SocketOptions = None,
    ) -> httpcore2.NetworkStream:
        """A connection to a trusted place, or to a public address of any other one."""
        trusted = (host, port) in self._trusted
        target = host if trusted else public_address(host, port)
        stream = self._backend.connect_tcp(
            target, port, _within(timeout, httpcore2.ConnectTimeout), local_address, socket_options
        )
        return _Stream(stream, trusted=trusted)


def addresses(host: str, port: int) -> list[str]:
    """The IP addresses of a host; raises ProviderUnreachable when the name is not known."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        raise ProviderUnreachable("the host name is not known") from None
    return [str(entry[4][0]) for entry in found]


def public_address(host: str, port: int) -> str:
    """One address of a host, all of which must be public; raises ForeignAddress otherwise."""
    found = addresses(host, port)
    if not found or not all(is_public(address) for address in found):
        raise ForeignAddress("an address leads into a private network")
    return found[0]
