"""Misbehaviour on the wire: each edge stands before the healthy app and spoils some answers."""

from __future__ import annotations

import asyncio
import enum
import socket
import struct
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol

from fhir_bridge.simulators.rules import PAGE_PARAMETERS
from fhir_bridge.simulators.wire import CONTENT_TYPE, Resource, outcome, read_json, write_json

LINE = "fhir_bridge.line"
TOKEN_PATH = "/auth/token"  # noqa: S105 (a path, not a secret)
SLOW_HEADER_SECONDS = 0.5
_HEADER_LINES = 240


class Ending(enum.Enum):
    """How an answer ends."""

    WHOLE = "as announced"
    CUT = "the whole length is announced, half of it comes, the connection closes"
    HALF = "half of the body, properly ended"
    SILENCE = "no answer; the connection closes"
    RESET = "no answer; the connection is reset"
    BARE = "no length is announced, half of the body comes, the connection closes"
    OPEN = "no length is announced, the whole body comes, the connection closes"
    CREEP = "one header line after the other, the last one never comes"


@dataclass(frozen=True, slots=True)
class Ask:
    """
    A request as an edge sees it: `page` is the page token of a follow-up page, or empty.

    `form` is what was sent to the token endpoint, `foreign` the origin of somebody else's server.
    """

    method: str
    path: str
    page: str
    counts_only: bool
    query: str = ""
    accept: str = ""
    foreign: str = ""
    form: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Answer:
    """
    A whole answer, before it leaves.

    The body is sent `times` times; with `pause_seconds` a byte at a time with that pause between.
    """

    status: int
    headers: tuple[tuple[bytes, bytes], ...]
    body: bytes
    ending: Ending = Ending.WHOLE
    times: int = 1
    pause_seconds: float = 0.0

    def pieces(self) -> Iterator[bytes]:
        """The body in the pieces in which it leaves."""
        half = self.ending not in (Ending.WHOLE, Ending.OPEN)
        body = self.body[: len(self.body) // 2] if half else self.body
        if self.pause_seconds:
            yield from (body[place : place + 1] for place in range(len(body)))
        else:
            yield from (body for _ in range(self.times))


Next = Callable[[], Awaitable[Answer]]
Edge = Callable[[Ask, Next], Awaitable[Answer]]
Reach = Callable[[Ask], bool]


def around(app: ASGIApp, reach: Reach, edge: Edge, foreign: str = "") -> ASGIApp:
    """An app whose answers to the requests within `reach` are what the edge makes of them."""

    async def edged(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not reach(ask := _asked(scope, foreign)):
            await app(scope, receive, send)
            return
        form, receive = await _form(scope, receive)
        answer = await edge(replace(ask, form=form), lambda: _collect(app, scope, receive))
        await _leave(answer, scope, receive, send)

    return edged


def _asked(scope: Scope, foreign: str) -> Ask:
    query = scope["query_string"].decode("latin-1")
    asked = dict(parse_qsl(query))
    page = next((asked[name] for name in PAGE_PARAMETERS if name in asked), "")
    accept = dict(scope["headers"]).get(b"accept", b"").decode("latin-1")
    counts = asked.get("_summary") == "count"
    return Ask(scope["method"], scope["path"], page, counts, query, accept, foreign)


async def _form(scope: Scope, receive: Receive) -> tuple[Mapping[str, str], Receive]:
    """What the token endpoint is sent, and a `receive` that gives it to the app once more."""
    if scope["path"] != TOKEN_PATH:
        return {}, receive
    body, more = b"", True
    while more:
        message = await receive()
        body, more = body + message.get("body", b""), message.get("more_body", False)
    unread: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def again() -> Message:
        return unread.pop() if unread else await receive()

    return dict(parse_qsl(body.decode("utf-8", "replace"))), again


async def _collect(app: ASGIApp, scope: Scope, receive: Receive) -> Answer:
    status, headers, chunks = 500, [], []

    async def keep(message: Message) -> None:
        nonlocal status, headers
        if message["type"] == "http.response.start":
            status, headers = message["status"], list(message["headers"])
        else:
            chunks.append(message.get("body", b""))

    await app(scope, receive, keep)
    return Answer(status, tuple(headers), b"".join(chunks))


async def _leave(answer: Answer, scope: Scope, receive: Receive, send: Send) -> None:
    """Send an answer in the way it ends."""
    line = scope["state"][LINE]
    if answer.ending in (Ending.WHOLE, Ending.HALF):
        await _deliver(answer, send)
        return
    if answer.ending is Ending.CUT:
        await _deliver(answer, send)
    elif answer.ending in (Ending.BARE, Ending.OPEN):
        line.write(_head(answer) + b"connection: close\r\n\r\n" + b"".join(answer.pieces()))
    elif answer.ending is Ending.CREEP:
        await _creep(answer, line)
    _hang_up(line, reset=answer.ending is Ending.RESET)
    while (await receive())["type"] != "http.disconnect":
        continue


async def _deliver(answer: Answer, send: Send) -> None:
    headers = [h for h in answer.headers if h[0].lower() != b"content-length"]
    if answer.ending is not Ending.HALF:
        length = len(answer.body) * answer.times
        headers.append((b"content-length", str(length).encode()))
    await send({"type": "http.response.start", "status": answer.status, "headers": headers})
    for piece in answer.pieces():
        await send({"type": "http.response.body", "body": piece, "more_body": True})
        await asyncio.sleep(answer.pause_seconds)
    if answer.ending is not Ending.CUT:
        await send({"type": "http.response.body", "body": b"", "more_body": False})


def _head(answer: Answer) -> bytes:
    kind = dict(answer.headers).get(b"content-type", b"application/octet-stream")
    return b"HTTP/1.1 %d .\r\ncontent-type: %s\r\n" % (answer.status, kind)


async def _creep(answer: Answer, line: asyncio.Transport) -> None:
    line.write(_head(answer))
    for number in range(_HEADER_LINES):
        if line.is_closing():
            return
        line.write(b"x-%d: .\r\n" % number)
        await asyncio.sleep(SLOW_HEADER_SECONDS)


def _hang_up(line: asyncio.Transport, *, reset: bool) -> None:
    if reset:
        # Without lingering, the kernel says RST where it would say FIN.
        linger = struct.pack("ii", 1, 0)
        line.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        line.abort()
    else:
        line.close()


class Line(H11Protocol):
    """The HTTP server's connection, with the one thing that ASGI lacks: the line itself."""

    def handle_events(self) -> None:
        """Add the line to the request that was just read, before its app runs."""
        super().handle_events()
        if self.scope is not None:
            self.scope["state"][LINE] = self.transport


# Reaches: which requests an edge stands before.


def search_pages(ask: Ask) -> bool:
    """Every page of every search."""
    *_, last = ask.path.split("/")
    by_url = ask.method == "GET" and ask.path.startswith("/fhir/") and last[:1].isupper()
    at_root = ask.path == "/fhir" and bool(ask.page)
    return (by_url and ask.path.count("/") == 2) or last == "_search" or at_root


def follow_up_pages(ask: Ask) -> bool:
    """The second and later pages of every search."""
    return search_pages(ask) and bool(ask.page)


def record_searches(ask: Ask) -> bool:
    """Searches for anything but the patient."""
    return search_pages(ask) and "/Patient" not in ask.path


def document_searches(ask: Ask) -> bool:
    """Searches for documents."""
    return search_pages(ask) and "/DocumentReference" in ask.path


def counts(ask: Ask) -> bool:
    """Searches that ask for the number alone."""
    return record_searches(ask) and ask.counts_only


def diagnostic_reports(ask: Ask) -> bool:
    """Everything about DiagnosticReport."""
    return ask.path.split("/")[1:3] == ["fhir", "DiagnosticReport"]


def report_searches(ask: Ask) -> bool:
    """Searches for reports, counts apart."""
    return search_pages(ask) and diagnostic_reports(ask) and not ask.counts_only


def document_creates(ask: Ask) -> bool:
    """Writing a document into the chart."""
    return ask.method == "POST" and ask.path == "/fhir/DocumentReference"


def binaries(ask: Ask) -> bool:
    """Reading a Binary."""
    return ask.method == "GET" and ask.path.startswith("/fhir/Binary/")


def dicomweb(ask: Ask) -> bool:
    """Everything below /dicom-web."""
    return ask.path.startswith("/dicom-web")


def token_asks(ask: Ask) -> bool:
    """Asking for an access token."""
    return ask.path == TOKEN_PATH


def at(path: str) -> Reach:
    """Exactly one path."""
    return lambda ask: ask.path == path


def everything(_: Ask) -> bool:
    """Every request."""
    return True


def nothing(_: Ask) -> bool:
    """No request."""
    return False


# Edges: what becomes of the answer. Those with a memory are made anew for each hospital.


def refusal(status: int, code: str, words: str, *headers: tuple[bytes, bytes]) -> Answer:
    """An OperationOutcome of one error."""
    return said(status, CONTENT_TYPE, write_json(outcome("error", code, words)), *headers)


def said(status: int, content_type: str, body: bytes, *headers: tuple[bytes, bytes]) -> Answer:
    """An answer of these bytes."""
    return Answer(status, ((b"content-type", content_type.encode()), *headers), body)


def answers(answer: Answer) -> Edge:
    """Answers without asking the server behind."""

    async def edge(_ask: Ask, _go_on: Next) -> Answer:
        return answer

    return edge


def refuses(status: int, code: str, words: str) -> Edge:
    """Refuses without asking the server behind."""
    return answers(refusal(status, code, words))


def once(answer: Callable[[], Answer]) -> Edge:
    """The first request is answered so, the others are not."""
    left = [answer]

    async def edge(_ask: Ask, go_on: Next) -> Answer:
        return left.pop()() if left else await go_on()

    return edge


def first_path(edge: Edge) -> Edge:
    """Only the first path that is asked for is spoiled, whenever it is asked for."""
    chosen: list[str] = []

    async def narrowed(ask: Ask, go_on: Next) -> Answer:
        if not chosen:
            chosen.append(ask.path)
        return await (edge(ask, go_on) if ask.path == chosen[0] else go_on())

    return narrowed


def changes(change: Callable[[Ask, Answer], Answer]) -> Edge:
    """What was answered well is changed on its way out."""

    async def edge(ask: Ask, go_on: Next) -> Answer:
        answer = await go_on()
        return change(ask, answer) if answer.status == 200 else answer

    return edge


def ends(ending: Ending) -> Edge:
    """The answer breaks off."""
    return changes(lambda _ask, answer: replace(answer, ending=ending))


def slow(seconds: float) -> Edge:
    """Every answer takes longer."""

    async def edge(_ask: Ask, go_on: Next) -> Answer:
        await asyncio.sleep(seconds)
        return await go_on()

    return edge


def rewrites(change: Callable[[Ask, Resource], Resource]) -> Edge:
    """The resource is changed on its way out."""
    return changes(
        lambda ask, answer: replace(answer, body=write_json(change(ask, read_json(answer.body))))
    )


def rewrites_bytes(change: Callable[[bytes], bytes]) -> Edge:
    """The bytes are changed on their way out."""
    return changes(lambda _ask, answer: replace(answer, body=change(answer.body)))


def next_of(bundle: Mapping[str, Any]) -> str:
    """The address of the next page, or empty."""
    links = bundle.get("link", ())
    return next((str(link["url"]) for link in links if link["relation"] == "next"), "")


def with_next(bundle: Resource, url: str) -> Resource:
    """The bundle with another next link; without one for an empty address."""
    links = [link for link in bundle["link"] if link["relation"] != "next"]
    more = [{"relation": "next", "url": url}] if url else []
    return bundle | {"link": [*links, *more]}


def query_of(url: str) -> dict[str, str]:
    """The parameters of an address."""
    return dict(parse_qsl(urlsplit(url).query))


def respelled(url: str) -> str:
    """
    The same address in another spelling (RFC 3986, 6.2.2.1 and 6.2.3).

    >>> respelled("http://127.0.0.1:80/fhir")
    'HTTP://127.0.0.1:0080/fhir'
    """
    split = urlsplit(url)
    return f"HTTP://{split.hostname}:00{split.port}{url.partition(split.netloc)[2]}"
