"""Attachments: fetched once, held by their hash, or failed with a reason; never lost in silence."""

from __future__ import annotations

import base64
import hashlib
from dataclasses import replace

import pytest

from fhir_bridge.case.ledger import ATTACHMENT, LedgerRow, RecordKey, RecordState
from fhir_bridge.case.record import HeldAttachment
from fhir_bridge.errors import StoreError
from fhir_bridge.pipeline.pull import attachments
from fhir_bridge.pipeline.pull.attachments import NO_CONTENT, named
from fhir_bridge.pipeline.pull.certify import certificate

from .fake_ehr import BASE, FakeEhr, document, patient, pull, source_of

KEY = RecordKey("st-anne", "DocumentReference", "d1", "1")
PDF = b"%PDF-1.7 a letter"


def _attached(**attachment):
    return {"attachment": attachment}


@pytest.fixture
def pulled(store, case):
    """Pulls documents with these contents; the attachments by path, and the fake."""

    def run(*contents, bodies=None, contained=()):
        documents = [
            document(f"d{n}", content=list(content), contained=list(contained))
            for n, content in enumerate(contents, 1)
        ]
        found = {f"{BASE}/{url}": body for url, body in (bodies or {}).items()}
        ehr = FakeEhr(store, case.id, [patient(), *documents], bodies=found)
        pull(source_of(store, case, ehr), ehr)
        return list(store.ledgers.attachments(case.id)), ehr

    return run


def _row(store, case):
    return next(row for row in store.ledgers.rows(case.id) if row.key.kind == ATTACHMENT)


def test_a_file_is_held_by_its_hash_and_by_what_it_is(pulled, store):
    (held,), _ = pulled(
        [_attached(url="Binary/7", contentType="text/plain")], bodies={"Binary/7": PDF}
    )
    assert held.sha256 == hashlib.sha256(PDF).hexdigest()
    assert store.originals.read(held.sha256) == PDF
    assert (held.size, held.content_type, held.declared) == (
        len(PDF),
        "application/pdf",
        "text/plain",
    )
    assert held.warnings == ("content type",)


def test_a_file_that_two_records_name_is_fetched_once(pulled):
    one = [_attached(url="Binary/7")]
    files, ehr = pulled(one, one, bodies={"Binary/7": PDF})
    assert len(files) == 2
    assert len({f.sha256 for f in files}) == 1
    assert sum(asked.startswith("fetch") for asked in ehr.asked) == 1


def test_a_file_that_is_not_handed_over_failed_with_a_reason(pulled, store, case):
    (lost,), _ = pulled([_attached(url="Binary/7")])
    assert (lost.sha256, lost.failure) == ("", "FB-4002")
    assert lost.reason
    row = _row(store, case)
    assert (row.state, row.attempts) == (RecordState.FAILED, 1)


@pytest.mark.parametrize("url", ["ftp://x/y", "javascript:alert(1)", "file:///etc/passwd"])
def test_an_address_that_is_no_web_address_is_not_gone_to(pulled, url):
    (lost,), ehr = pulled([_attached(url=url)])
    assert lost.failure == "FB-4002"
    assert not any(asked.startswith("fetch") for asked in ehr.asked)


def test_content_in_the_record_itself_is_held(pulled, store):
    coded = base64.encodebytes(PDF).decode()  # with its line breaks
    (held,), _ = pulled([_attached(data=coded, contentType="application/pdf", size=3, hash="bad")])
    assert store.originals.read(held.sha256) == PDF
    assert held.warnings == ("size", "hash")
    assert store.originals.get(held.original) is not None


def test_the_right_hash_and_size_are_no_warning(pulled):
    code = base64.b64encode(hashlib.sha1(PDF).digest()).decode()
    coded = base64.b64encode(PDF).decode()
    (held,), _ = pulled([_attached(data=coded, size=len(PDF), hash=code)])
    assert held.warnings == ()


def test_an_address_within_the_record_leads_to_its_contained_binary(pulled, store):
    binary = {"resourceType": "Binary", "id": "b", "data": base64.b64encode(PDF).decode()}
    (held,), ehr = pulled([_attached(url="#b")], contained=[binary])
    assert store.originals.read(held.sha256) == PDF
    assert not any(asked.startswith("fetch") for asked in ehr.asked)


@pytest.mark.parametrize("attachment", [{}, {"title": "letter"}, {"data": ""}, {"url": "#none"}])
def test_what_names_no_content_is_said_to_have_none(pulled, attachment):
    (empty,), _ = pulled([_attached(**attachment)])
    assert (empty.sha256, empty.failure, empty.reason) == ("", "", NO_CONTENT)


def test_content_that_is_not_base64_failed(pulled):
    (lost,), _ = pulled([_attached(data="not base64!")])
    assert lost.failure == "FB-4001"


@pytest.mark.parametrize(
    "attachment",
    [
        {"url": 7, "contentType": None, "hash": {"a": 1}},
        {"url": ["Binary/7"], "data": {"a": 1}},
        {"contentType": 1.5, "size": "many", "data": 5},
    ],
)
def test_an_attachment_of_the_wrong_shape_breaks_nothing(pulled, attachment):
    (empty,), _ = pulled([_attached(**attachment)])
    assert empty.reason == NO_CONTENT


def test_two_contents_of_one_record_are_two_keys():
    resource = document("d1", content=[_attached(data="aGk="), _attached(data="aGk=")])
    assert len({a.key for a in named(KEY, resource, BASE)}) == 2


