"""Case records: versions that never change, stored with the ends of their ledger."""

from __future__ import annotations

import hashlib
from dataclasses import replace

import pytest

from fhir_bridge.case.case import CaseState
from fhir_bridge.case.events import Event, Happened
from fhir_bridge.case.ledger import LedgerRow, RecordKey, RecordState
from fhir_bridge.case.record import CaseRecord, End, Unresolved
from fhir_bridge.errors import NotReady

KEY = RecordKey("st-anne", "DocumentReference", "d1", "1")
ENDS = {KEY: End(RecordState.KEPT, "document", entry="urn:uuid:1")}
LEFT = (Unresolved("urn:uuid:1", "author[0]", "Practitioner/x", "refused"),)


def _record(document: bytes, version: int = 1) -> CaseRecord:
    digest = hashlib.sha256(document).hexdigest()
    return CaseRecord("c1", version, document, digest, ("urn:uuid:1",), frozenset(), ())


@pytest.fixture
def add(store, case, at):
    store.ledgers.see("c1", LedgerRow(KEY, original="o1"))

    def added(document: bytes, version: int = 1):
        event = Event(Happened.RECORD_ASSEMBLED, "c1", "bridge", at, {"version": version})
        return store.records.add(_record(document, version), ENDS, LEFT, event, at=at)

    return added


def test_a_version_comes_back_byte_for_byte_with_what_was_left_open(store, add):
    stored = add(b'{"a":1.50}')
    assert store.records.document(stored) == b'{"a":1.50}'
    assert (stored.entries, stored.unresolved) == (1, LEFT)
    assert store.records.get("c1") == store.records.get("c1", 1) == stored


def test_the_ends_of_the_ledger_and_the_state_are_written_with_it(store, add):
    add(b"{}")
    (row,) = store.ledgers.rows("c1")
    assert (row.state, row.rule, row.entry) == (RecordState.KEPT, "document", "urn:uuid:1")
    case = store.cases.get("c1")
    assert (case.state, case.record_version) == (CaseState.ASSEMBLED, 1)


def test_released_immutable(store, add, at):
    """Invariant 34: another document never takes the place of a version that exists."""
    first = add(b'{"a":1}')
    store.records.release(first, by="nurse", reason="enough")
    again = add(b'{"a":2}')
    assert again.sha256 == first.sha256
    assert store.records.get("c1", 1).released_by == "nurse"


def test_the_newest_version_is_the_one_that_is_read(store, add):
    add(b'{"a":1}')
    second = add(b'{"a":2}', version=2)
    assert store.records.get("c1") == second
    assert store.cases.get("c1").record_version == 2


def test_a_release_names_who_and_why(store, add, at):
    stored = add(b"{}")
    event = Event(Happened.RECORD_RELEASED, "c1", "nurse", at)
    store.records.release(stored, event, by="nurse", reason="the rest is on paper")
    now = store.records.get("c1")
    assert now == replace(stored, released_by="nurse", released_reason="the rest is on paper")
    assert store.cases.get("c1").state is CaseState.RELEASED


def test_before_the_first_pull_there_is_no_record(store, case):
    with pytest.raises(NotReady):
        store.records.get("c1")
