"""The wire itself: the same requests by the barest client there is, their bytes thrown away."""

from __future__ import annotations

import asyncio
import json  # noqa: TID251 (the hospital and its rivals, not our wire)
import re
import sys
import time
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from http.client import HTTPConnection
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

# At a hospital that answers at once nobody sees how many requests a contestant has under way.
MOST = 16
_NEXT = re.compile(rb'"next","url":"http://[^/]+([^"]+)"')
_FILE = re.compile(rb'"contentType":"[^"]*","url":"([^"]+)"')
_PATIENT = re.compile(rb'"fullUrl":"[^"]*/Patient/([^"]+)"')


@dataclass(slots=True)
class Course:
    """
    Requests, and which of them wait for the answer to which other one: a page for the page that
    names it, a file for the page that names it, a search for the patient's own.
    """

    requests: list[bytes]
    follow: list[list[int]]
    ready: deque[int] = field(default_factory=deque)
    idle: list[_Getter] = field(default_factory=list)
    left: int = 0

    @classmethod
    def of(cls, lines: Sequence[str], bodies: Sequence[bytes]) -> Course:
        """Read the answers once, before the clock starts, for what they name."""
        named: dict[str, int] = {}
        for number, (line, body) in enumerate(zip(lines, bodies, strict=True)):
            for one in _named(body) if "/Binary/" not in line else ():
                named.setdefault(one, number)
        follow: list[list[int]] = [[] for _ in lines]
        first = []
        for number, line in enumerate(lines):
            parent = named.get(_known_by(line))
            own = first if parent is None or parent == number else follow[parent]
            own.append(number)
        return cls([request(line) for line in lines], follow, deque(first), left=len(lines))

    def ended(self, number: int) -> None:
        """What waited for an answer may be asked for; long chains first."""
        self.left -= 1
        after = self.follow[number]
        self.ready.extendleft(n for n in after if self.follow[n])
        self.ready.extend(n for n in after if not self.follow[n])
        while self.ready and self.idle:
            self.idle.pop().ask()
        if not self.left:
            for getter in self.idle:
                getter.ask()


def _named(body: bytes) -> Iterator[str]:
    yield from (target.decode() for target in _NEXT.findall(body))
    yield from (f"/fhir/{url.decode()}" for url in _FILE.findall(body))
    yield from (f"patient {id_.decode()}" for id_ in _PATIENT.findall(body))


def _known_by(line: str) -> str:
    """What an answer must name before this request can be made."""
    target = line.split(" ", 2)[1]
    parts = urlsplit(target)
    patient = parse_qs(parts.query).get("patient", [""])[0].removeprefix("Patient/")
    if parts.path.startswith("/fhir/Patient/"):
        patient = parts.path.rpartition("/")[2]
    return f"patient {patient}" if patient else target


class _Getter(asyncio.Protocol):
    """One connection that asks for what is ready, one after the other, until nothing is left."""

    def __init__(self, course: Course, done: asyncio.Future[None]) -> None:
        self._course, self._done, self._number = course, done, 0
        self._left, self._head = 0, b""
        self._transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Ask for the first."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self.ask()

    def ask(self) -> None:
        """The next that is ready; else wait, or be done."""
        course = self._course
        if course.ready:
            self._number = course.ready.popleft()
            self._transport.write(course.requests[self._number])
        elif course.left:
            course.idle.append(self)
        else:
            self._transport.close()
            self._done.set_result(None)

    def data_received(self, chunk: bytes) -> None:
        """Count the body down; nothing is kept."""
        if self._left:
            self._left -= len(chunk)
        else:
            self._head += chunk
            head, blank, rest = self._head.partition(b"\r\n\r\n")
            if not blank:
                return
            length = int(head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0])
            self._head, self._left = b"", length - len(rest)
        if self._left == 0:
            self._course.ended(self._number)
            self.ask()


def request(line: str) -> bytes:
    """The bytes of a recorded `GET target` or `POST target form`."""
    method, target, *form = line.split(" ", 2)
    body = form[0].encode() if form else b""
    head = f"{method} {target} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


async def _all(port: int, course: Course, connections: int) -> None:
    loop = asyncio.get_running_loop()
    ends = []
    for _ in range(connections):
        ends.append(loop.create_future())
        await loop.create_connection(lambda: _Getter(course, ends[-1]), "127.0.0.1", port)
    await asyncio.gather(*ends)


def timed(base: str, lines: Sequence[str], bodies: Sequence[bytes], connections: int) -> float:
    """Seconds that a bare event loop needs."""
    course = Course.of(lines, bodies)
    port = urlsplit(base).port or 80
    began = time.perf_counter()
    asyncio.run(_all(port, course, connections))
    return time.perf_counter() - began


def _body(base: str, line: str) -> bytes:
    """An answer, for what it names; files name nothing."""
    method, target, *form = line.split(" ", 2)
    if "/Binary/" in target:
        return b""
    parts = urlsplit(base)
    connection = HTTPConnection(parts.hostname or "", parts.port)
    connection.request(method, target, body=form[0] if form else None)
    return connection.getresponse().read()


def _chain(base: str, target: str) -> None:
    """One page chain, each page as soon as the one before has said where it is."""
    parts = urlsplit(base)
    connection = HTTPConnection(parts.hostname or "", parts.port)
    while target:
        connection.request("GET", target)
        found = _NEXT.search(connection.getresponse().read())
        target = found[1].decode() if found else ""


def by_chains(base: str, kinds: list[str]) -> float:
    """Seconds to turn every page of the first patient, the chains of all types at once."""
    began = time.perf_counter()
    with ThreadPoolExecutor(len(kinds)) as pool:
        list(pool.map(lambda k: _chain(base, f"/fhir/{k}?patient=p0&_count=50"), kinds))
    return time.perf_counter() - began


def main(base: str, asked: str, connections: str) -> None:
    """
    Fetch every line of the file `asked`; print the seconds of the fastest way. Without such a
    file, turn the pages of the types named in its place.
    """
    if not Path(asked).is_file():
        print(json.dumps({"seconds": by_chains(base, asked.split(","))}))  # noqa: T201 (what a command tells)
        return
    lines = json.loads(Path(asked).read_text())
    with ThreadPoolExecutor(MOST) as pool:
        bodies = list(pool.map(lambda line: _body(base, line), lines))
    ways = {int(connections), MOST}
    least = min(timed(base, lines, bodies, way) for way in ways)
    print(json.dumps({"seconds": least}))  # noqa: T201 (what a command tells)


if __name__ == "__main__":
    main(*sys.argv[1:])
