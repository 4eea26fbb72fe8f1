"""Attachments: named by records, fetched once, held by their hash, or failed with a reason."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import groupby
from typing import Any

from fhir_bridge.case.events import Happened
from fhir_bridge.case.ledger import ATTACHMENT, RecordKey
from fhir_bridge.case.record import HeldAttachment, Json
from fhir_bridge.errors import AttachmentMissing, BridgeError
from fhir_bridge.pipeline.pull.source import Ehr, Source
from fhir_bridge.standards.fhir.attachments import attachments, decode, resolve, sniff

BATCH = 24
PARALLEL = 4
NO_CONTENT = "the record names neither an address nor a content"


def named(key: RecordKey, resource: Json, base: str) -> Iterator[HeldAttachment]:
    """The attachments that a resource names, none of them held yet."""
    for path, attachment in attachments(resource):
        url = attachment.get("url")
        absolute = resolve(url, base) if isinstance(url, str) else ""
        place = absolute or f"{key.kind}/{key.id}/{key.version}#{path}"
        declared = attachment.get("hash")
        yield HeldAttachment(
            key=RecordKey(key.source, ATTACHMENT, place, declared if absolute and declared else ""),
            parent=key,
            path=path,
            url=absolute,
            declared=str(attachment.get("contentType", "")),
        )


def fetch_some(source: Source, ehr: Ehr) -> int:
    """Settle a batch of attachments; returns how many remain."""
    waiting = sorted(source.files.unsettled(source.case.id, source.id), key=lambda a: a.key)
    batch = [list(group) for _, group in groupby(waiting, key=lambda a: a.key)][:BATCH]
    if batch:
        bodies = _inline(source, batch)
        with ThreadPoolExecutor(PARALLEL) as pool:
            list(pool.map(lambda group: _settle(source, ehr, group, bodies), batch))
    return len(source.files.unsettled(source.case.id, source.id)) if batch else 0


def _inline(source: Source, batch: list[list[HeldAttachment]]) -> dict[RecordKey, Json]:
    parents = {a.parent for group in batch for a in group if not a.url or a.url.startswith("#")}
    if not parents:
        return {}
    return {
        sighted.key: {**sighted.resource, "_original": sighted.original}
        for sighted in source.shelf.sighted(source.case.id)
        if sighted.key in parents
    }


def _settle(
    source: Source, ehr: Ehr, group: list[HeldAttachment], bodies: dict[RecordKey, Json]
) -> None:
    """Everything with the same key has the same end; one fetch serves them all."""
    first = group[0]
    try:
        held = _held_inline(source, first, bodies) if not first.url else _fetch(source, ehr, first)
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


def _held_inline(
    source: Source, attachment: HeldAttachment, bodies: dict[RecordKey, Json]
) -> HeldAttachment:
    parent = bodies.get(attachment.parent, {})
    found = dict(attachments(parent)).get(attachment.path, {})
    coded = found.get("data")
    if not isinstance(coded, str):
        return replace(attachment, reason=NO_CONTENT)
    body = decode(coded)
    blob = source.bodies.put(body)
    return _held(attachment, blob.sha256, body, str(parent["_original"]), found)


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
    size, code = declared.get("size"), declared.get("hash") or attachment.key.version
    if isinstance(size, int) and size != len(body):
        yield "size"
    sha1 = base64.b64encode(hashlib.sha1(body, usedforsecurity=False).digest()).decode()
    if code and code != sha1:
        yield "hash"
