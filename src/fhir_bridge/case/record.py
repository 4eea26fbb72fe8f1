"""A Record on its way from what a source sent to its entry in the case record."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from fhir_bridge.case.certificate import Line
from fhir_bridge.case.ledger import RecordKey, RecordState

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Sighted:
    """
    One resource as a source sent it: parsed for reading, never the carrier of the original.

    `base` is the server base that relative references and attachment URLs are resolved against
    (the entry's fullUrl without Type/id, else the endpoint's base), without a trailing slash.
    `original` and `position` lead back to the bytes: the exchange, and the entry index in its
    Bundle (empty when the body is the resource).
    """

    key: RecordKey
    resource: Json
    base: str
    original: str
    position: str = ""


@dataclass(frozen=True, slots=True)
class HeldAttachment:
    """
    One attachment that a resource names, with what became of it.

    `parent` is the resource's key and `path` its place there (`content[0].attachment`,
    `presentedForm[1]`). `url` is absolute, empty for inline data. `sha256` is empty when we hold
    no bytes: then `failure` has the error code and `reason` one sentence, or `failure` is empty
    because there was neither url nor data. `content_type` is what the bytes are (sniffed),
    `declared` what the source said, `warnings` what of size, hash or type did not fit.
    """

    key: RecordKey
    parent: RecordKey
    path: str
    url: str = ""
    sha256: str = ""
    size: int = 0
    content_type: str = ""
    declared: str = ""
    failure: str = ""
    reason: str = ""
    original: str = ""
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class End:
    """Where a record's way ended: see RecordState for what `target` and `entry` carry."""

    state: RecordState
    rule: str
    reason: str = ""
    target: str = ""
    entry: str = ""


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry of the case record. `sources` are the keys of the records that stand in it."""

    full_url: str
    resource: Json
    sources: tuple[RecordKey, ...] = ()
    section: str = ""


@dataclass(frozen=True, slots=True)
class Unresolved:
    """A reference that leads out of the case record, and why."""

    entry: str
    path: str
    reference: str
    reason: str


@dataclass(frozen=True, slots=True)
class Normalized:
    """
    What normalization made of all records of a case.

    Every key that went in is in `ends` exactly once. `newest` is the newest instant that the
    evidence itself carries (`meta.lastUpdated` and the like), a literal FHIR instant.
    """

    entries: tuple[Entry, ...]
    ends: Mapping[RecordKey, End]
    unresolved: tuple[Unresolved, ...]
    newest: str


@dataclass(frozen=True, slots=True)
class CaseRecord:
    """
    What the specialist opens: a version of the FHIR document, immutable.

    `sha256` is over `document`, the exact bytes. `entries` are the fullUrls in order and
    `bridge_made` those that no source sent (Composition, Provenance, our own ImagingStudy).
    """

    case_id: str
    version: int
    document: bytes
    sha256: str
    entries: tuple[str, ...]
    bridge_made: frozenset[str]
    lines: tuple[Line, ...]
