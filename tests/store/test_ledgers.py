"""The ledger's rows: one for each record, however often it is seen; nothing is lost or invented."""

from __future__ import annotations

from dataclasses import replace

import pytest

from fhir_bridge.case.certificate import Count, Evidence
from fhir_bridge.case.events import Event, Happened
from fhir_bridge.case.imaging import InstanceClaim
from fhir_bridge.case.ledger import ATTACHMENT, LedgerRow, RecordKey, RecordState
from fhir_bridge.case.record import HeldAttachment
from fhir_bridge.case.slice import Page, Slice
from fhir_bridge.errors import StoreError
from fhir_bridge.standards.fhir import json
from fhir_bridge.store import schema

KEY = RecordKey("st-anne", "DocumentReference", "d1", "1")
SLICE = Slice("c1", "st-anne", "DocumentReference", question=(("patient", "p1"), ("_count", "50")))
FILE = HeldAttachment(
    key=RecordKey("st-anne", ATTACHMENT, "https://st-anne.example/r4/Binary/7"),
    parent=KEY,
    path="content[0].attachment",
    url="https://st-anne.example/r4/Binary/7",
    declared="application/pdf",
)


@pytest.fixture
def ledgers(store, case):
    return store.ledgers


def _only(ledgers) -> LedgerRow:
    (row,) = ledgers.rows("c1")
    return row


def test_a_record_seen_again_is_one_row_with_two_sightings(ledgers):
    for number in (1, 2):
        ledgers.see("c1", LedgerRow(KEY, original=f"o{number}", position="3"))
    row = _only(ledgers)
    assert (row.sightings, row.original, row.position) == (2, "o1", "3")


def test_another_version_is_another_row(ledgers):
    ledgers.see("c1", LedgerRow(KEY, original="o1"))
    ledgers.see("c1", LedgerRow(replace(KEY, version="2"), original="o2"))
    assert [row.key.version for row in ledgers.rows("c1")] == ["1", "2"]


def test_a_record_that_failed_recovers_with_the_original_that_carries_it(ledgers, keep):
    failed = LedgerRow(
        KEY, RecordState.FAILED, rule="read", reason="no", error_code="FB-2001", attempts=1
    )
    ledgers.see("c1", failed)
    ledgers.see("c1", failed)
    assert (_only(ledgers).state, _only(ledgers).attempts) == (RecordState.FAILED, 2)
    keep(json.dumps({"resourceType": "DocumentReference", "id": "d1"}), "o9")
    ledgers.see("c1", LedgerRow(KEY, original="o9"), base="https://st-anne.example/r4")
    row = _only(ledgers)
    assert (row.state, row.error_code, row.reason) == (RecordState.PENDING, "", "")
    assert row.original == "o9"
    (sighted,) = ledgers.sighted("c1")
    assert (sighted.key, sighted.base) == (KEY, "https://st-anne.example/r4")


def test_reopening_asks_again_only_for_what_failed_at_that_source(ledgers):
    failed = LedgerRow(replace(KEY, id="f"), RecordState.FAILED)
    elsewhere = LedgerRow(replace(KEY, source="general"), RecordState.FAILED)
    kept = LedgerRow(replace(KEY, id="k"), RecordState.KEPT, original="o1")
    for row in (failed, elsewhere, kept):
        ledgers.see("c1", row)
    ledgers.reopen("c1", "st-anne")
    assert [row.state for row in ledgers.rows("c1")] == [
        RecordState.PENDING,
        RecordState.FAILED,
        RecordState.KEPT,
    ]


