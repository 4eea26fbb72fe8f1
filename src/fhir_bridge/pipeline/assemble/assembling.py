"""The stage itself: entries and certificate go in, the bytes of a FHIR document come out."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from fhir_bridge.case.case import Case
from fhir_bridge.case.certificate import Line
from fhir_bridge.case.ids import bridge_id, document_id, urn
from fhir_bridge.case.record import CaseRecord, Entry, Normalized
from fhir_bridge.errors import NotReady
from fhir_bridge.pipeline.assemble.completeness import completeness, ordered
from fhir_bridge.pipeline.assemble.composition import TYPE, links, sections
from fhir_bridge.pipeline.assemble.origin import programme, provenances
from fhir_bridge.standards.fhir import json
from fhir_bridge.standards.fhir.document import problems
from fhir_bridge.standards.fhir.walking import walk

KIND = "case-record"
URI = "urn:ietf:rfc:3986"
CONTENT = "urn:sha256:"
_SHOWN_PROBLEMS = 5

ReadBlob = Callable[[str], bytes]


def assemble(
    case: Case,
    pins: Mapping[str, str],
    normalized: Normalized,
    lines: Sequence[Line],
    *,
    version: int,
    tables: str,
    read_blob: ReadBlob,
    released: str = "",
) -> CaseRecord:
    """
    The case record of a version: a Bundle of type document, as canonical bytes (R4 3.3).

    `lines` is the certificate, `tables` the hash of the tables used, `read_blob` reads held bytes
    by SHA-256. `released` is the sentence that says which person released a record that is not
    complete, when and why (TRUTH 3). The same arguments give the same bytes. Raises NotReady,
    naming what breaks, when the result would be no good document or when a source is not pinned
    to a patient.
    """
    _refuse_unpinned(pins, normalized)
    certificate = completeness(lines, normalized, released)
    entries, made = _entries(case, normalized, certificate, version, tables)
    identifier = document_id(case.id, KIND, version)
    bundle = {
        "resourceType": "Bundle",
        "id": identifier,
        "type": "document",
        "identifier": {"system": URI, "value": urn(identifier)},
        "timestamp": normalized.newest,
        "entry": [
            {"fullUrl": entry.full_url, "resource": _with_content(entry, read_blob)}
            for entry in entries
        ],
    }
    found = problems(bundle, frozenset((one.entry, one.path) for one in normalized.unresolved))
    if found:
        raise NotReady("; ".join(found[:_SHOWN_PROBLEMS]))
    document = json.dumps(bundle)
    return CaseRecord(
        case_id=case.id,
        version=version,
        document=document,
        sha256=hashlib.sha256(document).hexdigest(),
        entries=tuple(entry.full_url for entry in entries),
        bridge_made=made,
        lines=tuple(ordered(lines)),
    )


def _entries(
    case: Case, normalized: Normalized, certificate: str, version: int, tables: str
) -> tuple[list[Entry], frozenset[str]]:
    """The entries in order, and the fullUrls of those that no source sent."""
    author, date = programme(), normalized.newest
    ours = [e for e in normalized.entries if not e.sources]
    theirs = [e for e in normalized.entries if e.sources]
    origins = provenances(case.id, theirs, recorded=date, tables=tables, author=author.full_url)
    claimed = {e.full_url for e in (author, *ours, *origins, *theirs) if e.section or not e.sources}
    reached = _reached(claimed, normalized.entries)
    also = [e for e in theirs if e.full_url not in reached]
    last = {
        "text": {"status": "generated", "div": certificate},
        **({"entry": links(e.full_url for e in origins)} if origins else {}),
    }
    composition = _composition(
        case, version, date, author.full_url, sections(case, theirs, also, last)
    )
    made = [composition, *ours, author]
    urls = frozenset(entry.full_url for entry in (*made, *origins))
    return [*made, *theirs, *origins], urls


def _refuse_unpinned(pins: Mapping[str, str], normalized: Normalized) -> None:
    """No Patient stands in a record but the one that was confirmed for its source."""
    for entry in normalized.entries:
        for key in entry.sources:
            if key.kind == "Patient" and pins.get(key.source) != key.id:
                raise NotReady(f"the patient of {key.source} is not the one confirmed there")


def _composition(
    case: Case, version: int, date: str, author: str, made: list[dict[str, Any]]
) -> Entry:
    id_ = bridge_id(case.id, "Composition", str(version))
    resource: dict[str, Any] = {
        "resourceType": "Composition",
        "id": id_,
        "status": "final",
        "type": {"coding": [TYPE]},
        "subject": {"reference": urn(bridge_id(case.id, "Patient", "case"))},
        "date": date,
        "author": [{"reference": author}],
        "title": f"Case record for a second opinion in {case.specialty}, version {version}",
        "section": made,
    }
    if version > 1:
        before = {"system": URI, "value": urn(document_id(case.id, KIND, version - 1))}
        resource["relatesTo"] = [{"code": "replaces", "targetIdentifier": before}]
    return Entry(urn(id_), resource)


def _reached(start: set[str], entries: Sequence[Entry]) -> set[str]:
    """What can be reached from the Composition by following references and attachments."""
    by_url = {entry.full_url: entry for entry in entries}
    seen: set[str] = set()
    waiting = sorted(start)
    while waiting:
        url = waiting.pop()
        if url in seen or url not in by_url:
            continue
        seen.add(url)
        found = walk(by_url[url].resource)
        waiting += [str(node.get("reference")) for _, node in found.references]
        waiting += [str(node.get("url")) for _, node in found.attachments]
    return seen


def _with_content(entry: Entry, read_blob: ReadBlob) -> Mapping[str, Any]:
    """A Binary with the bytes that its hash names; every other resource as it is."""
    resource: Mapping[str, Any] = entry.resource
    meta = resource.get("meta")
    source = str(meta.get("source", "")) if isinstance(meta, Mapping) else ""
    if resource["resourceType"] != "Binary" or not source.startswith(CONTENT):
        return resource
    sha256 = source.removeprefix(CONTENT)
    body = read_blob(sha256)
    if hashlib.sha256(body).hexdigest() != sha256:
        raise NotReady(f"the store has other bytes under {sha256}")
    return {**resource, "data": base64.b64encode(body).decode("ascii")}
