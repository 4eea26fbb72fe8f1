"""Images: an instance is one row however often it comes; other bytes under its number wait."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from fhir_bridge.case.case import CaseState
from fhir_bridge.case.events import Event, Happened
from fhir_bridge.case.identity import Identifier, Person
from fhir_bridge.case.imaging import Instance, InstanceClaim
from fhir_bridge.case.ledger import RecordState
from fhir_bridge.case.original import How, Original
from fhir_bridge.errors import StoreError
from fhir_bridge.store.images import Stored

NOW = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
ONE = Instance(
    source="st-anne",
    study_uid="1.2",
    series_uid="1.2.3",
    sop_uid="1.2.3.4",
    sop_class="1.2.840.10008.5.1.4.1.1.2",
    transfer_syntax="1.2.840.10008.1.2.1",
    sha256="a" * 64,
    dataset_sha256="b" * 64,
    size=512,
    original="i1",
    accession="ACC7",
    issuer="STANNE",
    modality="CT",
    header=Person((Identifier("STANNE", "00123"),), "DOE", "JANE", "19610314", "F"),
    case_id="c1",
)


@pytest.fixture
def put(store, case, keep, at):
    def stored(instance: Instance, id_: str = "i1") -> str:
        original = replace(keep(b"x", "spare"), id=id_, case_id=instance.case_id)
        return store.images.store_instance(original, replace(instance, original=id_), at=at)

    return stored


def _states(store):
    return [(row.state, row.sightings) for row in store.ledgers.rows("c1")]


def test_an_instance_comes_back_as_it_was_stored(store, put):
    assert put(ONE) == Stored.NEW
    assert list(store.images.of_case("c1")) == list(store.images.of_study("1.2")) == [ONE]
    assert store.images.held("c1", "st-anne") == {"1.2.3.4"}
    assert store.images.held("c1", "general") == frozenset()
    assert _states(store) == [(RecordState.PENDING, 1)]
    assert store.originals.get("i1") is not None


def test_the_same_image_again_is_one_row_with_two_sightings(store, put):
    """Invariant resend_idempotent."""
    put(ONE)
    assert put(ONE, "i2") == Stored.DUPLICATE
    assert len(store.images.of_case("c1")) == 1
    assert _states(store) == [(RecordState.PENDING, 2)]


def test_two_cases_of_one_patient_each_have_the_image(store, put, case):
    """A second opinion a year later: the same image is pulled for another case."""
    store.cases.open(replace(case, id="c2"))
    put(ONE)
    assert put(replace(ONE, case_id="c2"), "i2") == Stored.NEW
    assert put(replace(ONE, case_id="c2"), "i3") == Stored.DUPLICATE
    assert store.images.held("c1", "st-anne") == store.images.held("c2", "st-anne") != frozenset()
    assert _states(store) == [(RecordState.PENDING, 1)]
    assert put(replace(ONE, case_id=None, pushed=True), "i4") == Stored.DUPLICATE
    assert _states(store) == [(RecordState.PENDING, 2)]


def test_the_database_itself_keeps_an_image_from_being_two_rows(store, put):
    put(ONE)
    original = Original("i2", "st-anne", How.GET, "GET", "a", 1, NOW)
    with pytest.raises(StoreError), store.database.write() as connection:
        store.images._insert(connection, original, replace(ONE, original="i2"), NOW)
    unassigned = replace(ONE, case_id=None, sop_uid="9")
    put(unassigned, "i3")
    with pytest.raises(StoreError), store.database.write() as connection:
        store.images._insert(connection, replace(original, id="i4"), unassigned, NOW)


def test_uid_conflict_keeps_both(store, put):
    """Invariant 30: other bytes under the same number are kept, and wait for a person."""
    put(ONE)
    assert put(replace(ONE, dataset_sha256="c" * 64), "i2") == Stored.CONFLICT
    first, second = store.images.of_case("c1")
    assert first.quarantined == ""
    assert second.quarantined
    assert [state for state, _ in _states(store)] == [RecordState.PENDING, RecordState.QUARANTINED]


def test_an_image_that_waits_is_given_to_a_case_with_its_row(store, put, at):
    put(replace(ONE, case_id=None, pushed=True))
    assert [i.sop_uid for i in store.images.unassigned()] == ["1.2.3.4"]
    assert _states(store) == []
    event = Event(Happened.ASSIGNED, "c1", "nurse", at)
    assert store.images.assign("1.2", "c1", event) == 1
    assert list(store.images.unassigned()) == []
    assert _states(store) == [(RecordState.PENDING, 1)]
    assert store.images.assign("1.2", "c1") == 0


def test_an_image_that_waits_and_comes_again_for_a_case_belongs_to_it(store, put):
    put(replace(ONE, case_id=None, pushed=True))
    assert put(ONE, "i2") == Stored.DUPLICATE
    assert store.images.held("c1", "st-anne") == {"1.2.3.4"}


def test_a_pushed_image_says_that_it_was_received(store, put):
    put(replace(ONE, pushed=True))
    put(replace(ONE, sop_uid="1.2.3.5"), "i2")
    names = [event.name for event in store.events.after(0)]
    assert names == [Happened.INSTANCE_RECEIVED, Happened.INSTANCE_STORED]


def test_a_study_is_tied_by_what_we_hold_or_by_what_a_source_listed(store, put):
    assert store.images.case_of_study("1.2") is None
    store.ledgers.claim("c1", "st-anne", "QIDO instances", [InstanceClaim("1.2", "1.2.3", "9")])
    assert store.images.case_of_study("1.2") == "c1"
    put(replace(ONE, study_uid="7"))
    assert store.images.case_of_study("7") == "c1"


def test_an_accession_number_ties_only_when_it_is_one_case_of_that_source(store, put, case):
    put(ONE)
    assert store.images.case_of_accession("st-anne", "ACC7") == "c1"
    assert store.images.case_of_accession("general", "ACC7") is None
    store.cases.open(replace(case, id="c2"))
    put(replace(ONE, sop_uid="1.2.3.5", case_id="c2"), "i2")
    assert store.images.case_of_accession("st-anne", "ACC7") is None


def test_a_case_that_is_delivered_takes_no_more_arrivals(store, put, case):
    store.cases.open(replace(case, id="c2"))
    put(replace(ONE, case_id="c2"))
    assert [c.id for c in store.images.candidates("1.2", "")] == ["c2", "c1"]
    store.cases.move("c1", CaseState.DELIVERED)
    assert [c.id for c in store.images.candidates("1.2", "")] == ["c2"]