def test_a_page_is_committed_whole_or_not_at_all(store, ledgers):
    """Cursor, rows, ids, attachments, targets and events: a crash in between leaves none."""

    def fails(*_: object) -> None:
        raise StoreError("power cut")

    page = Page(
        replace(SLICE, cursor="next", pages=1),
        seen=(LedgerRow(KEY, original="o1", position="0"),),
        bases=("https://st-anne.example/r4",),
        listed=frozenset({"d1"}),
        attachments=(FILE,),
        targets=frozenset({("Practitioner", "x")}),
    )
    broken = Event(Happened.PAGE_STORED, "c1", "bridge", None, {})  # type: ignore[arg-type]  # no time
    with pytest.raises((StoreError, AttributeError)):
        ledgers.turn(page, broken)
    assert ledgers.slice("c1", "st-anne", "DocumentReference") is None
    assert list(ledgers.rows("c1")) == []
    assert list(ledgers.attachments("c1")) == []
    assert list(ledgers.unread("c1", "st-anne")) == []
    assert ledgers.unlisted(SLICE, {"d1"}) == {"d1"}
    ledgers.turn(page)
    assert ledgers.slice("c1", "st-anne", "DocumentReference") == page.slice
    assert _only(ledgers).key == KEY
    assert list(ledgers.attachments("c1")) == [FILE]
    assert list(ledgers.unread("c1", "st-anne")) == [("Practitioner", "x")]
    assert ledgers.unlisted(SLICE, {"d1", "d2"}) == {"d2"}


def test_a_slice_comes_back_as_it_was_put(ledgers):
    evidence = Evidence(
        obtained=2,
        counts=(Count("Bundle.total", 3, trusted=False), Count("QIDO", 2, True, True, True)),
        missing=1,
        broken="FB-2010 it repeats",
        warnings=4,
    )
    slice_ = replace(
        SLICE, run=2, cursor="https://x/?a=1", pages=7, visited=("a", "b"), previous="o7",
        evidence=evidence,
    )  # fmt: skip
    ledgers.turn(Page(slice_))
    assert list(ledgers.slices("c1")) == [slice_]
    assert list(ledgers.slices("c1", "general")) == []


def test_a_new_run_lists_anew(ledgers):
    ledgers.turn(Page(SLICE, listed=frozenset({"d1"})))
    assert ledgers.unlisted(SLICE, {"d1"}) == frozenset()
    assert ledgers.unlisted(replace(SLICE, run=2), {"d1"}) == {"d1"}


def test_ids_beyond_what_one_statement_takes_are_no_problem(ledgers):
    ids = frozenset(f"d{number}" for number in range(1_200))
    ledgers.turn(Page(SLICE, listed=ids))
    assert ledgers.unlisted(SLICE, ids | {"new"}) == {"new"}


def test_what_is_referred_to_is_read_once_and_again_when_it_was_reopened(ledgers):
    target = RecordKey("st-anne", "Practitioner", "x")
    ledgers.see("c1", LedgerRow(KEY, original="o1"), targets=[("Practitioner", "x")])
    assert list(ledgers.unread("c1", "st-anne")) == [("Practitioner", "x")]
    assert list(ledgers.unread("c1", "general")) == []
    ledgers.see("c1", LedgerRow(target, RecordState.FAILED))
    assert list(ledgers.unread("c1", "st-anne")) == []
    ledgers.reopen("c1", "st-anne")
    assert list(ledgers.unread("c1", "st-anne")) == [("Practitioner", "x")]
    ledgers.see("c1", LedgerRow(replace(target, version="3"), original="o2"))
    assert list(ledgers.unread("c1", "st-anne")) == []


def test_resources_are_read_from_the_bytes_that_came(ledgers, keep):
    resource = {"resourceType": "DocumentReference", "id": "d1", "size": 1}
    bare = {"resourceType": "Observation", "id": "o"}
    body = {"resourceType": "Bundle", "type": "searchset", "entry": [{"resource": resource}, bare]}
    keep(json.dumps(body), "page")
    keep(json.dumps(resource), "read")
    ledgers.see("c1", LedgerRow(KEY, original="page", position="0"), base="https://a")
    ledgers.see(
        "c1", LedgerRow(RecordKey("st-anne", "Observation", "o"), original="page", position="1")
    )
    ledgers.see("c1", LedgerRow(replace(KEY, version="2"), original="read"))
    ledgers.see("c1", LedgerRow(replace(KEY, version="3"), RecordState.FAILED))
    found = ledgers.sighted("c1")
    assert [s.resource for s in found] == [resource, bare, resource]
    assert list(ledgers.sighted("c1", [KEY])) == [found[0]]
    assert list(ledgers.keys("c1", "st-anne", "DocumentReference")) == [
        KEY,
        replace(KEY, version="2"),
    ]
    assert ledgers.reads("c1", "st-anne") == 2


