"""What records refer to is read once, on its own server, and never another patient."""

from __future__ import annotations

from collections import Counter

import pytest

from fhir_bridge.case.ledger import RecordState
from fhir_bridge.errors import StoreError
from fhir_bridge.pipeline.pull import references

from .fake_ehr import BASE, FakeEhr, document, patient, pull, source_of


def _about(*literals: str, **more):
    return document("d1", author=[{"reference": literal} for literal in literals], **more)


@pytest.fixture
def pulled(store, case):
    def run(*resources):
        ehr = FakeEhr(store, case.id, [patient(), *resources])
        pull(source_of(store, case, ehr), ehr)
        return [asked.removeprefix("read ") for asked in ehr.asked if asked.startswith("read ")]

    return run


def test_references_are_followed_to_the_end_each_once(pulled):
    chain = [
        {"resourceType": "Practitioner", "id": "a", "x": {"reference": "Organization/o"}},
        {"resourceType": "Organization", "id": "o", "partOf": {"reference": "Organization/o2"}},
        {"resourceType": "Organization", "id": "o2", "partOf": {"reference": "Organization/o"}},
    ]
    read = pulled(_about("Practitioner/a", f"{BASE}/Practitioner/a/_history/3"), *chain)
    assert Counter(read) == Counter(
        ["Patient/p1", "Practitioner/a", "Organization/o", "Organization/o2"]
    )


@pytest.mark.parametrize(
    "literal",
    [
        "Patient/p2",
        "Binary/7",
        "https://elsewhere.example/r4/Practitioner/a",
        "urn:uuid:6f2b7f0e-5d0c-5a53-9f7e-0b1d6b8f9a41",
        "#contained",
        "Practitioner?identifier=1",
        "javascript:alert(1)",
    ],
)
def test_what_is_not_ours_to_read_is_not_read(pulled, literal):
    assert pulled(_about(literal)) == ["Patient/p1"]


def test_a_relative_reference_of_another_base_is_not_ours(store, case):
    """A gateway hands on a record whose fullUrl lies elsewhere: its references lie there too."""
    from fhir_bridge.pipeline.pull.targets import targets

    elsewhere = "https://elsewhere.example/r4"
    assert list(targets(_about("Practitioner/a"), elsewhere, BASE, patient="p1")) == []


@pytest.mark.parametrize("id_", [None, "other", ""])
def test_another_record_than_the_one_asked_for_is_noted_once_and_not_asked_forever(
    store, case, monkeypatch, id_
):
    ehr = FakeEhr(store, case.id, [patient(), _about("Practitioner/a")])
    read = FakeEhr.read

    def other(self, reference, *, previous=""):
        if reference == "Practitioner/a":
            self.asked.append("read Practitioner/a")
            return self._answer({"resourceType": "Practitioner", **({"id": id_} if id_ else {})})
        return read(self, reference, previous=previous)

    monkeypatch.setattr(FakeEhr, "read", other)
    pull(source_of(store, case, ehr), ehr)
    assert ehr.asked.count("read Practitioner/a") == 1
    states = {(r.key.kind, r.key.id): r for r in store.ledgers.rows(case.id)}
    assert states["Practitioner", "a"].state is RecordState.FAILED
    assert states["Practitioner", "a"].error_code == "FB-2006"


def test_what_failed_is_asked_again_in_the_next_run_and_may_come(store, case):
    ehr = FakeEhr(store, case.id, [patient(), _about("Practitioner/a")])
    source = source_of(store, case, ehr)
    pull(source, ehr)
    ehr.resources.append({"resourceType": "Practitioner", "id": "a"})
    pull(source, ehr)
    assert ehr.asked.count("read Practitioner/a") == 1
    store.ledgers.reopen(case.id, "st-anne")
    pull(source, ehr, run=2)
    assert ehr.asked.count("read Practitioner/a") == 2
    assert any(s.key.kind == "Practitioner" for s in store.ledgers.sighted(case.id))


def test_a_server_that_makes_up_references_without_end_is_stopped_and_told_of(
    store, case, monkeypatch
):
    monkeypatch.setattr(references, "MAX_READS", 30)
    first = _about(*(f"Practitioner/{n}-x" for n in range(8)))
    ehr = FakeEhr(store, case.id, [patient(), first])

    def read(self, reference, *, previous=""):
        kind, _, id_ = reference.partition("/")
        more = {"x": {"reference": f"Practitioner/{id_}x"}}
        return self._answer({"resourceType": kind, "id": id_, **more})

    monkeypatch.setattr(FakeEhr, "read", read)
    pull(source_of(store, case, ehr), ehr)
    rows = [row for row in store.ledgers.rows(case.id) if row.key.kind == "Practitioner"]
    assert len(rows) < 60
    assert {row.error_code for row in rows if row.state is RecordState.FAILED} == {"FB-4003"}


def test_many_records_on_a_page_leave_no_reference_unread(store, case):
    """The bound is on what is read one by one, not on how large the chart is."""
    documents = [document(f"d{n}") for n in range(60)]
    ehr = FakeEhr(store, case.id, [patient(), *documents, _about("Practitioner/a")])
    ehr.resources.append({"resourceType": "Practitioner", "id": "a"})
    pull(source_of(store, case, ehr), ehr)
    assert "read Practitioner/a" in ehr.asked


def test_a_fault_of_our_own_fails_no_record(store, case, monkeypatch):
    def full(self, reference, *, previous=""):
        raise StoreError("I/O")

    ehr = FakeEhr(store, case.id, [patient(), document("d1")])
    monkeypatch.setattr(FakeEhr, "read", full)
    with pytest.raises(StoreError):
        pull(source_of(store, case, ehr), ehr)
    assert not any(r.state is RecordState.FAILED for r in store.ledgers.rows(case.id))
