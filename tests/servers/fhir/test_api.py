"""What a portal reads below /fhir."""

from __future__ import annotations

import base64

from starlette.routing import Route
from tests.servers.conftest import NOW, PDF, Bridge, report

from fhir_bridge.servers.fhir.api import Api
from fhir_bridge.servers.fhir.capability import interactions


def test_the_newest_case_record_is_given_byte_for_byte(full: Bridge) -> None:
    stored = full.store.records.get("case-1")
    answer = full.client().get("/fhir/Bundle/case-1")
    assert answer.content == full.store.records.document(stored)
    assert answer.headers["ETag"] == f'"{stored.sha256}"'
    assert answer.headers["content-type"].startswith("application/fhir+json")
    assert answer.headers["Content-Location"] == "/fhir/Bundle/case-1/_history/1"


def test_what_has_not_changed_is_not_sent_again(full: Bridge) -> None:
    browser = full.client()
    tag = browser.get("/fhir/Bundle/case-1").headers["ETag"]
    again = browser.get("/fhir/Bundle/case-1", headers={"If-None-Match": f'"other", W/{tag}'})
    assert again.status_code == 304
    assert again.content == b""


def test_an_older_version_stays_readable(full: Bridge) -> None:
    first = full.client().get("/fhir/Bundle/case-1").content
    full.seed.records("case-1", "DiagnosticReport", [report("r2", "New", "2026-11-01")])
    full.seed.record("case-1")
    browser = full.client()
    assert browser.get("/fhir/Bundle/case-1").content != first
    assert browser.get("/fhir/Bundle/case-1/_history/1").content == first
    assert browser.get("/fhir/Bundle/case-1/_history/9").status_code == 404


def test_a_case_without_a_record_and_an_unknown_case_look_alike_to_a_status_check(
    full: Bridge,
) -> None:
    full.seed.case("case-2")
    assert {full.client().get(f"/fhir/Bundle/{c}").status_code for c in ("case-2", "x")} == {404}


def test_a_file_is_given_as_it_arrived_or_as_a_resource(full: Bridge) -> None:
    browser = full.client()
    sha256 = next(a.sha256 for a in full.store.ledgers.attachments("case-1") if a.sha256)
    address = f"/fhir/Binary/{sha256}?case=case-1"
    plain = browser.get(address)
    assert plain.content == PDF
    assert plain.headers["content-type"] == "application/pdf"
    assert "sandbox" in plain.headers["Content-Security-Policy"]
    wrapped = browser.get(address, headers={"Accept": "application/fhir+json"}).json()
    assert wrapped["resourceType"] == "Binary"
    assert base64.b64decode(wrapped["data"]) == PDF


def test_a_file_of_another_case_does_not_exist(full: Bridge) -> None:
    full.seed.case("case-2")
    sha256 = next(a.sha256 for a in full.store.ledgers.attachments("case-1") if a.sha256)
    answer = full.client().get(f"/fhir/Binary/{sha256}?case=case-2")
    assert answer.status_code == 404
    assert answer.json()["resourceType"] == "OperationOutcome"


def test_the_capability_statement_says_what_the_routes_do(full: Bridge) -> None:
    stranger = full.client(logged_in=False)
    statement = stranger.get("/fhir/metadata").json()
    said = {
        (one["type"], interaction["code"])
        for one in statement["rest"][0]["resource"]
        for interaction in one["interaction"]
    }
    router = Api(full.store, full.room.access, lambda: NOW, "").router()
    routes = [route for route in router.routes if isinstance(route, Route)]
    done = {(type_, code) for type_, codes in interactions(routes).items() for code in codes}
    assert said == done
    assert {("Bundle", "read"), ("Bundle", "vread"), ("Binary", "read")} <= said
    assert statement["fhirVersion"] == "4.0.1"


def test_a_table_is_published_as_a_concept_map(full: Bridge) -> None:
    browser = full.client()
    assert browser.get("/fhir/ConceptMap/document-type").json()["resourceType"] == "ConceptMap"
    assert browser.get("/fhir/ConceptMap/no-such-table").status_code == 404


def test_reading_by_fhir_is_noted_like_any_other_reading(full: Bridge) -> None:
    before = full.store.events.newest()
    full.client().get("/fhir/Bundle/case-1")
    assert any(e.name.value == "case-read" for e in full.store.events.after(before))
