"""The EHR's FHIR door, over its port: searches, pages, reads, creates."""

from __future__ import annotations

import base64
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fhir_bridge.simulators.wire import write_json

from .small_case import DOCUMENTS, MRN, PDF, Visit, opinion, records

JSON = {"accept": "application/fhir+json"}
FHIR = "application/fhir+json; fhirVersion=4.0; charset=utf-8"


def total(visit: Visit, query: str) -> int:
    answer = visit.get(query)
    assert answer.status_code == 200, answer.text
    return int(answer.json()["total"])


def ids(bundles: list[dict[str, Any]]) -> list[str]:
    return [
        entry["resource"]["id"]
        for bundle in bundles
        for entry in bundle.get("entry", ())
        if entry["search"]["mode"] == "match"
    ]


def test_all_pages_together_are_exactly_the_records(healthy: Visit) -> None:
    bundles = healthy.pages("DocumentReference?patient=p-1")
    assert [len(bundle["entry"]) for bundle in bundles] == [10, 10, 3]
    assert [bundle["total"] for bundle in bundles] == [DOCUMENTS] * 3
    shown = [entry["resource"] for bundle in bundles for entry in bundle["entry"]]
    assert shown == records()["DocumentReference"]


def test_a_page_can_be_asked_for_again_and_says_the_same(healthy: Visit) -> None:
    first = healthy.get("DocumentReference?patient=p-1&_count=7")
    link = healthy.next_of(first.json())
    assert link is not None
    assert "offset" not in link
    assert healthy.get(link).content == healthy.get(link).content
    assert healthy.get("DocumentReference?patient=p-1&_count=7").content == first.content


def test_a_page_that_nobody_gave_out_is_gone(healthy: Visit) -> None:
    answer = healthy.get("DocumentReference?_page=12")
    assert (answer.status_code, answer.json()["resourceType"]) == (410, "OperationOutcome")


def test_the_count_is_capped_at_fifty_and_said_in_the_self_link(healthy: Visit) -> None:
    bundle = healthy.get("DocumentReference?patient=p-1&_count=500").json()
    (link,) = bundle["link"]
    assert link["url"] == f"{healthy.urls['fhir']}/DocumentReference?patient=p-1&_count=50"
    assert len(bundle["entry"]) == DOCUMENTS


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("DocumentReference?patient=Patient/p-1&_summary=count", DOCUMENTS),
        ("DocumentReference?subject=p-1", DOCUMENTS),
        ("DocumentReference?patient=p-9", 0),
        ("DocumentReference?identifier=urn:ietf:rfc:3986|urn:oid:2.25.7", 1),
        ("DocumentReference?identifier=urn:oid:2.25.7", 1),
        ("DocumentReference?identifier=http://elsewhere|urn:oid:2.25.7", 0),
        ("DocumentReference?_id=d-1,d-2", 2),
        ("DocumentReference?type=http://loinc.org|11488-4", DOCUMENTS),
        ("DocumentReference?category=clinical-note&status=entered-in-error", 1),
        ("DocumentReference?date=ge2024-03-21", 3),
        ("DocumentReference?date=le2024-03-02", 2),
        ("DocumentReference?date=ge2024-03-05&date=le2024-03-06", 2),
        ("DocumentReference?_lastUpdated=gt2025-02-04", 0),
        ("DiagnosticReport?patient=p-1&date=2021", 1),
        (f"Patient?identifier={MRN}|4711", 1),
        ("Patient?family=SANCHEZ&given=maria&birthdate=1961-03-14&gender=female", 1),
        ("Patient?family=sanchez&birthdate=1961-03-15", 0),
    ],
)
def test_a_search_finds_what_its_parameters_say(healthy: Visit, query: str, expected: int) -> None:
    assert total(healthy, query) == expected


def test_a_count_has_no_entries(healthy: Visit) -> None:
    assert "entry" not in healthy.get("DocumentReference?_summary=count").json()


def test_a_search_can_be_posted_as_a_form(healthy: Visit) -> None:
    url = f"{healthy.urls['fhir']}/DocumentReference/_search"
    answer = healthy.http.post(url, data={"patient": "p-1", "_count": "50"})
    assert len(ids([answer.json()])) == DOCUMENTS


def test_an_unknown_parameter_is_left_out_and_said_so(healthy: Visit) -> None:
    bundle = healthy.get("DocumentReference?patient=p-1&colour=red&_count=2").json()
    assert bundle["total"] == DOCUMENTS
    assert "colour" not in bundle["link"][0]["url"]
    assert [entry["search"]["mode"] for entry in bundle["entry"]] == ["match", "match", "outcome"]
    strict = healthy.get("DocumentReference?colour=red", headers={"prefer": "handling=strict"})
    assert strict.status_code == 400


def test_an_unreadable_date_is_refused(healthy: Visit) -> None:
    answer = healthy.get("DocumentReference?date=yesterday")
    assert (answer.status_code, answer.json()["issue"][0]["code"]) == (400, "value")


def test_a_read_carries_its_version(healthy: Visit) -> None:
    answer = healthy.get("Patient/p-1", headers=JSON)
    assert answer.headers["etag"] == 'W/"3"'
    assert answer.headers["content-type"] == FHIR
    assert healthy.get("Patient/p-1/_history/3").json() == answer.json()
    assert healthy.get("Patient/p-1/_history/2").status_code == 404


