"""What the pages show and do, through HTTP, over a real store."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
from tests.servers.conftest import GENERAL, JANE, PDF, Bridge, counted, document, report

from fhir_bridge.case.case import CaseState
from fhir_bridge.case.delivery import DeliveryState
from fhir_bridge.case.identity import Identifier, Person
from fhir_bridge.case.ids import bridge_id
from fhir_bridge.case.ledger import RecordKey
from fhir_bridge.errors import UsageError

ORIGIN = {"Origin": "http://127.0.0.1:8400"}
PAGES = (
    "/",
    "/cases/new",
    "/unassigned",
    "/sources",
    "/audit",
    "/cases/case-1",
    "/cases/case-1/documents",
    "/cases/case-1/record",
    "/cases/case-1/opinion",
    "/cases/case-1/certificate",
    "/cases/case-1/ledger",
    "/cases/case-1/release",
    f"/cases/case-1/identity/{GENERAL}",
    f"/cases/case-1/documents/{bridge_id(GENERAL, 'DocumentReference', 'd1')}",
    "/nothing",
    "/cases/none",
)


def post(bridge: Bridge, path: str, **data):
    """A form of our own page."""
    browser = bridge.client()
    csrf = browser.get("/").text.split('name="csrf" value="')[1].split('"')[0]
    return browser.post(path, data={"csrf": csrf, **data}, headers=ORIGIN)


@pytest.mark.parametrize("path", PAGES)
def test_every_page_has_one_heading_a_title_and_no_inline_code(full: Bridge, path: str) -> None:
    page = full.client().get(path).text
    assert len(re.findall(r"<h1[ >]", page)) == 1
    assert re.search(r"<title>[^<]{6,}</title>", page)
    assert not re.search(r"\son\w+=|<style|style=|javascript:", page)


@pytest.mark.parametrize("path", [p for p in PAGES if p.startswith("/cases/case-1")])
def test_every_page_of_a_case_says_who_it_is_about(full: Bridge, path: str) -> None:
    page = full.client().get(path).text
    assert "DOE, Jane" in page
    assert "born 1961-03-14" in page
    assert "MRN 4711 (General Hospital)" in page
    assert "<title>DOE, Jane, born 1961-03-14" in page


def test_the_worklist_puts_what_needs_a_person_first(full: Bridge) -> None:
    full.seed.case("case-2", patient={**JANE, "name": [{"family": "Abel"}]})
    page = full.client().get("/").text
    assert page.index("ABEL") < page.index("DOE, Jane")
    assert page.index("Needs you today") < page.index("Under way")


def test_a_case_is_found_by_name_and_the_name_stands_in_no_address(full: Bridge) -> None:
    full.seed.case("case-2", patient={**JANE, "name": [{"family": "Abel"}]})
    found = post(full, "/search", q="doe jane")
    assert found.status_code == 200
    assert "DOE, Jane" in found.text
    assert "ABEL" not in found.text
    assert "No case matches" in post(full, "/search", q="nobody").text


def test_a_foreign_case_is_told_like_an_unknown_one(full: Bridge) -> None:
    pages = [full.client().get(f"/cases/{id_}").text for id_ in ("none", "other")]
    same = [re.sub(r"request +\w+|value=\"\w+\"", "", page) for page in pages]
    assert same[0] == same[1]
    assert "There is no such case here." in pages[0]


def test_reading_a_case_is_noted(full: Bridge) -> None:
    full.client().get("/cases/case-1")
    audit = full.client().get("/audit", params={"reads": True}).text
    assert "Case read" in audit
    assert "Case read</th>" not in full.client().get("/audit").text


def test_hostile_names_are_only_text(bridge: Bridge) -> None:
    hostile = '<script>alert("x")</script>'
    bridge.seed.case("case-1", patient={**JANE, "name": [{"family": hostile}]}, question=hostile)
    bridge.seed.records("case-1", "DocumentReference", [document("d1", hostile, hostile, hostile)])
    for path in PAGES:
        page = bridge.client().get(path).text
        assert "<script>alert" not in page.lower(), path


def test_certificate_lines_are_sentences(full: Bridge) -> None:
    page = full.client().get("/cases/case-1/certificate").text
    assert "Complete by the hospital&#39;s own count (4 of 4)." in page
    assert "2 of 3 reports are missing." in page


def test_a_file_that_did_not_come_makes_its_documents_short(full: Bridge) -> None:
    """The hospital's count is right, and still something that it lists is not here."""
    page = full.client().get("/cases/case-1/certificate").text
    assert "1 file of the documents is listed and not here." in page


