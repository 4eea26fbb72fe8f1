"""Attachments: one Binary for each distinct content, and what becomes of every other one."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from fhir_bridge.case.ids import bridge_id, urn
from fhir_bridge.case.ledger import RecordKey, RecordState
from fhir_bridge.case.record import End, Entry, HeldAttachment
from fhir_bridge.errors import Unreadable
from fhir_bridge.standards.fhir.attachments import OCTETS, decode, without_server
from fhir_bridge.standards.fhir.lenient import objects
from fhir_bridge.standards.fhir.walking import Node

MAX_EMBEDDED = 4 * 1024 * 1024
ORIGINAL_URL = "http://fhir-bridge.example/StructureDefinition/original-url"
CONTENT = "urn:sha256:"
TOO_LARGE = "held by the bridge, too large to embed"
NOT_FETCHED = "not fetched"

Held = Mapping[RecordKey, Mapping[str, HeldAttachment]]


def by_parent(attachments: Iterable[HeldAttachment]) -> dict[RecordKey, dict[str, HeldAttachment]]:
    """Attachments under the record and the path that name them; one that we hold wins."""
    found: dict[RecordKey, dict[str, HeldAttachment]] = {}
    for one in sorted(attachments, key=_order):
        found.setdefault(one.parent, {}).setdefault(one.path, one)
    return found


def _order(one: HeldAttachment) -> tuple[Any, ...]:
    return one.parent, one.path, not one.sha256, one.key, one.sha256, one.failure, one.reason


@dataclass(slots=True)
class Contents:
    """
    The distinct contents of the records that stand.

    `firsts` are the attachments that stand for their bytes; `entries` one Binary for each of them
    that is small enough to travel inside the record.
    """

    firsts: dict[str, HeldAttachment] = field(default_factory=dict)
    keys: dict[str, set[RecordKey]] = field(default_factory=dict)

    def url(self, sha256: str) -> str:
        """The fullUrl of the Binary with these bytes; empty when they are too large to embed."""
        small = self.firsts[sha256].size <= MAX_EMBEDDED
        return urn(bridge_id("sha256", "Binary", sha256)) if small else ""

    def entries(self) -> list[Entry]:
        """The Binary entries, without their `data`: assembly reads it by `meta.source`."""
        return [
            Entry(self.url(sha), self._binary(sha), tuple(sorted(self.keys[sha])))
            for sha in sorted(self.firsts)
            if self.url(sha)
        ]

    def _binary(self, sha256: str) -> Node:
        return {
            "resourceType": "Binary",
            "id": self.url(sha256).removeprefix("urn:uuid:"),
            "meta": {"source": CONTENT + sha256},
            "contentType": self.firsts[sha256].content_type or OCTETS,
        }


def collect(held: Held, standing: Iterable[RecordKey]) -> Contents:
    """The contents that records still name; `standing` are the keys of those in the case record."""
    contents = Contents()
    for parent in sorted(standing):
        for one in held.get(parent, {}).values():
            if one.sha256:
                contents.firsts.setdefault(one.sha256, one)
                contents.keys.setdefault(one.sha256, set()).add(one.key)
    return contents


def rewritten(
    node: Node, one: HeldAttachment | None, contents: Contents, base: str
) -> tuple[Node, str]:
    """
    An Attachment as it stands in the record, and why its content is not in it (else empty).

    Held bytes are pointed to by the urn of their Binary. Where there is none, the address that the
    source gave stays in an extension, without its server: a server's port is no evidence.
    """
    if one is not None and one.sha256:
        url = contents.url(one.sha256)
        if url:
            kept = {k: v for k, v in node.items() if k.lstrip("_") not in ("data", "url")}
            return {**kept, "url": url}, ""
        return _without_address(node, base), TOO_LARGE
    if one is not None and one.failure:
        return _without_address(node, base), one.reason or "could not be obtained"
    if "url" not in node:
        return node, ""
    # What stands there may be no address at all: blanks, a number, a fragment that names nothing.
    gone = one.reason if one is not None else NOT_FETCHED
    return _without_address(node, base), "" if "data" in node else gone


def _without_address(node: Node, base: str) -> Node:
    kept = {k: v for k, v in node.items() if k.lstrip("_") not in ("data", "url")}
    url = node.get("url")
    written = without_server(url, base) if isinstance(url, str) else ""
    if not written and kept:
        return kept
    # A uri has no blanks; an address that was sent with some is kept as the text that it is.
    kind = "valueString" if any(map(str.isspace, written)) else "valueUri"
    extension: dict[str, Any] = {"url": ORIGINAL_URL, kind: written or "inline"}
    return {**kept, "extension": [*objects(node.get("extension")), extension]}


# The best end of several sightings of one attachment: what we can show wins.
_BEST = (
    RecordState.KEPT,
    RecordState.MERGED_INTO,
    RecordState.SUPERSEDED,
    RecordState.QUARANTINED,
    RecordState.EXCLUDED,
    RecordState.FAILED,
)


def settle(
    held: Held, contents: Contents, homes: Mapping[RecordKey, str], ends: dict[RecordKey, End]
) -> None:
    """Give every attachment its end; `homes` are the fullUrls of the records that stand."""
    found: dict[RecordKey, End] = {}
    for parent in sorted(held):
        for one in held[parent].values():
            end = _end(one, contents, homes, ends.get(parent))
            known = found.get(one.key)
            if known is None or _BEST.index(end.state) < _BEST.index(known.state):
                found[one.key] = end
    ends.update(found)


def _end(
    one: HeldAttachment, contents: Contents, homes: Mapping[RecordKey, str], parent: End | None
) -> End:
    if not one.sha256 and not one.failure:
        return End(RecordState.EXCLUDED, "no-content", "names neither an address nor a content")
    if not one.sha256:
        return End(RecordState.FAILED, one.failure, one.reason or "could not be obtained")
    first = contents.firsts.get(one.sha256)
    if one.parent in homes and first and first.key == one.key:
        url = contents.url(one.sha256)
        note = "" if url else TOO_LARGE
        return End(
            RecordState.KEPT, "kept", _joined(note, *one.warnings), entry=url or homes[one.parent]
        )
    if first and (one.parent in homes or _merged(parent)):
        reason = _joined("the same bytes are held already", *one.warnings)
        return End(RecordState.MERGED_INTO, "same-bytes", reason, target=str(first.key))
    if parent is None:
        return End(RecordState.EXCLUDED, "no-record", "belongs to no record that came")
    return End(parent.state, "with-its-record", parent.reason, target=parent.target)


def _merged(parent: End | None) -> bool:
    return parent is not None and parent.state is RecordState.MERGED_INTO


def _joined(*notes: str) -> str:
    return "; ".join(note for note in notes if note)


def binary_content(resource: Mapping[str, Any]) -> str:
    """The SHA-256 of what a Binary resource carries; empty when it carries nothing readable."""
    try:
        body = decode(resource.get("data"))
    except Unreadable:
        return ""
    return hashlib.sha256(body).hexdigest() if body else ""
