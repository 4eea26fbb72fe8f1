"""What an answer tells of itself."""

from __future__ import annotations

from datetime import UTC, datetime

from fhir_bridge.case.original import Answer, How, Original


def test_headers_are_found_whatever_their_case():
    original = Original(
        id="o",
        source="s",
        how=How.GET,
        request="GET /r4/Patient/1",
        sha256="0" * 64,
        size=0,
        received_at=datetime(2026, 3, 2, tzinfo=UTC),
        status=200,
        headers={"Content-Type": "application/fhir+json"},
    )
    answer = Answer(original, "https://ehr.example/r4/Patient/1")
    assert answer.header("content-TYPE") == "application/fhir+json"
    assert answer.header("ETag") == ""
    assert answer.status == 200