def test_a_document_is_shown_behind_glass_and_downloads_under_our_name(full: Bridge) -> None:
    browser = full.client()
    ref = bridge_id(GENERAL, "DocumentReference", "d1")
    page = browser.get(f"/cases/case-1/documents/{ref}").text
    source = re.search(r'<iframe class="sheet" src="([^"#]+)', page)
    assert source
    shown = browser.get(source[1])
    assert shown.content == PDF
    assert shown.headers["content-type"] == "application/pdf"
    assert "frame-ancestors 'self'" in shown.headers["Content-Security-Policy"]
    saved = browser.get(source[1], params={"download": True})
    assert re.fullmatch(
        r'attachment; filename="document-\w{12}\.pdf"', saved.headers["Content-Disposition"]
    )


@pytest.mark.parametrize("kind", ["text/html", "text/plain", "application/xml", "text/xml"])
def test_foreign_text_cannot_act(full: Bridge, kind: str) -> None:
    full.seed.records("case-1", "DocumentReference", [document("d9", "Letter", "2026-01-01")])
    body = b"<p onclick='x()'>Hello</p><script>x()</script><img src='https://evil.example/x'>"
    parent = RecordKey(GENERAL, "DocumentReference", "d9", "1")
    sha256 = full.seed.file("case-1", parent, body, kind)
    shown = full.client().get(f"/cases/case-1/originals/{sha256}")
    assert "sandbox" in shown.headers["Content-Security-Policy"]
    assert "script-src" not in shown.headers["Content-Security-Policy"]
    assert "Hello" in shown.text
    for harm in ("<script", "<img", "<p onclick"):
        assert harm not in shown.text


def test_an_executable_is_only_offered_for_download(full: Bridge) -> None:
    full.seed.records("case-1", "DocumentReference", [document("d9", "Viewer", "2026-01-01")])
    parent = RecordKey(GENERAL, "DocumentReference", "d9", "1")
    sha256 = full.seed.file("case-1", parent, b"MZ...", "application/x-msdownload")
    answer = full.client().get(f"/cases/case-1/originals/{sha256}")
    assert answer.headers["Content-Disposition"].startswith("attachment")


def test_a_file_of_another_case_is_not_given(full: Bridge) -> None:
    full.seed.case("case-2")
    full.seed.records("case-2", "DocumentReference", [document("dx", "Other", "2026-01-01")])
    parent = RecordKey(GENERAL, "DocumentReference", "dx", "1")
    sha256 = full.seed.file("case-2", parent, b"secret of case 2", "text/plain")
    assert full.client().get(f"/cases/case-1/originals/{sha256}").status_code == 404
    assert full.client().get(f"/cases/case-2/originals/{sha256}").status_code == 200


def test_a_missing_file_says_so_where_it_is_missed(full: Bridge) -> None:
    page = full.client().get("/cases/case-1/documents").text
    assert "its content is missing" in page
    ref = bridge_id(GENERAL, "DocumentReference", "d2")
    page = full.client().get(f"/cases/case-1/documents/{ref}").text
    assert "The hospital does not hand over its content." in page


def test_each_series_has_one_picture_or_the_reason_why_not(full: Bridge) -> None:
    browser = full.client()
    page = browser.get("/cases/case-1").text
    pictures = re.findall(r'src="(/cases/case-1/series/\w+/preview\.png)"', page)
    assert len(pictures) == 2
    kinds = sorted(browser.get(picture).headers["content-type"] for picture in pictures)
    assert kinds == ["image/png", "image/svg+xml"]
    assert "3 of 4 images" in page
    assert "Previews, not for diagnosis." in page
    assert browser.get("/cases/case-1/series/unknown/preview.png").status_code == 404


