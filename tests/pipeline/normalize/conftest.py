"""A small chart to normalize: records and attachments added one by one, as they were sighted."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import pytest

from fhir_bridge.case.case import Case
from fhir_bridge.case.identity import Identifier, Person
from fhir_bridge.case.ids import bridge_id, urn
from fhir_bridge.case.ledger import ATTACHMENT, INSTANCE, RecordKey
from fhir_bridge.case.record import End, Entry, HeldAttachment, Normalized, Sighted
from fhir_bridge.pipeline.normalize import normalize
from fhir_bridge.standards.fhir.attachments import attachments, resolve, sniff
from fhir_bridge.standards.fhir.lenient import text

HOME = "general-hospital"
BASES = {HOME: "http://127.0.0.1:4711/r4", "st-anne": "https://st-anne.example/fhir"}


@dataclass
class Chart:
    """What was sighted for one case. `bodies` is what each relative address delivers."""

    bodies: dict[str, bytes] = field(default_factory=dict)
    pins: dict[str, str] = field(default_factory=lambda: {HOME: "p1", "st-anne": "p1"})
    sighted: list[Sighted] = field(default_factory=list)
    attachments: list[HeldAttachment] = field(default_factory=list)
    studies: list[tuple[dict[str, Any], tuple[RecordKey, ...]]] = field(default_factory=list)
    bases: dict[str, str] = field(default_factory=lambda: dict(BASES))

    case = Case(
        id="case-1",
        patient={"resourceType": "Patient", "name": [{"family": "Fixture"}]},
        person=Person((Identifier("urn:mrn", "77"),), "Fixture", "Ann", "1966-03-02", "female"),
        specialty="oncology",
        question="May it be resected?",
        providers=(HOME,),
        opened_at=datetime(2026, 1, 2, tzinfo=UTC),
    )

    def add(self, kind: str, id_: str, *, source: str = HOME, version: str = "1", **rest: Any):
        """Sight a resource with its attachments; `version` "" gives none in its meta."""
        resource: dict[str, Any] = {"resourceType": kind, "id": id_, **rest}
        if version and "meta" not in resource:
            resource["meta"] = {
                "versionId": version,
                "lastUpdated": f"2025-01-0{version}T08:00:00Z",
            }
        key = RecordKey(source, kind, id_, version or "hash")
        self.sighted.append(Sighted(key, resource, self.bases[source], "exchange"))
        for path, attachment in attachments(resource):
            self.attachments.append(self._held(key, path, attachment))
        return key

    def _held(self, parent: RecordKey, path: str, attachment: dict[str, Any]) -> HeldAttachment:
        url = text(attachment.get("url"))
        url = "" if url.startswith("#") else url
        body = self.bodies.get(url)
        address = resolve(url, self.bases[parent.source]) if url else ""
        return HeldAttachment(
            key=RecordKey(parent.source, ATTACHMENT, address or f"{parent}#{path}"),
            parent=parent,
            path=path,
            url=address,
            sha256=hashlib.sha256(body).hexdigest() if body is not None else "",
            size=len(body or b""),
            content_type=sniff(body) if body else "",
            failure="FB-4002" if url and body is None else "",
            reason="the hospital does not hand it over" if url and body is None else "",
        )

    def document(self, id_: str, url: str | None = None, **rest: Any) -> RecordKey:
        """Sight a DocumentReference of the patient."""
        given = {
            "status": "current",
            "type": {"coding": [{"system": "http://loinc.org", "code": "11506-3"}]},
            "subject": {"reference": "Patient/p1"},
            "content": [{"attachment": {"url": url} if url else {"title": "empty"}}],
        }
        return self.add("DocumentReference", id_, **{**given, **rest})

    def study(self, uid: str, *sops: str, source: str = HOME) -> tuple[RecordKey, ...]:
        """Hold a study in DICOM."""
        keys = tuple(RecordKey(source, INSTANCE, sop, f"hash-{sop}") for sop in sops)
        resource = {
            "resourceType": "ImagingStudy",
            "identifier": [{"system": "urn:dicom:uid", "value": f"urn:oid:{uid}"}],
            "status": "available",
            "subject": {"reference": "Patient/p1"},
            "numberOfSeries": 1,
            "numberOfInstances": len(sops),
            "series": [{"uid": f"{uid}.1", "instance": [{"uid": sop} for sop in sops]}],
        }
        self.studies.append((resource, keys))
        return keys

    def normalize(self) -> Normalized:
        """Normalize all of it."""
        return normalize(self.case, self.sighted, self.attachments, self.studies, self.pins)


@dataclass(frozen=True)
class Seen:
    """A normalized chart with short ways to ask it."""

    normalized: Normalized

    def end(self, key: RecordKey) -> End:
        return self.normalized.ends[key]

    def entry(self, kind: str, id_: str, source: str = HOME) -> Entry | None:
        url = urn(bridge_id(source, kind, id_))
        return next((e for e in self.normalized.entries if e.full_url == url), None)

    def resource(self, kind: str, id_: str, source: str = HOME) -> dict[str, Any]:
        entry = self.entry(kind, id_, source)
        assert entry is not None, f"no entry for {kind}/{id_}"
        return dict(entry.resource)

    def kinds(self, kind: str) -> list[Entry]:
        return [e for e in self.normalized.entries if e.resource["resourceType"] == kind]

    def reasons(self) -> dict[str, str]:
        return {u.path: u.reason for u in self.normalized.unresolved}


@pytest.fixture
def chart() -> Chart:
    made = Chart()
    made.add(
        "Patient",
        "p1",
        name=[{"family": "Fixture"}],
        identifier=[{"system": "urn:mrn", "value": "77"}],
    )
    return made


@pytest.fixture
def seen():
    return lambda chart: Seen(chart.normalize())


@pytest.fixture
def url():
    """The fullUrl of a record."""
    return lambda kind, id_, source=HOME: urn(bridge_id(source, kind, id_))
