"""The step after the pull: the same evidence is the same record, and every row has its end."""

from __future__ import annotations

import pytest

from fhir_bridge.case.case import CaseState
from fhir_bridge.case.ledger import LedgerRow, RecordKey, RecordState, count_states
from fhir_bridge.errors import NotReady
from fhir_bridge.standards.fhir import json
from fhir_bridge.steps.assembling import Assembling, accepted


@pytest.fixture
def assembling(store, fake):
    return Assembling(store, lambda: fake.NOW)


@pytest.fixture
def chart(store, case, hospitals, fake):
    letter = {"content": [{"attachment": {"data": "SGVsbG8=", "contentType": "text/plain"}}]}
    documents = [fake.document(f"d{n}", **letter) for n in range(3)]
    hospitals.chart = fake.FakeEhr(store, case.id, [fake.patient(), *documents], page=2)
    return hospitals.chart


def _states(store, case):
    return {s.value: n for s, n in count_states(store.ledgers.rows(case.id)).items() if n}


def test_a_complete_pull_is_released_by_rule(pull, chart, assembling, store, case):
    pull()
    assert assembling.assemble(case.id) == 1
    record = store.records.get(case.id)
    assert (record.version, record.released_by) == (1, "rule")
    assert store.cases.get(case.id).state is CaseState.RELEASED
    assert "pending" not in _states(store, case)


def test_the_same_evidence_makes_no_second_version(pull, chart, assembling, store, case):
    pull()
    assembling.assemble(case.id)
    before = store.records.get(case.id).sha256
    pull(2)
    assert assembling.assemble(case.id) == 1
    assert store.records.get(case.id).sha256 == before


def test_more_evidence_makes_the_next_version(pull, chart, assembling, store, case, fake):
    pull()
    assembling.assemble(case.id)
    first = store.records.document(store.records.get(case.id))
    chart.resources.append(fake.document("d9"))
    pull(2)
    assert assembling.assemble(case.id) == 2
    assert store.records.document(store.records.get(case.id, 1)) == first


def test_what_is_not_complete_waits_for_a_person(pull, chart, assembling, store, case):
    chart.faults = {0: "drop-next"}
    pull()
    assembling.assemble(case.id)
    assert store.records.get(case.id).released_by == ""
    assert store.cases.get(case.id).state is CaseState.ASSEMBLED
    made = assembling.assemble_released(case.id, by="nurse", reason="the rest is on paper")
    document = store.records.document(made)
    assert b"the rest is on paper" in document


def test_the_record_is_a_document_with_its_composition_first(pull, chart, assembling, store, case):
    pull()
    assembling.assemble(case.id)
    body = json.load_object(store.records.document(store.records.get(case.id)))
    assert (body["type"], body["entry"][0]["resource"]["resourceType"]) == (
        "document",
        "Composition",
    )


def test_what_failed_and_came_later_is_merged_into_what_came(
    pull, chart, assembling, store, case, fake
):
    chart.resources[1] = fake.document("d0", author=[{"reference": "Practitioner/a"}])
    pull()
    assembling.assemble(case.id)
    assert _states(store, case)["failed"] == 1
    chart.resources.append({"resourceType": "Practitioner", "id": "a"})
    store.ledgers.reopen(case.id, "st-anne")
    pull(2)
    assembling.assemble(case.id)
    states = {
        (r.key.id, r.key.version != ""): r.state
        for r in store.ledgers.rows(case.id)
        if r.key.kind == "Practitioner"
    }
    assert states["a", False] is RecordState.MERGED_INTO
    assert states["a", True] is RecordState.KEPT


def test_a_row_that_nobody_can_account_for_stops_the_record_and_is_named(
    pull, chart, assembling, store, case
):
    """A kept row without its entry: the books do not balance."""
    pull()
    ghost = RecordKey("st-anne", "Attachment", "https://ehr.example/r4/Binary/ghost")
    store.ledgers.see(case.id, LedgerRow(ghost, original="nowhere"))
    with pytest.raises(NotReady, match="Binary/ghost"):
        assembling.assemble(case.id)


def test_only_settled_patients_are_accepted(store, case):
    assert accepted(store, case.id) == {"st-anne": "p1"}