def test_the_record_reads_in_sections_with_doubts_first(full: Bridge) -> None:
    page = full.client().get("/cases/case-1/record").text
    assert page.index("2 of 3 reports are missing.") < page.index("Question and what is new")
    assert "The two reports are not needed for this question." in page
    assert "<script>x()" not in page
    stored = full.store.records.get("case-1")
    exact = full.client().get("/cases/case-1/record.json")
    assert exact.content == full.store.records.document(stored)


def test_two_candidates_stand_side_by_side_and_the_choice_is_passed_on(bridge: Bridge) -> None:
    bridge.seed.case("case-1")
    number = Identifier("https://general-hospital.example/mrn", "4711")
    ours = Person((number,), "Doe", "Jane", "1961-03-14", "female", "a")
    twin = replace(ours, identifiers=(replace(number, value="4712"),), sex="male", id="b")
    bridge.seed.asked("case-1", GENERAL, ours, twin)
    page = bridge.client().get("/cases/case-1").text
    assert "Choose the patient" in page
    page = bridge.client().get(f"/cases/case-1/identity/{GENERAL}").text
    assert page.count("This one</button>") == 2
    assert page.count("<span>Differs</span>") == 2
    post(bridge, f"/cases/case-1/identity/{GENERAL}", patient_id="a")
    post(bridge, f"/cases/case-1/identity/{GENERAL}", patient_id="")
    assert [deed[-1] for deed in bridge.deeds.done] == ["a", ""]


def test_an_incomplete_record_is_released_with_a_reason_only(bridge: Bridge) -> None:
    bridge.seed.case("case-1")
    bridge.seed.pinned("case-1")
    bridge.seed.records(
        "case-1", "DiagnosticReport", [report("r1", "CT", "2026-01-01")], evidence=counted(1, 2)
    )
    bridge.seed.record("case-1")
    refused = post(bridge, "/cases/case-1/release", reason=" ")
    assert refused.status_code == 422
    assert "Write why" in refused.text
    assert post(bridge, "/cases/case-1/release", reason="Not needed").status_code == 303
    assert bridge.deeds.done == [("release", "local", "case-1", "Not needed")]


def test_a_complete_record_is_released_by_one_click(bridge: Bridge) -> None:
    bridge.seed.case("case-1")
    bridge.seed.records(
        "case-1", "DiagnosticReport", [report("r1", "CT", "2026-01-01")], evidence=counted(1)
    )
    bridge.seed.record("case-1")
    assert 'action="/cases/case-1/release"' in bridge.client().get("/cases/case-1").text
    assert post(bridge, "/cases/case-1/release").status_code == 303


def test_the_opinion_is_previewed_and_finished_from_its_form(full: Bridge) -> None:
    full.seed.case("case-2")
    full.seed.records("case-2", "DiagnosticReport", [report("r1", "CT", "2026-01-01")])
    full.seed.record("case-2")
    full.seed.release("case-2")
    page = full.client().get("/cases/case-2/opinion").text
    assert "I advise against the planned right hepatectomy." in page
    assert 'form="page-form" data-key="act">Finish and deliver' in page
    preview = post(full, "/cases/case-2/opinion/preview", text="## A\r\nb")
    assert preview.content == PDF
    assert post(full, "/cases/case-2/opinion", text="## A\r\nb").status_code == 303
    assert full.deeds.done[-1] == ("finish", "local", "case-2", "## A\nb")


def test_the_ladder_shows_where_an_opinion_is(full: Bridge) -> None:
    states = (DeliveryState.SENT, DeliveryState.ACCEPTED, DeliveryState.READ_BACK)
    full.seed.climb(f"case-1-{GENERAL}", *states)
    page = full.client().get("/cases/case-1/opinion").text
    assert "The opinion was fetched again and compared." in page
    assert "Delivered" not in page
    full.seed.climb(f"case-1-{GENERAL}", DeliveryState.CONFIRMED)
    page = full.client().get("/cases/case-1/opinion").text
    assert "Delivered: the opinion is readable" in page
    assert full.store.cases.get("case-1").state is CaseState.DELIVERED
    assert full.client().get("/cases/case-1/opinion/case-1-opinion.pdf").content == PDF


