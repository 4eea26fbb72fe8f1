"""The files behind the records: addresses of every kind, and bytes that are not what was said."""

from __future__ import annotations

import base64
import struct
import zlib
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from typing import Any

from fhir_bridge.simulators import edges
from fhir_bridge.simulators.born import Born, attached, attachment_of, with_attachments
from fhir_bridge.simulators.edges import Answer, Ask, Edge, Ending, Next
from fhir_bridge.simulators.faults.chains import LOGIN_PAGE
from fhir_bridge.simulators.faults.fault import Fault
from fhir_bridge.simulators.wire import (
    CONTENT_TYPE,
    FHIR_TYPES,
    Resource,
    media_type,
    preferred,
    read_json,
    write_json,
)

MADE = b"A letter made on demand.\r\n"
OPERATION = "$autogen-ccd-if"
MEBIBYTE = b"\0" * 1024 * 1024
HUGE_MEBIBYTES = 640
BOMB_MEBIBYTES = 1024
DRIP_SECONDS = 0.5
WHERE = "attachments"
Attachment = dict[str, Any]


def _shown(name: str, shows: str, change: Callable[[Attachment, Born], Attachment], *,
           foreign: bool = False) -> Fault:  # fmt: skip
    """One document's attachment is described in another way."""

    def born(born: Born) -> Born:
        return born.first_attachment(lambda attachment: change(attachment, born))

    return Fault(name, shows, WHERE, born=born, foreign=foreign)


def _sent(name: str, shows: str, change: Callable[[Ask, Answer], Answer], *,
          foreign: bool = False) -> Fault:  # fmt: skip
    """One attachment is sent in another way."""
    return Fault(name, shows, WHERE, reach=edges.binaries, foreign=foreign,
                 edge=lambda: edges.first_path(edges.changes(change)))  # fmt: skip


def _answered(name: str, shows: str, answer: Answer) -> Fault:
    return Fault(name, shows, WHERE, reach=edges.binaries,
                 edge=lambda: edges.first_path(edges.answers(answer)))  # fmt: skip


def _nowhere(attachment: Attachment, _born: Born) -> Attachment:
    url = "http://hl7.org/fhir/StructureDefinition/data-absent-reason"
    del attachment
    return {"extension": [{"url": url, "valueCode": "unknown"}]}


def _operation(attachment: Attachment, born: Born) -> Attachment:
    url = f"{born.base}/Binary/{OPERATION}?patient=p%2F1&start=2024-01-01T00%3A00%3A00Z"
    return attachment | {"contentType": "text/plain", "url": url}


async def _on_demand(ask: Ask, _go_on: Next) -> Answer:
    verbatim = "patient=p%2F1" in ask.query and "start=2024-01-01T00%3A00%3A00Z" in ask.query
    if not verbatim:
        return edges.refusal(400, "required", "patient and start are needed as they were given")
    return edges.said(200, "text/plain; charset=utf-8", MADE)


def signed_anew() -> Edge:
    """The search shows an address whose time is over; who reads the record again gets a new one."""
    return edges.rewrites_bytes(lambda body: body.replace(b"signature=stale", b"signature=fresh"))


def _reads_of_documents(ask: Ask) -> bool:
    return ask.path.startswith("/fhir/DocumentReference/") and ask.method == "GET"


def _binary(identity: str, content_type: str, body: bytes) -> Resource:
    data = base64.b64encode(body).decode()
    meta = {"versionId": "1", "lastUpdated": "2024-01-01T00:00:00Z"}
    return {"resourceType": "Binary", "id": identity, "meta": meta, "contentType": content_type,
            "data": data}  # fmt: skip


def renditions(born: Born) -> Born:
    """One document as it was, and as HTML and RTF beside it."""
    html = {"contentType": "text/html", "url": "Binary/rendition-html"}
    rtf = {"contentType": "text/rtf", "url": "Binary/rendition-rtf"}
    changed = born.first_document(lambda one: with_attachments(one, attachment_of(one), html, rtf))
    return changed.plus(
        _binary("rendition-html", "text/html", b"<html><body><p>A letter</p></body></html>"),
        _binary("rendition-rtf", "text/rtf", rb"{\rtf1 A letter}"),
    )


def shared(born: Born) -> Born:
    """The first report shows the same file as the first document."""
    report, found = born.first_of("DiagnosticReport"), next(attached(born.resources), None)
    if report is None or found is None:
        return born
    form = {"presentedForm": [found[1]]}
    return born.changed(lambda one: one is report, lambda one: one | form)


def _as_json(_ask: Ask, answer: Answer) -> Answer:
    kind = dict(answer.headers).get(b"content-type", b"").decode()
    if media_type(kind) in FHIR_TYPES:
        return answer
    return edges.said(200, CONTENT_TYPE, write_json(_binary("b", kind, answer.body)))


def raw_only() -> Edge:
    """A Binary is its bytes, also when JSON was preferred."""

    def change(_ask: Ask, answer: Answer) -> Answer:
        if media_type(dict(answer.headers)[b"content-type"].decode()) not in FHIR_TYPES:
            return answer
        binary = read_json(answer.body)
        return edges.said(200, binary["contentType"], base64.b64decode(binary["data"]))

    return edges.changes(change)


async def _exact_accept(ask: Ask, go_on: Next) -> Answer:
    answer = await go_on()
    kind = media_type(dict(answer.headers).get(b"content-type", b"").decode())
    exact = preferred(ask.accept) == kind and kind not in FHIR_TYPES
    return answer if exact else edges.refusal(406, "not-supported", "only as it is kept")


def _redirect(ask: Ask, _answer: Answer) -> Answer:
    place = f"{ask.foreign}/documents/1".encode()
    return edges.said(302, "text/plain", b"", (b"location", place))


