"""Each fault really shows to a client on the other side of the port, and only where it says."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack
from typing import Any

import httpx2
import pytest
from pynetdicom import build_context
from pynetdicom.sop_class import (  # type: ignore[attr-defined]  # made at import time
    StudyRootQueryRetrieveInformationModelFind as Find,
)
from pynetdicom.sop_class import (  # type: ignore[attr-defined]  # made at import time
    StudyRootQueryRetrieveInformationModelGet as Get,
)

from fhir_bridge.simulators import faults
from fhir_bridge.simulators.faults import chains, creates, images, login
from fhir_bridge.simulators.faults.fault import Fault

from .small_case import CLIENT, DOCUMENTS, MRN, PDF, STUDY, Keys, Visit
from .test_dicomweb import AS_STORED, parts, web
from .test_ehr import ids, total
from .test_login import ask, token_url
from .test_pacs import calling, find, get

QUERY = "DocumentReference?patient=p-1"
Opened = Callable[..., AbstractContextManager[Visit]]


@pytest.fixture
def ehr(open_hospital: Opened) -> Iterator[Callable[..., Visit]]:
    """Enters an EHR with faults for the rest of the test."""
    with ExitStack() as stack:
        yield lambda *names: stack.enter_context(open_hospital(*names, only="ehr"))


def second_page(visit: Visit) -> httpx2.Response:
    link = Visit.next_of(visit.get(QUERY).json())
    assert link is not None
    return visit.get(link)


def test_drop_next_ends_the_chain_while_total_says_more(ehr: Callable[..., Visit]) -> None:
    bundles = ehr("drop-next").pages(QUERY)
    assert (len(ids(bundles)), bundles[-1]["total"]) == (10, DOCUMENTS)


def test_loop_next_leads_to_the_same_page_again(ehr: Callable[..., Visit]) -> None:
    page = second_page(ehr("loop-next"))
    assert Visit.next_of(page.json()) == str(page.url)


def test_page_500_once_fails_once(ehr: Callable[..., Visit]) -> None:
    visit = ehr("page-500-once")
    assert [second_page(visit).status_code for _ in range(3)] == [500, 200, 200]


def test_page_429_once_says_how_long_to_wait(ehr: Callable[..., Visit]) -> None:
    visit = ehr("page-429-once")
    refused = second_page(visit)
    assert (refused.status_code, refused.headers["retry-after"]) == (429, "1")
    assert len(ids(visit.pages(QUERY))) == DOCUMENTS


def test_truncated_page_breaks_off(ehr: Callable[..., Visit]) -> None:
    visit = ehr("truncated-page")
    for _ in range(2):
        with pytest.raises(httpx2.RemoteProtocolError):
            second_page(visit)


def test_page_outcome_is_200_and_no_bundle(ehr: Callable[..., Visit]) -> None:
    answer = second_page(ehr("page-outcome"))
    assert (answer.status_code, answer.json()["resourceType"]) == (200, "OperationOutcome")


def test_slow_pages_take_their_time(ehr: Callable[..., Visit]) -> None:
    visit = ehr("slow-pages")
    began = time.monotonic()
    visit.get(QUERY)
    assert time.monotonic() - began >= chains.SLOW_PAGE_SECONDS


def test_total_lies_but_every_page_comes(ehr: Callable[..., Visit]) -> None:
    bundles = ehr("total-lies").pages(QUERY)
    assert [bundle["total"] for bundle in bundles] == [5, 5, 5, 5, 3]
    assert len(ids(bundles)) == DOCUMENTS


def test_other_patient_in_page_is_one_document_about_somebody_else(
    ehr: Callable[..., Visit],
) -> None:
    bundles = ehr("other-patient-in-page").pages(QUERY)
    about = [e["resource"]["subject"]["reference"] for b in bundles for e in b["entry"]]
    assert about.count("Patient/somebody-else") == 1
    assert {bundle["total"] for bundle in bundles} == {DOCUMENTS + 1}
    assert len(about) == DOCUMENTS + 1


def test_refused_reports_are_403_and_documents_are_not(ehr: Callable[..., Visit]) -> None:
    visit = ehr("refuse-diagnostic-reports")
    assert visit.get("DiagnosticReport?patient=p-1").status_code == 403
    assert visit.get("DiagnosticReport/r-1").status_code == 403
    assert visit.get(QUERY).status_code == 200


def test_two_candidates_share_number_name_and_birth_date(ehr: Callable[..., Visit]) -> None:
    visit = ehr("two-candidates")
    assert total(visit, f"Patient?identifier={MRN}|4711") == 2
    assert total(visit, "Patient?family=sanchez&given=ana&birthdate=1961-03-14") == 2


def test_a_foreign_attachment_lies_on_another_origin_that_notes_its_visitors(
    ehr: Callable[..., Visit],
) -> None:
    visit = ehr("foreign-attachment")
    (found,) = (
        content["attachment"]["url"]
        for bundle in visit.pages(QUERY)
        for entry in bundle["entry"]
        for content in entry["resource"]["content"]
        if not content["attachment"]["url"].startswith("Binary/")
    )
    assert found == visit.urls["foreign"]
    assert not found.startswith(visit.base)
    assert visit.control("foreign") == {"visits": [], "authorization": False}
    assert visit.get(found).content == PDF
    assert visit.control("foreign")["authorization"] is False
    visit.get(found, headers={"authorization": "Bearer secret"})
    seen = visit.control("foreign")
    assert (seen["authorization"], len(seen["visits"])) == (True, 2)
    assert "secret" not in str(seen)


def test_a_token_expires_after_some_requests(open_hospital: Opened, keys: Keys) -> None:
    known: dict[str, Any] = {"client_id": CLIENT, "jwks_url": keys.url, "open_door": False}
    with open_hospital("token-expires", only="ehr", **known) as visit:
        token = ask(visit, keys.assertion(token_url(visit))).json()["access_token"]
        bearer = {"authorization": f"Bearer {token}"}
        statuses = [visit.get("Patient/p-1", headers=bearer).status_code for _ in range(12)]
    assert statuses == [200] * login.TOKEN_USES + [401] * 2


def test_a_document_is_stored_although_nothing_is_answered(ehr: Callable[..., Visit]) -> None:
    visit = ehr("accept-then-timeout")
    with pytest.raises(httpx2.RemoteProtocolError):
        visit.post_document()
    assert total(visit, "DocumentReference?identifier=urn:uuid:77") == 1
    assert visit.control("requests")[0]["status"] == 0


def test_a_document_is_stored_although_500_is_answered(ehr: Callable[..., Visit]) -> None:
    visit = ehr("create-500-after-commit")
    assert visit.post_document().status_code == 500
    assert total(visit, "DocumentReference?identifier=urn:uuid:77") == 1


def test_a_refused_document_is_not_stored(ehr: Callable[..., Visit]) -> None:
    visit = ehr("create-refused")
    assert visit.post_document().status_code == 422
    assert visit.control("counts")["created"]["DocumentReference"] == 0


def test_a_rewritten_document_keeps_its_text_only(ehr: Callable[..., Visit]) -> None:
    stored = ehr("rewrites-document").post_document().json()
    assert stored["description"] == "Second opinion"
    assert "identifier" not in stored
    assert stored["author"] != [{"display": "Dr. Opinion"}]


def test_the_index_lags_behind_the_chart(
    ehr: Callable[..., Visit], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(creates, "LAG_SECONDS", 0.3)
    visit = ehr("index-lag")
    made = visit.post_document()
    assert total(visit, "DocumentReference?identifier=urn:uuid:77") == 0
    assert visit.get(f"DocumentReference/{made.json()['id']}").status_code == 200
    time.sleep(0.35)
    assert total(visit, "DocumentReference?identifier=urn:uuid:77") == 1


def test_a_forgetful_pacs_lists_more_than_it_hands_out(open_hospital: Opened) -> None:
    with open_hospital("pacs-forgets") as visit:
        assert len(web(visit, f"studies/{STUDY}/instances").json()) == 5
        assert len(parts(web(visit, f"studies/{STUDY}", AS_STORED))) == 3
        _, (row,) = find(visit, "STUDY", NumberOfStudyRelatedInstances="")
        status, box = get(visit, "STUDY", StudyInstanceUID=STUDY)
    assert (row.NumberOfStudyRelatedInstances, len(box.got), status.Status) == (5, 3, 0)


def test_dicomweb_and_get_can_be_away_while_queries_work(open_hospital: Opened) -> None:
    with open_hospital("no-wado", "no-get", "slow-images") as visit:
        assert web(visit, "studies").status_code == 404
        assert web(visit, f"studies/{STUDY}", AS_STORED).status_code == 404
        with calling(visit, build_context(Get), build_context(Find)) as association:
            accepted = {one.abstract_syntax for one in association.accepted_contexts}
    assert accepted == {Find}


def test_a_broken_stream_ends_without_its_last_boundary(open_hospital: Opened) -> None:
    with open_hospital("wado-broken-stream") as visit:
        answer = web(visit, f"studies/{STUDY}", AS_STORED)
        assert len(web(visit, f"studies/{STUDY}/instances").json()) == 5
    boundary = answer.headers["content-type"].rpartition("=")[2]
    assert answer.status_code == 200
    assert 0 < answer.content.count(boundary.encode()) < 6
    assert not answer.content.endswith(f"--{boundary}--\r\n".encode())


def test_slow_images_take_their_time(open_hospital: Opened) -> None:
    with open_hospital("slow-images") as visit:
        began = time.monotonic()
        assert len(parts(web(visit, f"studies/{STUDY}", AS_STORED))) == 5
        assert time.monotonic() - began >= 5 * images.SLOW_IMAGE_SECONDS


def test_an_unknown_fault_is_refused_with_the_names_that_exist() -> None:
    with pytest.raises(ValueError, match="drop-next"):
        faults.chosen(["no-such-day"])


def test_every_fault_has_a_name_a_line_and_a_place() -> None:
    assert len(set(faults.NAMES)) == len(faults.FAULTS)
    plain = Fault("", "", "")
    for fault in faults.FAULTS:
        assert fault.shows
        assert fault.where
        changed = faults.rules_with([fault]) != faults.rules_with([])
        assert changed or fault.edge is not None or fault.born is not plain.born