def test_a_hash_that_changed_at_the_same_address_is_another_file():
    def key(hash_):
        resource = document("d1", content=[_attached(url="Binary/7", hash=hash_)])
        return next(named(KEY, resource, BASE)).key

    assert key("a=") != key("b=")


def test_a_fault_of_our_own_fails_no_file(store, case, monkeypatch):
    def full(self, url, *, content_type):
        raise StoreError("I/O")

    monkeypatch.setattr(FakeEhr, "fetch", full)
    ehr = FakeEhr(store, case.id, [patient(), document("d1", content=[_attached(url="Binary/7")])])
    with pytest.raises(StoreError):
        pull(source_of(store, case, ehr), ehr)
    assert len(store.ledgers.unsettled(case.id, "st-anne")) == 1


@pytest.mark.parametrize(
    ("more", "grade"),
    [
        ({"sha256": "ab"}, "consistent"),
        ({"reason": NO_CONTENT}, "consistent"),
        ({"failure": "FB-4002", "reason": "gone"}, "short"),
        ({}, "short"),
    ],
    ids=["held", "nothing to hold", "failed", "not settled yet"],
)
def test_a_slice_is_as_complete_as_its_files(more, grade):
    from fhir_bridge.case.certificate import Count, Evidence
    from fhir_bridge.case.slice import Slice

    counted = (Count("_summary=count", 1, after=True),)
    slice_ = Slice("c", "st-anne", KEY.kind, ended=True, evidence=Evidence(1, counted))
    file = HeldAttachment(key=KEY, parent=KEY, path="content[0].attachment", **more)
    (line,) = certificate([slice_], [file])
    assert line.grade.value == grade


def test_the_same_file_named_by_a_document_and_a_report_is_one_with_both_sources(store, case):
    form = [{"url": "Binary/7", "contentType": "application/pdf"}]
    report = {"resourceType": "DiagnosticReport", "id": "r1", "status": "final",
              "subject": {"reference": "Patient/p1"}, "presentedForm": form}  # fmt: skip
    letter = document("d1", content=[_attached(url="Binary/7")])
    ehr = FakeEhr(store, case.id, [patient(), letter, report], bodies={f"{BASE}/Binary/7": PDF})
    pull(source_of(store, case, ehr), ehr)
    files = store.ledgers.attachments(case.id)
    assert {f.parent.kind for f in files} == {"DocumentReference", "DiagnosticReport"}
    assert {f.sha256 for f in files} == {hashlib.sha256(PDF).hexdigest()}
    assert sum(asked.startswith("fetch") for asked in ehr.asked) == 1
    assert _row(store, case).sightings >= 2


def test_a_record_that_names_a_file_while_it_is_fetched_has_it_as_well(store, case):
    """Its row comes between the look at what is open and the moment when the file is settled."""
    one, other = (replace(KEY, id=id_) for id_ in ("d1", "d2"))
    (first,) = named(one, document("d1", content=[_attached(url="Binary/7")]), BASE)
    (second,) = named(other, document("d2", content=[_attached(url="Binary/7")]), BASE)
    ehr = FakeEhr(store, case.id, [], bodies={f"{BASE}/Binary/7": PDF})
    store.ledgers.see(case.id, LedgerRow(one), attachments=[first])
    store.ledgers.see(case.id, LedgerRow(other), attachments=[second])
    attachments.settle(source_of(store, case, ehr), ehr, [first])
    assert store.ledgers.unsettled(case.id, "st-anne") == []
    assert len({file.sha256 for file in store.ledgers.attachments(case.id)}) == 1


def test_what_is_held_is_not_fetched_again_by_another_run(store, case):
    letter = document("d1", content=[_attached(url="Binary/7")])
    ehr = FakeEhr(store, case.id, [patient(), letter], bodies={f"{BASE}/Binary/7": PDF})
    source = source_of(store, case, ehr)
    pull(source, ehr)
    pull(source, ehr, run=2)
    assert sum(asked.startswith("fetch") for asked in ehr.asked) == 1


def test_a_file_is_looked_at_by_its_first_bytes_and_never_held_whole(store, case, monkeypatch):
    monkeypatch.setattr(type(store.originals), "read", _too_much)
    letter = document("d1", content=[_attached(url="Binary/7")])
    ehr = FakeEhr(store, case.id, [patient(), letter], bodies={f"{BASE}/Binary/7": PDF * 1000})
    (first,) = named(KEY, letter, BASE)
    store.ledgers.see(case.id, LedgerRow(KEY), attachments=[first])
    attachments.settle(source_of(store, case, ehr), ehr, [first])
    (held,) = store.ledgers.attachments(case.id)
    assert (held.content_type, held.size) == ("application/pdf", len(PDF) * 1000)


def _too_much(self, sha256):
    raise AssertionError("a whole body in memory")


@pytest.mark.parametrize(
    ("declared", "comes"),
    [("application/pdf", False), ("image/png", False), ("text/plain", False), ("text/html", True),
     ("application/xhtml+xml", True), ("", True)],
)  # fmt: skip
def test_a_web_page_is_no_file_where_another_kind_was_promised(store, case, declared, comes):
    """A gateway's login page has status 200 and says nothing of itself."""
    page = b"<!DOCTYPE html><html><body>Please log in</body></html>"
    one = document("d1", content=[{"attachment": {"url": "Binary/b", "contentType": declared}}])
    ehr = FakeEhr(store, case.id, [one], bodies={f"{BASE}/Binary/b": page})
    source = source_of(store, case, ehr)
    pull(source, ehr)
    (held,) = store.ledgers.attachments(case.id)
    assert bool(held.sha256) is comes
    assert held.failure == ("" if comes else "FB-4002")
