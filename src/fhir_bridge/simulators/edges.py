"""Misbehaviour on the wire: each edge stands before the healthy app and spoils some answers."""

from __future__ import annotations

import asyncio
import enum
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import parse_qsl

from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol

from fhir_bridge.simulators.wire import CONTENT_TYPE, Resource, outcome, read_json, write_json

HANG_UP = "fhir_bridge.hang_up"


class Ending(enum.Enum):
    """How an answer ends."""

    WHOLE = "as announced"
    CUT = "the whole length is announced, half of it comes, the connection closes"
    HALF = "half of the body, properly ended"
    SILENCE = "no answer; the connection closes"


@dataclass(frozen=True, slots=True)
class Ask:
    """A request as an edge sees it; `page` is the page token of a follow-up page, or empty."""

    method: str
    path: str
    page: str
    counts_only: bool


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole answer, before it leaves."""

    status: int
    headers: tuple[tuple[bytes, bytes], ...]
    body: bytes
    ending: Ending = Ending.WHOLE


Next = Callable[[], Awaitable[Answer]]
Edge = Callable[[Ask, Next], Awaitable[Answer]]
Reach = Callable[[Ask], bool]


def around(app: ASGIApp, reach: Reach, edge: Edge) -> ASGIApp:
    """An app whose answers to the requests within `reach` are what the edge makes of them."""

    async def edged(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not reach(ask := _asked(scope)):
            await app(scope, receive, send)
            return
        answer = await edge(ask, lambda: _collect(app, scope, receive))
        if answer.ending is not Ending.SILENCE:
            await _deliver(answer, send)
        if answer.ending in (Ending.SILENCE, Ending.CUT):
            await _hang_up(scope, receive)

    return edged


def _asked(scope: Scope) -> Ask:
    asked = dict(parse_qsl(scope["query_string"].decode("latin-1")))
    counts = asked.get("_summary") == "count"
    return Ask(scope["method"], scope["path"], asked.get("_page", ""), counts)


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


async def _deliver(answer: Answer, send: Send) -> None:
    whole, half = len(answer.body), answer.body[: len(answer.body) // 2]
    headers = [h for h in answer.headers if h[0].lower() != b"content-length"]
    if answer.ending is not Ending.HALF:
        headers.append((b"content-length", str(whole).encode()))
    await send({"type": "http.response.start", "status": answer.status, "headers": headers})
    body = answer.body if answer.ending is Ending.WHOLE else half
    cut = answer.ending is Ending.CUT
    await send({"type": "http.response.body", "body": body, "more_body": cut})


async def _hang_up(scope: Scope, receive: Receive) -> None:
    scope["state"][HANG_UP]()
    while (await receive())["type"] != "http.disconnect":
        continue


class Line(H11Protocol):
    """The HTTP server's connection, with the one word that ASGI lacks: hang up."""

    def handle_events(self) -> None:
        """Add the word to the request that was just read, before its app runs."""
        super().handle_events()
        if self.scope is not None:
            self.scope["state"][HANG_UP] = self.transport.close


# Reaches: which requests an edge stands before.


def search_pages(ask: Ask) -> bool:
    """Every page of every search."""
    *_, last = ask.path.split("/")
    by_url = ask.method == "GET" and ask.path.startswith("/fhir/") and last[:1].isupper()
    return (by_url and ask.path.count("/") == 2) or last == "_search"


def follow_up_pages(ask: Ask) -> bool:
    """The second and later pages of every search."""
    return search_pages(ask) and bool(ask.page)


def document_searches(ask: Ask) -> bool:
    """Searches for documents."""
    return search_pages(ask) and "/DocumentReference" in ask.path


def diagnostic_reports(ask: Ask) -> bool:
    """Everything about DiagnosticReport."""
    return ask.path.split("/")[1:3] == ["fhir", "DiagnosticReport"]


def document_creates(ask: Ask) -> bool:
    """Writing a document into the chart."""
    return ask.method == "POST" and ask.path == "/fhir/DocumentReference"


def dicomweb(ask: Ask) -> bool:
    """Everything below /dicom-web."""
    return ask.path.startswith("/dicom-web")


# Edges: what becomes of the answer. Those with a memory are made anew for each hospital.


def _refusal(status: int, code: str, words: str, *headers: tuple[bytes, bytes]) -> Answer:
    body = write_json(outcome("error", code, words))
    return Answer(status, ((b"content-type", CONTENT_TYPE.encode()), *headers), body)


