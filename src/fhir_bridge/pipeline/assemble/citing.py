"""What of a case record may be cited in an opinion: entries with a title, a version and a hash."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from typing import Any

from fhir_bridge.case.opinion import Cited
from fhir_bridge.pipeline.assemble.titles import title
from fhir_bridge.standards.fhir import json
from fhir_bridge.standards.fhir.attachments import attachments, decode

STUDY = "ImagingStudy"
KINDS = ("DocumentReference", "DiagnosticReport", "Observation", "Procedure")

Resources = Mapping[str, Mapping[str, Any]]


def citable(document: bytes) -> tuple[Cited, ...]:
    """
    The records of a case record that an opinion can rest on, reports before studies.

    The hash is that of the content which stands behind an entry: its first attachment when the
    record holds it, else the entry itself. Twins of one content then are one thing to cite. Where
    a study and its report have the same title, as is usual, the title means the report.
    """
    entries = json.load_object(document)["entry"]
    resources = {entry["fullUrl"]: entry["resource"] for entry in entries}
    reports = [c for kind in KINDS for c in _citations(resources, kind)]
    taken = {cited.title.casefold() for cited in reports}
    studies = [c for c in _citations(resources, STUDY) if c.title.casefold() not in taken]
    return (*reports, *studies)


def _citations(resources: Resources, kind: str) -> Iterator[Cited]:
    for url, resource in resources.items():
        if resource["resourceType"] == kind:
            version = str(resource.get("meta", {}).get("lastUpdated", ""))
            sha256 = _content(resource, resources)
            for name in dict.fromkeys(_names(resource)):
                yield Cited(entry=url, title=name, version=version, sha256=sha256)


def _names(resource: Mapping[str, Any]) -> Iterator[str]:
    """What people call a record: as the tables show it, and as its own content is titled."""
    own = resource.get("description") if resource["resourceType"] == STUDY else None
    yield str(own or title(resource))
    for _, attachment in attachments(dict(resource)):
        if attachment.get("title"):
            yield str(attachment["title"])


def _content(resource: Mapping[str, Any], resources: Mapping[str, Mapping[str, Any]]) -> str:
    for _, attachment in attachments(dict(resource)):
        held = resources.get(str(attachment.get("url", "")), {})
        data = held.get("data") or attachment.get("data")
        if data:
            return hashlib.sha256(decode(data)).hexdigest()
    return hashlib.sha256(json.dumps(resource)).hexdigest()
