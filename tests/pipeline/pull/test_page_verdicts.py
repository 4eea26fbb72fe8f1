"""200 is not success: every page is looked at again, and what is odd stands in the certificate."""

from __future__ import annotations

import pytest

from fhir_bridge.case.certificate import Grade
from fhir_bridge.case.ledger import RecordState
from fhir_bridge.errors import PageExpired
from fhir_bridge.pipeline.pull.obeying import dropped, is_strangers, strays

from .fake_ehr import FakeEhr, document, patient, pull, source_of

DOCUMENTS = "DocumentReference"


def _pulled(store, case, documents, **more):
    ehr = FakeEhr(store, case.id, [patient(), *documents], **more)
    return pull(source_of(store, case, ehr), ehr)[DOCUMENTS], ehr


def test_another_patients_record_is_seen_and_never_counted(store, case):
    other = document("d2", subject={"reference": "Patient/p2"})
    line, _ = _pulled(store, case, [document("d1"), other])
    assert (line.got, line.grade) == (1, Grade.UNKNOWN)
    assert "another-patient" in line.findings
    assert {"d1", "d2"} <= {row.key.id for row in store.ledgers.rows(case.id)}


def test_an_expired_chain_is_read_again_from_its_beginning_once(store, case):
    documents = [document(f"d{n}") for n in range(5)]
    line, _ = _pulled(store, case, documents, page=2, once={1: "410"})
    assert (line.grade, line.got) == (Grade.CONSISTENT, 5)
    assert line.findings == ("chain-restarted",)


def test_a_chain_that_expires_twice_is_broken(store, case, monkeypatch):
    def expired(self, url, *, previous):
        raise PageExpired("HTTP 410")

    monkeypatch.setattr(FakeEhr, "follow", expired)
    line, _ = _pulled(store, case, [document(f"d{n}") for n in range(5)], page=2)
    assert line.grade is Grade.SHORT
    assert {"chain-restarted", "chain-broken"} <= set(line.findings)
    assert store.ledgers.slice(case.id, "st-anne", DOCUMENTS).restarts == 1


def test_one_odd_record_does_not_cost_its_page(store, case, monkeypatch):
    answer = FakeEhr._answer

    def odd(self, body):
        made = answer(self, body)
        if isinstance(body, dict) and body.get("type") == "searchset":
            spoilt = made.body.replace(b'"id":"d1"', b'"id":"d1","id":"d1"')
            return answer(self, spoilt)
        return made

    monkeypatch.setattr(FakeEhr, "_answer", odd)
    line, _ = _pulled(store, case, [document(f"d{n}") for n in range(3)])
    assert (line.got, line.grade) == (2, Grade.SHORT)
    assert line.findings[0] == "records-unreadable"
    (row,) = [r for r in store.ledgers.rows(case.id) if r.rule == "read-entry"]
    assert (row.state, row.error_code, row.position) == (RecordState.FAILED, "FB-4001", "1")
    assert len([s for s in store.ledgers.sighted(case.id) if s.key.kind == DOCUMENTS]) == 2
    store.ledgers.reopen(case.id, "st-anne")
    (row,) = [r for r in store.ledgers.rows(case.id) if r.rule == "read-entry"]
    assert row.state is RecordState.FAILED


def test_each_oddity_of_the_field_is_told_apart(store, new_case):
    """Issue 4: the 200 with an error, the page-size totals, the empty attachments."""
    empty = document("d1", content=[{"attachment": {"contentType": "text/plain"}}])
    found = {
        "outcome-warning": _pulled(store, new_case(), [document("d1")], faults={0: "suppressed"}),
        "total-is-page-size": _pulled(
            store, new_case(), [document(f"d{n}") for n in range(4)], page=2, totals="page"
        ),
        "attachments-empty": _pulled(store, new_case(), [empty]),
        "total-absent": _pulled(store, new_case(), [empty], totals="none"),
    }
    for code, (line, _) in found.items():
        assert code in line.findings
    assert found["attachments-empty"][0].attachments_empty == 1
    assert found["attachments-empty"][0].grade is Grade.CONSISTENT


ASKED = [("patient", "p1"), ("category", "http://hl7.example/c|LAB"), ("_count", "50")]


@pytest.mark.parametrize(
    ("coding", "answer"),
    [
        ({"system": "http://hl7.example/c", "code": "LAB"}, False),
        ({"system": "http://hl7.example/c", "code": "RAD"}, True),
        ({"system": "urn:other", "code": "7"}, False),
        ({"code": "RAD"}, True),
    ],
)
def test_an_entry_strays_only_where_it_clearly_does(coding, answer):
    report = {"resourceType": "DiagnosticReport", "category": [{"coding": [coding]}]}
    assert strays(report, ASKED) is answer


@pytest.mark.parametrize(
    ("date", "asked", "answer"),
    [
        ("2024-05-01", "ge2024-05-01", False),
        ("2024-04-30T23:00:00-10:00", "ge2024-05-01", False),
        ("2024-04-01", "ge2024-05-01", True),
        ("2024", "ge2024-05-01", False),
        ("2024-06-01", "lt2024-05-01", True),
        ("2024-05-01", "eq2024-05", False),
        ("nonsense", "lt2024-05-01", False),
    ],
)
def test_a_date_is_off_when_no_time_zone_explains_it(date, asked, answer):
    assert strays({"resourceType": DOCUMENTS, "date": date}, [("date", asked)]) is answer


def test_a_self_link_that_shows_nothing_of_ours_is_opaque():
    assert dropped(ASKED, "https://ehr.example/r4?sessionID=17") == frozenset()
    assert dropped(ASKED, "") == frozenset()
    assert dropped(ASKED, "https://e.example?patient=p1&category=LAB") == frozenset()
    assert dropped(ASKED, "https://e.example?patient=p1") == {"category"}


@pytest.mark.parametrize("literal", ["Patient/p2", "https://ehr.example/r4/Patient/p2"])
def test_a_stranger_is_known_by_either_form_of_reference(literal):
    assert is_strangers({"subject": {"reference": literal}}, "p1")
    assert not is_strangers({"subject": {"reference": "Group/p2"}}, "p1")
