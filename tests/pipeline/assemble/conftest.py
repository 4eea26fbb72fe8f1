"""The cases of fixtures/, normalized as if their hospital had answered on some port."""

from __future__ import annotations

import csv
import hashlib
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from fhir_bridge import tables
from fhir_bridge.case.case import Case
from fhir_bridge.case.certificate import Count, Evidence, Line, line
from fhir_bridge.case.ledger import ATTACHMENT, LedgerRow, RecordKey
from fhir_bridge.case.record import CaseRecord, HeldAttachment, Normalized, Sighted
from fhir_bridge.pipeline.assemble import assemble
from fhir_bridge.pipeline.normalize import normalize
from fhir_bridge.standards.fhir import json
from fhir_bridge.standards.fhir.attachments import attachments, decode, resolve, sniff
from fhir_bridge.standards.fhir.person import person

CASES = tables.folder("fixtures", "cases")
SOURCE = "general-hospital"


@dataclass
class Pulled:
    """One case of fixtures/ as a pull would leave it."""

    case: Case
    pins: dict[str, str]
    sighted: list[Sighted] = field(default_factory=list)
    attachments: list[HeldAttachment] = field(default_factory=list)
    blobs: dict[str, bytes] = field(default_factory=dict)

    def normalize(self) -> Normalized:
        return normalize(self.case, self.sighted, self.attachments, [], self.pins)

    def lines(self) -> list[Line]:
        counted = Evidence(obtained=3, counts=(Count("_summary=count", 3, after=True),))
        short = Evidence(obtained=26, counts=(Count("Bundle.total", 27),))
        return [line(SOURCE, "DocumentReference", short), line(SOURCE, "DiagnosticReport", counted)]

    def record(self, normalized: Normalized | None = None, **changed: Any) -> CaseRecord:
        given: dict[str, Any] = {
            "version": 1,
            "tables": tables.fingerprint(),
            "read_blob": self.blobs.__getitem__,
            "lines": self.lines(),
            **changed,
        }
        return assemble(
            self.case, self.pins, normalized or self.normalize(), given.pop("lines"), **given
        )

    def rows(self) -> list[LedgerRow]:
        ends = self.normalize().ends
        return [
            LedgerRow(key).ended(end.state, rule=end.rule, target=end.target, entry=end.entry)
            for key, end in ends.items()
        ]


def read(folder: Path) -> list[dict[str, Any]]:
    found = []
    for path in sorted((folder / "ehr").glob("*.json")):
        value = json.loads(path.read_bytes())
        if "decoy" not in path.name:
            found += value if isinstance(value, list) else [value]
    return found


def pull(specialty: str, port: int) -> Pulled:
    folder, base = CASES / specialty, f"http://127.0.0.1:{port}/r4"
    with (folder / "ehr" / "binaries.csv").open(encoding="utf-8", newline="") as lines:
        files = {row["id"]: folder / "files" / row["file"] for row in csv.DictReader(lines)}
    resources = read(folder)
    patient = next(one for one in resources if one["resourceType"] == "Patient")
    case = Case(
        id=f"case-{specialty}",
        patient={"resourceType": "Patient", "name": patient["name"]},
        person=person(patient),
        specialty=specialty,
        question="Is <another> way & safer?",
        providers=(SOURCE,),
        opened_at=datetime(2025, 7, 10, tzinfo=UTC),
    )
    pulled = Pulled(case, {SOURCE: patient["id"]})
    for resource in resources:
        version = resource.get("meta", {}).get("versionId", "")
        key = RecordKey(SOURCE, resource["resourceType"], resource["id"], version)
        pulled.sighted.append(Sighted(key, resource, base, "exchange"))
        for path, attachment in attachments(resource):
            file = files.get(attachment.get("url", "").rpartition("/")[2])
            body = file.read_bytes() if file and file.exists() else decode(attachment.get("data"))
            pulled.blobs[hashlib.sha256(body).hexdigest()] = body
            pulled.attachments.append(_held(key, path, attachment, base, body))
    return pulled


def _held(
    parent: RecordKey, path: str, attachment: dict[str, Any], base: str, body: bytes
) -> HeldAttachment:
    url = attachment.get("url", "")
    address = resolve(url, base) if url else f"{parent}#{path}"
    missing = bool(url and not body)
    return HeldAttachment(
        RecordKey(SOURCE, ATTACHMENT, address, attachment.get("hash", "")),
        parent,
        path,
        url=address if url else "",
        sha256=hashlib.sha256(body).hexdigest() if body else "",
        size=len(body),
        content_type=sniff(body) if body else "",
        failure="FB-4002" if missing else "",
        reason="the hospital does not hand it over" if missing else "",
    )


@pytest.fixture
def pulled():
    """`pulled("oncology", port=4711)`: a case of fixtures/, pulled from that port."""
    return lambda specialty="oncology", port=4711: pull(specialty, port)
