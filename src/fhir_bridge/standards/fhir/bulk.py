"""Bulk Data Access: NDJSON line by line, manifests, and what a line says of its patient."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from fhir_bridge.errors import NotFhir
from fhir_bridge.standards.fhir.lenient import first, objects, text
from fhir_bridge.standards.fhir.references import Form, Literal, literal

MAX_LINE_BYTES = 48 * 1024 * 1024
_BOM = b"\xef\xbb\xbf"
_BLANKS = b" \t\r\n"


@dataclass(frozen=True, slots=True)
class Line:
    """
    One line of NDJSON, byte for byte without its end. `end` is the offset behind it; `body` is
    None when it is longer than what is read into memory.
    """

    end: int
    body: bytes | None


def ndjson(chunks: Iterable[bytes], *, start: int = 0, cap: int = MAX_LINE_BYTES) -> Iterator[Line]:
    r"""
    The lines of a file from byte `start` on, wherever its chunks are cut; empty lines are none.

    Bytes are split, never text: a character may lie across two chunks. At most one line of `cap`
    bytes and one chunk are in memory.

    >>> [line.body for line in ndjson([b'{"a"', b':1}\n\n{"b":', b"2}"])]
    [b'{"a":1}', b'{"b":2}']
    """
    held: list[bytes] = []
    size, at = 0, start
    for chunk in chunks:
        *whole, rest = chunk.split(b"\n")
        for piece in whole:
            held, size = _longer(held, size, piece, cap)
            at += size + 1
            yield from _line(held, size, at, first=at == size + 1)
            held, size = [], 0
        held, size = _longer(held, size, rest, cap)
    yield from _line(held, size, at + size, first=at == 0)


def _longer(held: list[bytes], size: int, piece: bytes, cap: int) -> tuple[list[bytes], int]:
    size += len(piece)
    return (held, size) if size > cap else ([*held, piece] if piece else held, size)


def _line(held: list[bytes], size: int, end: int, *, first: bool) -> Iterator[Line]:
    body = b"".join(held)
    if len(body) < size:
        yield Line(end, None)
        return
    # Seen in the field, and no part of the first resource.
    body = (body.removeprefix(_BOM) if first else body).strip(_BLANKS)
    if body:
        yield Line(end, body)


@dataclass(frozen=True, slots=True)
class Named:
    """A file as a manifest names it: `kind` output, error or deleted; None is not counted."""

    kind: str
    type: str
    url: str
    count: int | None


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a finished export says of its files; `next_link` leads to a further manifest."""

    files: tuple[Named, ...]
    transaction_time: str
    needs_token: bool
    next_link: str


def read_manifest(body: Mapping[str, Any]) -> Manifest:
    """
    Read the answer of a finished job (Bulk Data Access v2, "Response - Complete Status").

    `outcome` is what older servers call the error files. A count that is no number is none.
    Raises NotFhir for an answer without a list of output files.
    """
    if not isinstance(body.get("output"), list):
        raise NotFhir("the export is said to be done and names no files")
    kinds = (("output", "output"), ("error", "error"), ("outcome", "error"), ("deleted", "deleted"))
    found = [_named(kind, one) for key, kind in kinds for one in objects(body.get(key))]
    links = {text(one.get("relation")): text(one.get("url")) for one in objects(body.get("link"))}
    return Manifest(
        files=tuple(one for one in found if one.url),
        transaction_time=text(body.get("transactionTime")),
        needs_token=body.get("requiresAccessToken") is True,
        next_link=links.get("next", ""),
    )


def _named(kind: str, item: Mapping[str, Any]) -> Named:
    count = item.get("count")
    counted = isinstance(count, int) and not isinstance(count, bool) and count >= 0
    return Named(kind, text(item.get("type")), text(item.get("url")), count if counted else None)


def is_about(resource: Mapping[str, Any], patient: str, base: str) -> bool | None:
    """
    Whether a resource is about a patient of the server at `base`; None when that cannot be told.

    Its `subject` or `patient` decides, because others may name the patient as well: a relative's
    chart, a shared appointment.

    >>> is_about({"subject": {"reference": "Patient/2"}}, "1", "https://ehr.example")
    False
    >>> is_about({"subject": {"identifier": {"value": "7"}}}, "1", "https://ehr.example")
    """
    if resource.get("resourceType") == "Patient":
        return resource.get("id") == patient
    edge = first(resource.get("subject")) or first(resource.get("patient"))
    target = literal(edge)
    if text(edge.get("reference")) == patient:
        return True
    if target.form not in {Form.RELATIVE, Form.ABSOLUTE} or target.type != "Patient":
        return None if target.type in {"", "Patient"} else False
    return _is(target, patient, base)


def _is(target: Literal, patient: str, base: str) -> bool | None:
    if target.id != patient:
        return False
    # The same id under another base may be somebody else.
    return True if target.base in {"", base} else None


def deletions(resource: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """(type, id) of what a line of a `deleted` file says is gone: a Bundle of DELETE requests."""
    for entry in objects(resource.get("entry")):
        request = first(entry.get("request"))
        gone = literal({"reference": text(request.get("url"))})
        if text(request.get("method")) == "DELETE" and gone.form in {Form.RELATIVE, Form.ABSOLUTE}:
            yield gone.type, gone.id
