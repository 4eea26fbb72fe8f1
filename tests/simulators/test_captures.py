"""Captured answers stand under the paths that they were captured from."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest

from fhir_bridge.simulators.wire import write_json

from .small_case import CLIENT, Keys, Visit

VENDOR = "https://ehr.vendor.example/tenant/r4"


def bundle(kind: str, *identities: str, next_page: str = "") -> dict[str, Any]:
    link = [{"relation": "self", "url": f"{VENDOR}/{kind}?patient=v-1"}]
    link += [{"relation": "next", "url": next_page}] if next_page else []
    about = {"resourceType": kind, "subject": {"reference": "Patient/v-1"}}
    entries = [{"resource": about | {"id": one}} for one in identities]
    return {"resourceType": "Bundle", "type": "searchset", "link": link, "entry": entries}


@pytest.fixture(scope="module")
def captures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("captures")
    vendor = folder / "vendor"
    vendor.mkdir()
    following = f"{VENDOR}/DocumentReference?cursor=2"
    pages = bundle("DocumentReference", "v-d1", "v-d2", next_page=following)
    (vendor / "documents.json").write_bytes(write_json(pages))
    (vendor / "more-documents.json").write_bytes(write_json(bundle("DocumentReference", "v-d3")))
    (vendor / "report.json").write_bytes(
        write_json({"resourceType": "DiagnosticReport", "id": "v-r1"})
    )
    (vendor / "letter.xml").write_bytes(b"<ClinicalDocument/>")
    (vendor / "error-404.html").write_bytes(b"<html>not here</html>")
    (vendor / "error-401.json").write_bytes(b'{"detail":"Unauthorized"}')
    (folder / "bare").mkdir()
    (folder / "bare" / "report.json").write_bytes(
        b'\xef\xbb\xbf{"resourceType":"DiagnosticReport","id":"b-r1"}'
    )
    return folder


@pytest.fixture
def replayed(
    open_hospital: Callable[..., AbstractContextManager[Visit]], captures: Path
) -> AbstractContextManager[Visit]:
    return open_hospital(only="ehr", captures=captures)


def found(visit: Visit, address: str) -> list[str]:
    entries = visit.get(address).json().get("entry", [])
    return [entry["resource"]["id"] for entry in entries]


def test_a_searchset_is_the_answer_to_its_search_and_its_links_lead_to_us(
    replayed: AbstractContextManager[Visit],
) -> None:
    with replayed as visit:
        base = f"{visit.base}/tenant/r4"
        page = visit.get(f"{base}/DocumentReference?patient=v-1&_count=50").json()
        assert [entry["resource"]["id"] for entry in page["entry"]] == ["v-d1", "v-d2"]
        link = str(visit.next_of(page))
        assert link == f"{base}/DocumentReference?cursor=2"
        missing = visit.get(link)
        assert (missing.status_code, missing.content) == (404, b"<html>not here</html>")


def test_what_would_hide_another_capture_has_a_base_beside_it(
    replayed: AbstractContextManager[Visit],
) -> None:
    with replayed as visit:
        homes = {home["base"].removeprefix(visit.base): home for home in visit.control("captures")}
        assert "more-documents.json" in homes["/tenant/r4-2"]["files"]
        assert found(visit, f"{visit.base}/tenant/r4-2/DocumentReference") == ["v-d3"]
        assert sum(len(home["files"]) for home in homes.values()) == 7


def test_a_file_that_is_no_record_is_the_attachment_of_a_document(
    replayed: AbstractContextManager[Visit],
) -> None:
    with replayed as visit:
        homes = visit.control("captures")
        (base,) = (one["base"] for one in homes if "letter.xml" in one["files"])
        (entry,) = visit.get(f"{base}/DocumentReference").json()["entry"]
        (content,) = entry["resource"]["content"]
        url = f"{base}/{content['attachment']['url']}"
        assert visit.get(url).content == b"<ClinicalDocument/>"


def test_single_records_are_read_and_found_without_a_byte_order_mark(
    replayed: AbstractContextManager[Visit],
) -> None:
    with replayed as visit:
        base = f"{visit.base}/bare/fhir"
        assert found(visit, f"{base}/DiagnosticReport") == ["b-r1"]
        assert visit.get(f"{base}/DiagnosticReport/b-r1").json()["id"] == "b-r1"


def test_the_patient_of_the_case_stands_under_the_captured_id(
    replayed: AbstractContextManager[Visit],
) -> None:
    with replayed as visit:
        base = f"{visit.base}/tenant/r4"
        assert found(visit, f"{base}/Patient?family=x") == ["v-1"]
        assert visit.get(f"{base}/Patient/v-1").json()["birthDate"] == "1961-03-14"


def test_who_has_no_token_reads_the_captured_refusal(
    open_hospital: Callable[..., AbstractContextManager[Visit]], captures: Path, keys: Keys
) -> None:
    known = {"client_id": CLIENT, "jwks_url": keys.url, "open_door": False}
    with open_hospital(only="ehr", captures=captures, **known) as visit:
        refused = visit.get(f"{visit.base}/tenant/r4/Patient/v-1")
        assert (refused.status_code, refused.json()) == (401, {"detail": "Unauthorized"})
        assert visit.get(f"{visit.base}/tenant/r4/metadata").status_code == 200
