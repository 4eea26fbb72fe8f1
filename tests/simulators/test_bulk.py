"""The hospital's export: later, in files, to those who ask in the right way."""

from __future__ import annotations

import gzip

import pytest

from fhir_bridge.simulators.bulk import POLLS

from .small_case import DOCUMENTS

ASYNC = {"prefer": "respond-async", "accept": "application/fhir+json"}


def _finished(visit, order: str) -> dict:
    place = visit.get(order, headers=ASYNC).headers["content-location"]
    for _ in range(POLLS):
        waiting = visit.get(place)
        assert (waiting.status_code, waiting.headers["retry-after"]) == (202, "1")
    return visit.get(place).json() | {"place": place}


def test_a_manifest_counts_the_lines_of_its_files(healthy):
    found = _finished(healthy, "Group/everybody/$export?_type=DocumentReference,Patient")
    assert {one["type"]: one["count"] for one in found["output"]} == {
        "DocumentReference": DOCUMENTS, "Patient": 1,
    }  # fmt: skip
    body = healthy.get(found["output"][0]["url"]).content
    assert body.count(b"\n") == DOCUMENTS
    assert found["deleted"] == []


def test_a_file_comes_from_any_byte_on_while_it_is_the_same(healthy):
    found = _finished(healthy, "Patient/p-1/$export?_type=Patient")
    url, plain = found["output"][0]["url"], {"accept-encoding": "identity"}
    whole = healthy.get(url, headers=plain)
    part = {"range": "bytes=7-", "if-range": whole.headers["etag"]} | plain
    rest = healthy.get(url, headers=part)
    assert (rest.status_code, rest.content) == (206, whole.content[7:])
    assert healthy.get(url, headers=part | {"if-range": '"old"'}).status_code == 200
    with healthy.http.stream("GET", url, headers={"accept-encoding": "gzip"}) as coded:
        assert gzip.decompress(b"".join(coded.iter_raw())) == whole.content


def test_a_job_that_was_dropped_is_not_known_any_more(healthy):
    found = _finished(healthy, "Patient/$export?_since=2025-01-01T00:00:00Z")
    assert healthy.get(found["deleted"][0]["url"]).json()["entry"][0]["request"]
    assert healthy.http.delete(found["place"]).status_code == 202
    assert healthy.get(found["place"]).status_code == 404


@pytest.mark.parametrize(
    ("order", "status"),
    [
        ("Group/nobody/$export", 404),
        ("Patient/nobody/$export", 404),
        ("Patient/$export?_type=Patient&_type=Group", 400),
    ],
)
def test_what_cannot_be_exported_is_refused(healthy, order, status):
    assert healthy.get(order, headers=ASYNC).status_code == status


def test_an_export_is_never_answered_at_once(healthy):
    assert healthy.get("Patient/$export").status_code == 400


def test_the_statement_says_that_patients_can_be_exported(healthy):
    (rest,) = healthy.get("metadata").json()["rest"]
    named = {one["type"]: one.get("operation", []) for one in rest["resource"]}
    assert [one["name"] for one in named["Patient"]] == ["export"]
