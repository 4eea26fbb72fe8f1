"""Attachments: named by records, fetched once, held by their hash, or failed with a reason."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import groupby
from typing import Any

from fhir_bridge.case.events import Happened
from fhir_bridge.case.ledger import ATTACHMENT, RecordKey
from fhir_bridge.case.record import HeldAttachment, Json, Sighted
from fhir_bridge.errors import AttachmentMissing, BridgeError, StoreError
from fhir_bridge.pipeline.pull.source import Ehr, Source
from fhir_bridge.standards.fhir.attachments import attachments, decode, resolve, sniff
from fhir_bridge.standards.fhir.lenient import objects, text

BATCH = 24
PARALLEL = 4
NO_CONTENT = "the record names neither an address nor a content"


def named(key: RecordKey, resource: Json, base: str) -> Iterator[HeldAttachment]:
    """The attachments that a resource names, none of them held yet."""
    for path, attachment in attachments(resource):
        url, declared = text(attachment.get("url")), text(attachment.get("hash"))
        # An address within the record itself leads to a contained Binary: no way to go.
        absolute = resolve(url, base) if url and not url.startswith("#") else ""
        place = absolute or f"{key.kind}/{key.id}/{key.version}#{path}"
        yield HeldAttachment(
            key=RecordKey(key.source, ATTACHMENT, place, declared if absolute else ""),
            parent=key,
            path=path,
            url=absolute,
            declared=text(attachment.get("contentType")),
        )


def fetch_some(source: Source, ehr: Ehr) -> int:
    """Settle a batch of attachments; returns how many remain."""
    waiting = source.files.unsettled(source.case.id, source.id, keys=BATCH)
    if not waiting:
        return 0
    waiting = sorted(waiting, key=lambda a: a.key)
    batch = [list(group) for _, group in groupby(waiting, key=lambda a: a.key)]
    bodies = _inline(source, waiting)
    with ThreadPoolExecutor(PARALLEL) as pool:
        list(pool.map(lambda group: _settle(source, ehr, group, bodies), batch))
    return len(source.files.unsettled(source.case.id, source.id, keys=BATCH))


def _inline(source: Source, waiting: Sequence[HeldAttachment]) -> Mapping[RecordKey, Sighted]:
    """The records whose attachments carry their content in themselves."""
    parents = {attachment.parent for attachment in waiting if not attachment.url}
    found = source.files.sighted(source.case.id, parents) if parents else ()
    return {sighted.key: sighted for sighted in found}


def _settle(
    source: Source,
    ehr: Ehr,
    group: Sequence[HeldAttachment],
    bodies: Mapping[RecordKey, Sighted],
) -> None:
    """Everything with the same key has the same end; one fetch serves them all."""
    first = group[0]
    try:
        held = (
            _fetch(source, ehr, first)
            if first.url
            else _held_inline(source, first, bodies[first.parent])
        )
    except StoreError:
        raise  # our own fault, not the hospital's: the step is taken again
    except BridgeError as error:
        held = replace(first, failure=error.code, reason=error.advice)
    for attachment in group:
        settled = replace(held, key=attachment.key, parent=attachment.parent, path=attachment.path)
        event = source.event(Happened.ATTACHMENT_STORED, size=held.size)
        source.files.settle(source.case.id, settled, event)


def _fetch(source: Source, ehr: Ehr, attachment: HeldAttachment) -> HeldAttachment:
    if not attachment.url.startswith(("http://", "https://")):
        raise AttachmentMissing("an address that is no web address")
    answer = ehr.fetch(attachment.url, content_type=attachment.declared)
    body = source.bodies.read(answer.original.sha256)
    return _held(attachment, answer.original.sha256, body, answer.original.id)


def _held_inline(source: Source, attachment: HeldAttachment, parent: Sighted) -> HeldAttachment:
    found = dict(attachments(parent.resource)).get(attachment.path, {})
    coded = found.get("data") or _contained(parent.resource, text(found.get("url")))
    if not isinstance(coded, str) or not coded:
        return replace(attachment, reason=NO_CONTENT)
    body = decode(coded)
    blob = source.bodies.put(body)
    return _held(attachment, blob.sha256, body, parent.original, found)


def _contained(resource: Json, url: str) -> object:
    """The content of the contained Binary that `#id` leads to."""
    return next(
        (
            one.get("data")
            for one in objects(resource.get("contained"))
            if one.get("resourceType") == "Binary" and url == f"#{one.get('id')}"
        ),
        None,
    )


def _held(
    attachment: HeldAttachment,
    sha256: str,
    body: bytes,
    original: str,
    declared: dict[str, Any] | None = None,
) -> HeldAttachment:
    sniffed = sniff(body)
    return replace(
        attachment,
        sha256=sha256,
        size=len(body),
        content_type=sniffed or attachment.declared,
        original=original,
        warnings=tuple(_warnings(attachment, body, sniffed, declared or {})),
    )


def _warnings(
    attachment: HeldAttachment, body: bytes, sniffed: str, declared: dict[str, Any]
) -> Iterator[str]:
    """What the source said of the bytes and does not fit; never a reason to drop them."""
    said = attachment.declared.partition(";")[0].strip().lower()
    if said and sniffed and said != sniffed:
        yield "content type"
    size, code = declared.get("size"), text(declared.get("hash")) or attachment.key.version
    if isinstance(size, int) and size != len(body):
        yield "size"
    sha1 = base64.b64encode(hashlib.sha1(body, usedforsecurity=False).digest()).decode()
    if code and code != sha1:
        yield "hash"