@pytest.mark.parametrize("path", ["Patient/p-9", "Unicorn/1", "Unicorn", "Binary/gone", "a/b/c/d"])
def test_what_is_not_there_is_an_operation_outcome(healthy: Visit, path: str) -> None:
    answer = healthy.get(path, headers=JSON)
    assert (answer.status_code, answer.json()["resourceType"]) == (404, "OperationOutcome")


def test_xml_is_not_acceptable(healthy: Visit) -> None:
    answer = healthy.get("Patient/p-1", headers={"accept": "application/fhir+xml"})
    assert answer.status_code == 406


def test_a_binary_is_its_bytes_or_json_as_asked(healthy: Visit) -> None:
    raw = healthy.get("Binary/b-pdf", headers={"accept": "application/pdf"})
    assert (raw.content, raw.headers["content-type"]) == (PDF, "application/pdf")
    wrapped = healthy.get("Binary/b-pdf", headers=JSON).json()
    assert base64.b64decode(wrapped["data"]) == PDF
    mixed = "application/fhir+json;q=0.1, application/pdf"
    assert healthy.get("Binary/b-pdf", headers={"accept": mixed}).content == PDF


def test_the_endpoint_names_the_live_dicomweb_address(healthy: Visit) -> None:
    assert healthy.get("Endpoint/e-1").json()["address"] == healthy.urls["dicomweb"]


def test_the_capability_statement_says_what_is_there(healthy: Visit) -> None:
    statement = healthy.get("metadata", headers=JSON).json()
    (rest,) = statement["rest"]
    resources = {row["type"]: row for row in rest["resource"]}
    assert statement["fhirVersion"] == "4.0.1"
    assert {"code": "create"} in resources["DocumentReference"]["interaction"]
    assert {"code": "create"} not in resources["Patient"]["interaction"]
    names = {row["name"] for row in resources["DocumentReference"]["searchParam"]}
    assert {"patient", "identifier", "type", "category", "date", "status"} <= names


def test_a_document_is_created_once_found_at_once_and_unchanged(
    open_hospital: Callable[..., Any], tmp_path: Path
) -> None:
    unless = {"if-none-exist": "identifier=urn:ietf:rfc:3986|urn:uuid:77"}
    with open_hospital(state=tmp_path / "kept", only="ehr") as visit:
        made = visit.post_document(**unless)
        assert (made.status_code, made.headers["etag"]) == (201, 'W/"1"')
        stored = visit.get(made.headers["location"].partition("/_history/")[0]).json()
        again = visit.post_document(**unless)
        assert (again.status_code, again.json()) == (200, stored)
        assert total(visit, "DocumentReference?identifier=urn:uuid:77&patient=p-1") == 1
    assert {k: v for k, v in stored.items() if k not in ("id", "meta")} == opinion()
    with open_hospital(state=tmp_path / "kept", only="ehr") as visit:
        assert visit.get(f"DocumentReference/{stored['id']}").json() == stored
        assert visit.control("counts")["created"]["DocumentReference"] == 1


def test_a_line_torn_off_by_a_crash_was_never_acknowledged(
    open_hospital: Callable[..., Any], tmp_path: Path
) -> None:
    with open_hospital(state=tmp_path / "kept", only="ehr") as visit:
        visit.post_document()
    with (tmp_path / "kept" / "chart.jsonl").open("ab") as lines:
        lines.write(b'{"resourceType":"Docum')
    with open_hospital(state=tmp_path / "kept", only="ehr") as visit:
        visit.post_document()
        assert visit.control("counts")["created"]["DocumentReference"] == 2


def test_a_binary_can_be_created_raw_and_as_json(open_hospital: Callable[..., Any]) -> None:
    with open_hospital(only="ehr") as visit:
        url = f"{visit.urls['fhir']}/Binary"
        wrapped = {"resourceType": "Binary", "contentType": "application/pdf"}
        wrapped["data"] = base64.b64encode(PDF).decode()
        for body, content_type in (
            (PDF, "application/pdf"),
            (write_json(wrapped), "application/fhir+json"),
        ):
            made = visit.http.post(url, content=body, headers={"content-type": content_type})
            assert made.status_code == 201
            place = made.headers["location"].partition("/_history/")[0]
            assert visit.get(place, headers={"accept": "application/pdf"}).content == PDF


@pytest.mark.parametrize(
    ("body", "content_type", "status"),
    [
        (b"{", "application/fhir+json", 400),
        (b'{"resourceType":"Patient"}', "application/fhir+json", 400),
        (b'{"resourceType":"DocumentReference"}', "application/fhir+json", 422),
        (write_json(opinion() | {"subject": {"reference": "Patient/x"}}), "application/json", 422),
        (b"<x/>", "application/fhir+xml", 415),
    ],
)
def test_a_bad_document_is_refused_and_not_kept(
    healthy: Visit, body: bytes, content_type: str, status: int
) -> None:
    url = f"{healthy.urls['fhir']}/DocumentReference"
    answer = healthy.http.post(url, content=body, headers={"content-type": content_type})
    assert (answer.status_code, answer.json()["resourceType"]) == (status, "OperationOutcome")
    assert healthy.control("counts")["created"]["DocumentReference"] == 0


def test_numbers_keep_their_digits(healthy: Visit) -> None:
    url = f"{healthy.urls['fhir']}/Binary"
    body = b'{"resourceType":"Binary","contentType":"text/plain","x":1.50}'
    made = healthy.http.post(url, content=body, headers={"content-type": "application/fhir+json"})
    assert b'"x":1.50' in made.content
