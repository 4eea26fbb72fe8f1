"""A hospital that costs nothing: answers from memory after a delay, and notes what was asked."""

from __future__ import annotations

import asyncio
import json  # noqa: TID251 (the hospital and its rivals, not our wire)
import sys
from collections import Counter
from urllib.parse import parse_qs

from bench.pull.chart import WORKLOADS, Chart

_JSON = b"application/fhir+json"


class Hospital:
    """What all connections share: the chart, the delay in seconds, the targets asked so far."""

    def __init__(self) -> None:
        self.chart: Chart
        self.delay = 0.0
        self.asked: list[str] = []
        self.busy, self.most = 0, 0
        self.strays: Counter[str] = Counter()

    def answer(self, method: str, target: str, body: bytes) -> tuple[int, bytes, bytes]:
        """Status, content type and body."""
        if target.startswith("/control"):
            return 200, _JSON, self._control(target)
        self.asked.append(f"{method} {target} {body.decode()}".strip())
        if method == "POST":
            target = f"{target.removesuffix('/_search')}?{body.decode()}"
        if target in self.chart.files:
            return 200, b"application/pdf", self.chart.files[target]
        page = self.chart.page(target)
        if page is not None:
            return 200, _JSON, page
        self.strays[target.partition("?")[0]] += 1
        return 404, _JSON, b'{"resourceType":"OperationOutcome","issue":[]}'

    def _control(self, target: str) -> bytes:
        """`/control?delay=0.03` forgets what was asked and sets the delay; both are told."""
        wanted = parse_qs(target.partition("?")[2]).get("delay")
        told = {"asked": self.asked, "most": self.most, "strays": dict(self.strays)}
        if wanted:
            self.delay, self.asked, self.most = float(wanted[0]), [], 0
            self.strays = Counter()
        return json.dumps(told).encode()


class Connection(asyncio.Protocol):
    """One HTTP/1.1 connection: requests in turn, no pipelining, no chunked requests."""

    def __init__(self, hospital: Hospital) -> None:
        self._hospital, self._buffer = hospital, b""
        self._transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep where to answer."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, chunk: bytes) -> None:
        """Answer once a request is whole."""
        self._buffer += chunk
        head, blank, rest = self._buffer.partition(b"\r\n\r\n")
        if not blank:
            return
        line, _, headers = head.partition(b"\r\n")
        length = 0
        for header in headers.lower().split(b"\r\n"):
            if header.startswith(b"content-length:"):
                length = int(header[15:])
        if len(rest) < length:
            return
        self._buffer = rest[length:]
        method, target, _ = line.decode().split(" ", 2)
        self._begin(method, target, rest[:length])

    def _begin(self, method: str, target: str, body: bytes) -> None:
        hospital = self._hospital
        control = target.startswith("/control")
        hospital.busy += not control
        hospital.most = max(hospital.most, hospital.busy)
        delay = 0.0 if control else hospital.delay
        if not delay:
            self._answer(method, target, body)
            return
        asyncio.get_running_loop().call_later(delay, self._answer, method, target, body)

    def _answer(self, method: str, target: str, body: bytes) -> None:
        status, kind, content = self._hospital.answer(method, target, body)
        self._hospital.busy -= not target.startswith("/control")
        head = b"HTTP/1.1 %d OK\r\nContent-Type: %b\r\nContent-Length: %d\r\n\r\n"
        self._transport.writelines([head % (status, kind, len(content)), content])


async def _serve(workload: str) -> None:
    hospital = Hospital()
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Connection(hospital), "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    hospital.chart = Chart(WORKLOADS[workload], f"http://127.0.0.1:{port}/fhir")
    print(port, flush=True)  # noqa: T201 (what a command tells)
    async with server:
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(_serve(sys.argv[1]))
