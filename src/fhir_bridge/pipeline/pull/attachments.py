"""Attachments: named by records, fetched once, held by their hash, or failed with a reason."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import Any

from fhir_bridge.case.events import Happened
from fhir_bridge.case.ledger import ATTACHMENT, RecordKey
from fhir_bridge.case.original import Answer, Blob
from fhir_bridge.case.record import HeldAttachment, Json
from fhir_bridge.errors import AttachmentMissing, BridgeError, ProviderRefused
from fhir_bridge.pipeline.pull.source import Ehr, Source
from fhir_bridge.standards.fhir import json
from fhir_bridge.standards.fhir.attachments import HEAD, attachments, decode, resolve, sniff
from fhir_bridge.standards.fhir.lenient import objects, text

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


def settle(source: Source, ehr: Ehr, group: Sequence[HeldAttachment]) -> None:
    """
    Settle attachments that share one key: one fetch serves them all, and they have the same end.

    Raises StoreError; what goes wrong at the hospital stands in the rows.
    """
    first = group[0]
    try:
        held = _fetch(source, ehr, first) if first.url else _held_inline(source, first)
    except BridgeError as error:
        if source.waits_out(error):
            raise
        held = replace(first, failure=error.code, reason=error.advice)
    event = source.event(Happened.ATTACHMENT_STORED, size=held.size)
    source.files.settle(source.case.id, held, event)


def _fetch(source: Source, ehr: Ehr, attachment: HeldAttachment) -> HeldAttachment:
    if not attachment.url.startswith(("http://", "https://")):
        raise AttachmentMissing("an address that is no web address")
    original = _asked(ehr, attachment).original
    if not original.size:
        raise AttachmentMissing("an answer without content")
    return _held(source, attachment, Blob(original.sha256, original.size), original.id)


def _asked(ehr: Ehr, attachment: HeldAttachment) -> Answer:
    """The answer; a presigned address that is over is read anew in the record that names it."""
    try:
        return ehr.fetch(attachment.url, content_type=attachment.declared)
    except ProviderRefused:
        parent, before = attachment.parent, attachment.url.partition("?")
        if not before[1] or before[0].startswith(f"{ehr.base}/"):
            raise
        body = ehr.read(f"{parent.kind}/{parent.id}").body or b""
        named_now = dict(attachments(json.load_object(body))).get(attachment.path, {})
        url = resolve(text(named_now.get("url")), ehr.base)
        if url == attachment.url or url.partition("?")[0] != before[0]:
            raise
        return ehr.fetch(url, content_type=attachment.declared)


def _held_inline(source: Source, attachment: HeldAttachment) -> HeldAttachment:
    """The content that a record carries in itself."""
    (parent,) = source.files.sighted(source.case.id, [attachment.parent])
    found = dict(attachments(parent.resource)).get(attachment.path, {})
    coded = found.get("data") or _contained(parent.resource, text(found.get("url")))
    if not isinstance(coded, str) or not coded:
        return replace(attachment, reason=NO_CONTENT)
    blob = source.bodies.put(decode(coded))
    return _held(source, attachment, blob, parent.original, found)


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
    source: Source,
    attachment: HeldAttachment,
    blob: Blob,
    original: str,
    declared: Mapping[str, Any] = MappingProxyType({}),
) -> HeldAttachment:
    head = source.bodies.head(blob.sha256, HEAD)
    sniffed = sniff(head)
    if attachment.url and _is_login_page(attachment.declared, head):
        raise AttachmentMissing("a web page in place of the file: a login, most likely")
    return replace(
        attachment,
        sha256=blob.sha256,
        size=blob.size,
        content_type=sniffed or attachment.declared,
        original=original,
        warnings=tuple(_warnings(source, attachment, blob, sniffed, declared)),
    )


def _is_login_page(declared: str, head: bytes) -> bool:
    """A whole web page where another kind of file was promised: status 200 says nothing here."""
    kind = declared.partition(";")[0].strip().lower()
    begins = head.removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    return bool(kind) and "html" not in kind and begins.startswith((b"<!doctype html", b"<html"))


def _warnings(
    source: Source,
    attachment: HeldAttachment,
    blob: Blob,
    sniffed: str,
    declared: Mapping[str, Any],
) -> Iterator[str]:
    """What the source said of the bytes and does not fit; never a reason to drop them."""
    said = attachment.declared.partition(";")[0].strip().lower()
    if said and sniffed and said != sniffed:
        yield "content type"
    size, code = declared.get("size"), text(declared.get("hash")) or attachment.key.version
    if isinstance(size, int) and size != blob.size:
        yield "size"
    if code and code != _sha1(source.bodies.pieces(blob.sha256)):
        yield "hash"


def _sha1(pieces: Iterable[bytes]) -> str:
    """`Attachment.hash`: the SHA-1 of the bytes in base64 (R4 2.24.0.8)."""
    found = hashlib.sha1(usedforsecurity=False)
    for piece in pieces:
        found.update(piece)
    return base64.b64encode(found.digest()).decode()