def refuses(status: int, code: str, words: str) -> Edge:
    """Answers without asking the server behind."""

    async def edge(_ask: Ask, _go_on: Next) -> Answer:
        return _refusal(status, code, words)

    return edge


def once(status: int, *headers: tuple[bytes, bytes]) -> Edge:
    """The first request fails, the others do not."""
    left = [_refusal(status, "transient", "not now", *headers)]

    async def edge(_ask: Ask, go_on: Next) -> Answer:
        return left.pop() if left else await go_on()

    return edge


def ends(ending: Ending) -> Edge:
    """The answer breaks off."""

    async def edge(_ask: Ask, go_on: Next) -> Answer:
        return replace(await go_on(), ending=ending)

    return edge


def broken_stream() -> Edge:
    """A multipart answer ends in its middle, as if that were its end."""

    async def edge(_ask: Ask, go_on: Next) -> Answer:
        answer = await go_on()
        streamed = dict(answer.headers).get(b"content-type", b"").startswith(b"multipart/")
        return replace(answer, ending=Ending.HALF) if streamed else answer

    return edge


def slow(seconds: float) -> Edge:
    """Every answer takes longer."""

    async def edge(_ask: Ask, go_on: Next) -> Answer:
        await asyncio.sleep(seconds)
        return await go_on()

    return edge


def after_commit(answered: Answer) -> Edge:
    """What was created is in the chart, but the answer does not say so."""

    async def edge(_ask: Ask, go_on: Next) -> Answer:
        answer = await go_on()
        return answered if answer.status == 201 else answer

    return edge


def silence_after_commit() -> Edge:
    """Stored, then the connection closes without an answer."""
    return after_commit(Answer(0, (), b"", Ending.SILENCE))


def failure_after_commit() -> Edge:
    """Stored, then 500."""
    return after_commit(_refusal(500, "exception", "the server failed"))


def rewrites(change: Callable[[Ask, Resource], Resource]) -> Edge:
    """The searchset is changed on its way out; what is no Bundle passes."""

    async def edge(ask: Ask, go_on: Next) -> Answer:
        answer = await go_on()
        if answer.status != 200:
            return answer
        return replace(answer, body=write_json(change(ask, read_json(answer.body))))

    return edge


def outcome_instead() -> Edge:
    """200, but the body is an OperationOutcome."""
    return rewrites(lambda _ask, _bundle: outcome("error", "timeout", "the search took too long"))


def drop_next() -> Edge:
    """Page 2 has no next link. Page 2 is the page that a first page's next link names."""
    second: set[str] = set()

    def change(ask: Ask, bundle: Resource) -> Resource:
        links: list[dict[str, Any]] = bundle["link"]
        if not ask.page:
            second.update(_token(link) for link in links if link["relation"] == "next")
        elif ask.page in second:
            return bundle | {"link": [link for link in links if link["relation"] != "next"]}
        return bundle

    return rewrites(change)


def _token(link: dict[str, Any]) -> str:
    return str(link["url"]).partition("_page=")[2]


def loop_next() -> Edge:
    """The next link of a follow-up page leads to that page again."""

    def change(_ask: Ask, bundle: Resource) -> Resource:
        (self_url,) = (one["url"] for one in bundle["link"] if one["relation"] == "self")
        return bundle | {"link": [{"relation": r, "url": self_url} for r in ("self", "next")]}

    return rewrites(change)


def total_lies() -> Edge:
    """Bundle.total is the number of entries on the page."""

    def change(ask: Ask, bundle: Resource) -> Resource:
        if ask.counts_only:
            return bundle
        return bundle | {"total": len(bundle.get("entry", ()))}

    return rewrites(change)


def other_patient() -> Edge:
    """The first page of documents holds one more, and it is about somebody else."""

    def change(ask: Ask, bundle: Resource) -> Resource:
        changed = bundle | {"total": bundle["total"] + 1}
        if ask.page or not bundle.get("entry"):
            return changed if bundle["total"] else bundle
        return changed | {"entry": [*bundle["entry"], _about_another(bundle["entry"][0])]}

    return rewrites(change)


def _about_another(entry: Resource) -> Resource:
    resource = entry["resource"]
    another = {"reference": "Patient/somebody-else", "display": "ELSE, Somebody"}
    moved = resource | {"id": f"{resource['id']}-other", "subject": another}
    moved.pop("masterIdentifier", None)
    moved["identifier"] = [{"system": "urn:ietf:rfc:3986", "value": "urn:oid:2.25.404"}]
    return entry | {"fullUrl": f"{entry['fullUrl']}-other", "resource": moved}