def test_the_ledger_is_filtered_and_exported_without_formulas(full: Bridge) -> None:
    browser = full.client()
    page = browser.get("/cases/case-1/ledger", params={"state": "failed"}).text
    assert "Failed <span" in page
    assert "1 lines" in page
    full.seed.records("case-1", "Observation", [{"resourceType": "Observation", "id": "=1+1"}])
    csv = browser.get("/cases/case-1/ledger.csv")
    assert csv.headers["Content-Disposition"] == 'attachment; filename="ledger.csv"'
    assert "'=1+1" in csv.text


def test_an_unassigned_study_is_given_to_a_case_in_two_clicks(bridge: Bridge) -> None:
    bridge.seed.case("case-1")
    bridge.seed.images(
        None, "9", "9", 2, header=Person(family="DOE", given="JANE", birth_date="19610314", sex="F")
    )
    page = bridge.client().get("/unassigned").text
    assert "DOE, JANE" in page
    assert "1961-03-14" in page
    uid = re.search(r'name="study_uid" value="([^"]+)"', page)
    assert uid
    assert post(bridge, "/unassigned", study_uid=uid[1], case_id="case-1").status_code == 303
    assert bridge.deeds.done == [("assign", "local", uid[1], "case-1")]
    assert post(bridge, "/unassigned", study_uid=uid[1], case_id="none").status_code == 404


def test_a_new_case_is_opened_from_fields_or_told_what_is_missing(bridge: Bridge) -> None:
    fields = {
        "family": "Doe",
        "given": "Jane Ann",
        "birth_date": "1961-03-14",
        "sex": "female",
        "number": "4711",
        "system": "https://gh.example/mrn",
        "specialty": "oncology",
        "question": "Is surgery possible?",
        "provider": GENERAL,
    }
    missing = post(bridge, "/cases", **{**fields, "birth_date": ""})
    assert missing.status_code == 422
    assert 'value="Jane Ann"' in missing.text
    opened = post(bridge, "/cases", **fields)
    assert opened.headers["location"] == "/cases/case-new"
    patient = bridge.deeds.done[0][2]
    assert patient["name"] == [{"use": "official", "family": "Doe", "given": ["Jane", "Ann"]}]
    assert post(bridge, "/cases", **{**fields, "patient": "{nonsense"}).status_code == 422


def test_an_empty_console_says_what_will_appear(bridge: Bridge) -> None:
    browser = bridge.client()
    for path in ("/", "/unassigned"):
        assert 'class="empty"' in browser.get(path).text


def test_a_list_of_two_thousand_documents_stays_short_on_the_case_page(bridge: Bridge) -> None:
    bridge.seed.case("case-1")
    many = [document(f"d{n}", f"Note {n}", f"20{n % 25:02}-01-01") for n in range(2000)]
    bridge.seed.records("case-1", "DocumentReference", many, evidence=counted(2000))
    page = bridge.client().get("/cases/case-1").text
    assert "All 2000 documents and reports" in page
    assert len(page) < 90_000


def test_an_opinion_that_cannot_be_signed_comes_back_as_it_was_typed(
    full: Bridge, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> str:
        raise UsageError("line 3: the section is empty; expected its text")

    full.seed.case("case-2")
    full.seed.record("case-2")
    full.seed.release("case-2")
    monkeypatch.setattr(type(full.deeds), "finish_opinion", refuse)
    page = post(full, "/cases/case-2/opinion", text="## Opinion\r\nmy <words>\r\n## More")
    assert page.status_code == 422
    assert "Not signed yet. Line 3: the section is empty; expected its text." in page.text
    assert "## Opinion\nmy &lt;words&gt;\n## More</textarea>" in page.text
