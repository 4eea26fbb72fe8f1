"""The wire itself: the same requests by the barest clients there are, their bytes thrown away."""

from __future__ import annotations

import asyncio
import json  # noqa: TID251 (the hospital and its rivals, not our wire)
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPConnection
from pathlib import Path
from urllib.parse import urlsplit

_NEXT = re.compile(rb'"next","url":"http://[^/]+([^"]+)"')


class _Getter(asyncio.Protocol):
    """One connection that asks for one address after the other until none is left."""

    def __init__(self, todo: Iterator[bytes], done: asyncio.Future[None]) -> None:
        self._todo, self._done = todo, done
        self._left, self._head = 0, b""
        self._transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Ask for the first."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._ask()

    def _ask(self) -> None:
        request = next(self._todo, None)
        if request is None:
            self._transport.close()
            self._done.set_result(None)
        else:
            self._transport.write(request)

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
            self._ask()


def request(line: str) -> bytes:
    """The bytes of a recorded `GET target` or `POST target form`."""
    method, target, *form = line.split(" ", 2)
    body = form[0].encode() if form else b""
    head = f"{method} {target} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


async def _all(port: int, lines: list[str], connections: int) -> None:
    loop = asyncio.get_running_loop()
    todo = iter([request(line) for line in lines])
    ends = []
    for _ in range(connections):
        ends.append(loop.create_future())
        await loop.create_connection(lambda: _Getter(todo, ends[-1]), "127.0.0.1", port)
    await asyncio.gather(*ends)


def by_asyncio(base: str, lines: list[str], connections: int) -> float:
    """Seconds that a bare event loop needs."""
    port = urlsplit(base).port or 80
    began = time.perf_counter()
    asyncio.run(_all(port, lines, connections))
    return time.perf_counter() - began


def by_curl(base: str, lines: list[str], connections: int) -> float:
    """Seconds that `curl --parallel` needs, its start included; infinite where there is no curl."""
    curl = shutil.which("curl")
    if curl is None:
        return float("inf")
    root = base.removesuffix("/fhir")
    with tempfile.TemporaryDirectory() as folder:
        config = Path(folder) / "curl.txt"
        gets = [line.split(" ")[1] for line in lines if line.startswith("GET ")]
        config.write_text("".join(f'url="{root}{t}"\noutput="/dev/null"\n' for t in gets))
        command = [curl, "--silent", "--parallel", "--parallel-max", str(connections)]
        began = time.perf_counter()
        subprocess.run([*command, "--config", str(config)], check=True, timeout=300)  # noqa: S603 (our own commands)
        return time.perf_counter() - began


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
    least = min(by(base, lines, int(connections)) for by in (by_asyncio, by_curl))
    print(json.dumps({"seconds": least}))  # noqa: T201 (what a command tells)


if __name__ == "__main__":
    main(*sys.argv[1:])