def test_an_attachment_that_failed_is_open_again_only_in_the_next_run(ledgers):
    ledgers.see("c1", LedgerRow(KEY, original="o1"), attachments=[FILE])
    ledgers.settle("c1", replace(FILE, failure="FB-4002", reason="gone"))
    row = next(r for r in ledgers.rows("c1") if r.key.kind == ATTACHMENT)
    assert (row.state, row.error_code, row.attempts) == (RecordState.FAILED, "FB-4002", 1)
    assert list(ledgers.unsettled("c1", "st-anne")) == []
    ledgers.reopen("c1", "st-anne")
    assert list(ledgers.unsettled("c1", "st-anne")) == [FILE]
    ledgers.settle("c1", replace(FILE, sha256="ab", size=3, original="o3", warnings=("size",)))
    assert list(ledgers.unsettled("c1", "st-anne")) == []
    row = next(r for r in ledgers.rows("c1") if r.key.kind == ATTACHMENT)
    assert (row.state, row.original) == (RecordState.PENDING, "o3")
    assert ledgers.attachments("c1")[0].warnings == ("size",)


def test_a_batch_of_attachments_never_tears_those_of_one_key_apart(ledgers):
    def named(number: int, parent: str) -> HeldAttachment:
        url = f"https://st-anne.example/r4/Binary/{number}"
        key = replace(FILE.key, id=url)
        path = f"content[{number}].attachment"
        return replace(FILE, key=key, url=url, path=path, parent=replace(KEY, id=parent))

    every = [named(n, parent) for n in (1, 2, 3) for parent in ("a", "b")]
    ledgers.see("c1", LedgerRow(KEY), attachments=every)
    some = ledgers.unsettled("c1", "st-anne", keys=2)
    assert sorted(a.url[-1] for a in some) == ["1", "1", "2", "2"]
    assert len(ledgers.unsettled("c1", "st-anne")) == 6


def test_a_witness_that_is_asked_again_adds_to_its_list(ledgers):
    one, two = (InstanceClaim("1.2", "1.2.3", uid, "1.2.840") for uid in ("1.1", "1.2"))
    ledgers.claim("c1", "st-anne", "QIDO instances", [one])
    ledgers.claim("c1", "st-anne", "QIDO instances", [one, two])
    ledgers.claim("c1", "st-anne", "C-FIND IMAGE", [two])
    assert ledgers.claims("c1", "st-anne") == {"QIDO instances": [one, two], "C-FIND IMAGE": [two]}
    assert ledgers.claims("c1", "general") == {}


def test_no_case_sees_what_another_has(store, ledgers, case, at):
    """Invariant no_cross_case, at the floor where it begins."""
    store.cases.open(replace(case, id="c2"))
    ledgers.turn(Page(SLICE, seen=(LedgerRow(KEY, original="o1", position="0"),), bases=("b",)))
    ledgers.claim("c1", "st-anne", "w", [InstanceClaim("1", "2", "3")])
    assert not any(
        (
            ledgers.rows("c2"),
            ledgers.slices("c2"),
            ledgers.sighted("c2"),
            ledgers.attachments("c2"),
            ledgers.claims("c2", "st-anne"),
            store.events.after(0, case_id="c2"),
        )
    )


def test_every_table_of_ours_is_marked_as_ours():
    assert all(name.startswith("fb_") for name in schema.metadata.tables)
