"""Attachments: where a resource names content, where that content lies, and what its bytes are."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import urljoin, urlsplit

from fhir_bridge.errors import Unreadable
from fhir_bridge.standards.fhir import json
from fhir_bridge.standards.fhir.walking import Node, path_text, walk


def attachments(resource: Mapping[str, Any]) -> Iterator[tuple[str, Node]]:
    """Every attachment of a resource with its path: `("content[0].attachment", {...})`."""
    return ((path_text(path), node) for path, node in walk(resource).attachments)


def resolve(url: str, base: str) -> str:
    """
    The absolute address of an attachment: relative ones hang on the base of the resource that
    holds them (R4 2.24.0.9), never on the host alone.

    >>> resolve("Binary/7", "https://ehr.example/api/r4")
    'https://ehr.example/api/r4/Binary/7'
    >>> resolve("https://else.example/f.pdf?sig=1", "https://ehr.example/api/r4")
    'https://else.example/f.pdf?sig=1'
    """
    text = url.strip()
    try:
        return text if urlsplit(text).scheme else urljoin(base.rstrip("/") + "/", text)
    except ValueError:
        return text  # nobody can read it: it stays what it is, and is refused where it is asked


def without_server(url: str, base: str) -> str:
    """
    An address as it may stand in a record: relative when it lies under `base`, never with a query.

    >>> without_server("http://127.0.0.1:4711/r4/Binary/7?token=x", "http://127.0.0.1:4711/r4")
    'Binary/7'
    """
    plain = url.strip().split("?", 1)[0].split("#", 1)[0]
    root = base.rstrip("/") + "/"
    return plain[len(root) :] if base and plain.startswith(root) else plain


OCTETS = "application/octet-stream"
# (offset, first bytes) -> what the content is; the first row that fits wins.
_MAGIC: tuple[tuple[int, bytes, str], ...] = (
    (0, b"%PDF-", "application/pdf"),
    (0, b"{\\rtf", "application/rtf"),
    (128, b"DICM", "application/dicom"),
    (0, b"\x89PNG\r\n\x1a\n", "image/png"),
    (0, b"\xff\xd8\xff", "image/jpeg"),
    (0, b"GIF8", "image/gif"),
    (0, b"II*\x00", "image/tiff"),
    (0, b"MM\x00*", "image/tiff"),
    (0, b"PK\x03\x04", "application/zip"),
    (0, b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "application/msword"),
)
# What the first tag of a text says, in lower case.
_TAGS: tuple[tuple[bytes, str], ...] = (
    (b"<clinicaldocument", "application/xml"),
    (b"<svg", "image/svg+xml"),
    (b"<!doctype html", "text/html"),
    (b"<html", "text/html"),
    (b"<?xml", "application/xml"),
)
HEAD = 4096


def sniff(body: bytes) -> str:
    r"""
    What bytes are, whatever their sender said; only the first 4,096 are looked at.

    >>> sniff(b"%PDF-1.7 ..."), sniff(b"Dear colleague,"), sniff(b"\x00\x01")
    ('application/pdf', 'text/plain', 'application/octet-stream')
    """
    for offset, magic, type_ in _MAGIC:
        if body.startswith(magic, offset):
            return type_
    head = body[:HEAD].removeprefix(b"\xef\xbb\xbf").lstrip()
    if head[:1] == b"<":
        return _markup(head.lower())
    if head[:1] == b"{" and b'"resourceType"' in head:
        return "application/fhir+json"
    return "text/plain" if _is_text(body[:HEAD]) else OCTETS


def is_cda(body: bytes) -> bool:
    """Whether bytes are a CDA document, by their root element."""
    head = body[:HEAD].lower()
    return b"<clinicaldocument" in head or b":clinicaldocument" in head


def _markup(head: bytes) -> str:
    for tag, type_ in _TAGS:
        if head.startswith(tag):
            # An XML declaration may stand before XHTML or SVG as well.
            xhtml = type_ == "application/xml" and b"<html" in head
            svg = type_ == "application/xml" and b"<svg" in head
            return "application/xhtml+xml" if xhtml else "image/svg+xml" if svg else type_
    return "text/html" if any(mark in head for mark in (b"<p", b"<div", b"<body")) else "text/plain"


def _is_text(head: bytes) -> bool:
    # Control characters other than tab, line feed, form feed and return do not occur in text.
    return bool(head) and not any(c < 32 and c not in b"\t\n\x0c\r" for c in head)


def unwrap_binary(body: bytes) -> tuple[bytes, str] | None:
    """
    The content and declared type inside a Binary in JSON; None when `body` is no such thing.

    Raises Unreadable for base64 that cannot be decoded. Blanks inside it are tolerated (R4 2.24.0).
    """
    if sniff(body) != "application/fhir+json":
        return None
    resource = json.load_object(body)
    if resource.get("resourceType") != "Binary":
        return None
    return decode(resource.get("data")), str(resource.get("contentType") or "")


def decode(text: object) -> bytes:
    """Strict base64 with blanks tolerated; raises Unreadable."""
    try:
        return base64.b64decode("".join(str(text or "").split()), validate=True)
    except (binascii.Error, ValueError) as error:
        raise Unreadable("content is not base64") from error