@cache
def bomb() -> bytes:
    """Gzip of many zeros in one member (RFC 1952): a block that knows nothing of those before."""
    packer = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    block = packer.compress(MEBIBYTE) + packer.flush(zlib.Z_FULL_FLUSH)
    check = 0
    for _ in range(BOMB_MEBIBYTES):
        check = zlib.crc32(MEBIBYTE, check)
    head, end = b"\x1f\x8b\x08\0\0\0\0\0\0\xff", b"\x03\x00"
    size = BOMB_MEBIBYTES * len(MEBIBYTE)
    return head + block * BOMB_MEBIBYTES + end + struct.pack("<II", check, size & 0xFFFFFFFF)


def _bombed(_ask: Ask, _answer: Answer) -> Answer:
    return edges.said(200, "application/pdf", bomb(), (b"content-encoding", b"gzip"))


def _huge(_ask: Ask, _answer: Answer) -> Answer:
    return replace(edges.said(200, "application/pdf", MEBIBYTE), times=HUGE_MEBIBYTES)


ADDRESSES = (
    _shown("foreign-attachment", "one document's attachment lies on another origin",
           lambda attachment, born: attachment | {"url": f"{born.foreign}/documents/1"},
           foreign=True),
    _shown("attachment-absolute", "one attachment's address is absolute, on the same host",
           lambda attachment, born: attachment | {"url": f"{born.base}/{attachment['url']}"}),
    _shown("attachment-presigned", "one attachment is presigned elsewhere, and wants no login",
           lambda attachment, born: attachment | {
               "url": f"{born.foreign}/signed/1?expires=600&signature=fresh"}, foreign=True),
    replace(
        _shown("attachment-presigned-stale", "a presigned address is over; a new read renews it",
               lambda attachment, born: attachment | {
                   "url": f"{born.foreign}/signed/1?expires=0&signature=stale"}, foreign=True),
        reach=_reads_of_documents, edge=signed_anew),
    replace(
        _shown("attachment-operation", "one attachment's address is an operation with a query",
               _operation),
        reach=edges.at(f"/fhir/Binary/{OPERATION}"), edge=lambda: _on_demand),
    _shown("attachment-nowhere", "one attachment has neither url nor data, only a reason",
           _nowhere),
    _shown("attachment-file-url", "one attachment's address is a file: of the server",
           lambda attachment, _born: attachment | {"url": "file:///etc/hostname"}),
    _shown("attachment-missing", "one attachment names a Binary that is not there",
           lambda attachment, _born: attachment | {"url": "Binary/never-was"}),
    Fault("attachment-renditions", "one document has three renditions: as it was, HTML and RTF",
          WHERE, born=renditions),
    Fault("attachment-in-both", "a report shows the same file as a document", WHERE, born=shared),
)  # fmt: skip

SAID = (
    _shown("attachment-wrong-type", "one attachment is declared as image/png",
           lambda attachment, _born: attachment | {"contentType": "image/png"}),
    _shown("attachment-wrong-size", "one attachment's declared size is not its own",
           lambda attachment, _born: attachment | {"size": 7}),
    _shown("attachment-wrong-hash", "one attachment's declared hash is not its own",
           lambda attachment, _born: attachment | {"hash": "MDEyMzQ1Njc4OWFiY2RlZjAxMjM="}),
    Fault("binary-json-only", "a Binary is always wrapped in JSON", WHERE, reach=edges.binaries,
          edge=lambda: edges.changes(_as_json)),
    Fault("binary-raw-only", "a Binary is always its bytes, also for Accept: fhir+json", WHERE,
          reach=edges.binaries, edge=raw_only),
    Fault("binary-exact-accept", "a Binary is 406 unless its exact type is asked for", WHERE,
          reach=edges.binaries, edge=lambda: _exact_accept),
    _answered("binary-not-base64", "one Binary in JSON holds no base64",
              edges.said(200, CONTENT_TYPE, write_json({
                  "resourceType": "Binary", "contentType": "application/pdf", "data": "%%%"}))),
)  # fmt: skip

SENT = (
    _answered("attachment-500", "one attachment is 500",
              edges.refusal(500, "exception", "the server failed")),
    _answered("attachment-html-login", "one attachment is 200 with a gateway's HTML login",
              LOGIN_PAGE),
    _sent("attachment-empty", "one attachment is 200 without a byte",
          lambda _ask, answer: replace(answer, body=b"")),
    _sent("attachment-truncated", "one attachment breaks off in its middle",
          lambda _ask, answer: replace(answer, ending=Ending.CUT)),
    _sent("attachment-without-length", "one attachment has no length: it ends with the connection",
          lambda _ask, answer: replace(answer, ending=Ending.OPEN)),
    _sent("attachment-reset", "the connection is reset in place of one attachment",
          lambda _ask, answer: replace(answer, ending=Ending.RESET)),
    _sent("attachment-drips", f"one attachment comes a byte each {DRIP_SECONDS:g} s",
          lambda _ask, answer: replace(answer, pause_seconds=DRIP_SECONDS)),
    _sent("attachment-slow-headers", "the headers of one attachment come line by line, for ever",
          lambda _ask, answer: replace(answer, ending=Ending.CREEP)),
    _sent("attachment-huge", f"one attachment is {HUGE_MEBIBYTES} MiB long", _huge),
    _sent("attachment-gzip-bomb", f"one attachment unpacks from 1 MiB to {BOMB_MEBIBYTES} MiB",
          _bombed),
    _sent("attachment-redirects", "one attachment redirects to another origin", _redirect,
          foreign=True),
)  # fmt: skip

ROWS = (*ADDRESSES, *SAID, *SENT)
