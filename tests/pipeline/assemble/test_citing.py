"""What of a case record an opinion may cite."""

from __future__ import annotations

import base64
import hashlib

from fhir_bridge.pipeline.assemble import citable
from fhir_bridge.standards.fhir import json

PDF = b"%PDF-1.7 a report"


def document(*resources: dict[str, object]) -> bytes:
    entries = [{"fullUrl": f"urn:uuid:{r['id']}", "resource": r} for r in resources]
    return json.dumps({"resourceType": "Bundle", "entry": entries})


def report(id_: str, title: str, binary: str = "b") -> dict[str, object]:
    content = [{"attachment": {"url": f"urn:uuid:{binary}", "title": f"{title} (PDF)"}}]
    return {"resourceType": "DocumentReference", "id": id_, "description": title,
            "meta": {"lastUpdated": "2025-07-01T08:00:00Z"}, "content": content}  # fmt: skip


def held(id_: str = "b") -> dict[str, object]:
    return {"resourceType": "Binary", "id": id_, "data": base64.b64encode(PDF).decode()}


def study(title: str) -> dict[str, object]:
    return {"resourceType": "ImagingStudy", "id": "s", "description": title}


def test_a_report_is_cited_by_its_content_and_version():
    (cited, by_file) = citable(document(report("d", "CT chest"), held()))

    assert cited.entry == "urn:uuid:d"
    assert cited.sha256 == hashlib.sha256(PDF).hexdigest()
    assert cited.version == "2025-07-01T08:00:00Z"
    assert (cited.title, by_file.title) == ("CT chest", "CT chest (PDF)")


def test_a_title_that_a_study_shares_with_its_report_means_the_report():
    found = citable(document(study("CT Chest"), report("d", "CT chest"), held()))

    assert [c.entry for c in found if c.title.casefold() == "ct chest"] == ["urn:uuid:d"]


def test_a_study_without_a_report_may_be_cited_itself():
    (cited,) = citable(document(study("MR liver")))

    assert cited.entry == "urn:uuid:s"
    assert cited.sha256
