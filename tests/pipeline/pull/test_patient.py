"""The right patient, or nothing: asked before anything else, and looked at again in every run."""

from __future__ import annotations

from dataclasses import replace

import pytest

from fhir_bridge.case.case import Pin, PinState
from fhir_bridge.case.events import Happened
from fhir_bridge.errors import ProviderRefused
from fhir_bridge.pipeline.pull.patient import RULE, settle_patient

from .fake_ehr import BASE, JANE, MRN, FakeEhr, _bundle, _outcome, patient, source_of

OPEN = PinState.OPEN


@pytest.fixture
def ask(store, case, monkeypatch):
    """Settles the patient with what a server answers by question: identifier, family, both."""
    store.cases.pin(Pin(case.id, "st-anne", OPEN))

    def asked(*people, by_number=None, **more):
        ehr = FakeEhr(store, case.id, [])
        answers = {"family": people, "identifier": people if by_number is None else by_number}

        def search(self, type_, params, *, post=False):
            assert (type_, post) == ("Patient", True), "names and numbers stay out of access logs"
            self.asked.append(params[0][0])
            found = _bundle(answers[params[0][0]])
            return self._answer({**found, "total": len(found["entry"]), **more})

        monkeypatch.setattr(FakeEhr, "search", search)
        return settle_patient(source_of(store, case, ehr), ehr), ehr.asked

    return asked


def test_one_certain_candidate_is_accepted_and_pinned(ask, store, case):
    pin, asked = ask(patient())
    assert (pin.state, pin.patient_id) == (PinState.ACCEPTED, "p1")
    assert asked == ["identifier"]
    assert store.cases.pins(case.id) == [pin]
    assert store.events.after(0, case_id=case.id)[-1].name is Happened.PATIENT_PINNED


@pytest.mark.parametrize(
    ("people", "reason"),
    [
        ([], "nobody"),
        ([patient(), patient("p2")], "2 possible"),
        ([patient(identifier=[])], "only in part"),
        ([patient(active=False)], "only in part"),
        ([patient(birthDate="1970-01-01", name=[{"family": "Roe"}])], "another name"),
    ],
)
def test_whatever_is_not_certain_is_asked(ask, store, case, people, reason):
    pin, _ = ask(*people)
    assert (pin.state, pin.patient_id) == (PinState.ASKED, "")
    assert reason in pin.reason
    assert sorted(c.id for c in pin.candidates) == [p["id"] for p in people]
    assert store.events.after(0, case_id=case.id)[-1].name is Happened.PATIENT_ASKED


@pytest.mark.parametrize(
    "more",
    [
        {"total": 3},
        {"link": [{"relation": "next", "url": f"{BASE}?more"}]},
        {"entry": [{"resource": patient()}, {"fullUrl": "x"}]},
        {"entry": [{"resource": patient()}, {"resource": {"resourceType": "Patient"}}]},
        {
            "entry": [
                {"resource": patient()},
                {"resource": _outcome("warning", "incomplete", "more")},
            ]
        },
    ],
    ids=["total", "next", "unreadable", "without id", "outcome"],
)
def test_a_list_that_may_be_cut_is_never_accepted(ask, more):
    pin, _ = ask(patient(), **more)
    assert pin.state is PinState.ASKED


def test_without_an_answer_by_number_the_name_is_asked_and_a_person_decides(ask):
    pin, asked = ask(patient(identifier=[]), by_number=())
    assert asked == ["identifier", "family"]
    assert (pin.state, [c.id for c in pin.candidates]) == (PinState.ASKED, ["p1"])


def test_two_numbers_that_lead_to_two_patients_make_two_candidates(store, case, monkeypatch):
    """The second number is asked although the first one found somebody who fits."""
    from fhir_bridge.case.identity import Identifier

    store.cases.pin(Pin(case.id, "st-anne", OPEN))
    other = Identifier("urn:oid:2.16.756.5.32", "756.1")
    who = replace(JANE, identifiers=(*JANE.identifiers, other))
    ehr = FakeEhr(store, case.id, [])

    def search(self, type_, params, *, post=False):
        return self._answer(_bundle([patient("p1" if MRN in params[0][1] else "p2")]))

    monkeypatch.setattr(FakeEhr, "search", search)
    pin = settle_patient(source_of(store, replace(case, person=who), ehr), ehr)
    assert [c.id for c in pin.candidates] == ["p1", "p2"]


def test_a_server_that_refuses_a_question_is_asked_the_next_one(ask, monkeypatch, store, case):
    ehr = FakeEhr(store, case.id, [], refused={"Patient"})
    pin = settle_patient(source_of(store, case, ehr), ehr)
    assert pin.state is PinState.ASKED
    assert len(ehr.asked) == 2


def test_what_was_refused_is_not_asked_again(store, case):
    """Invariant refuse_sticky: a rule never overturns what a person said."""
    refused = Pin(case.id, "st-anne", PinState.REFUSED, "", "nurse", "chosen by a person")
    store.cases.pin(refused)
    ehr = FakeEhr(store, case.id, [patient()])
    assert settle_patient(source_of(store, case, ehr), ehr) == refused
    assert ehr.asked == []


@pytest.mark.parametrize(
    ("there", "state", "reason"),
    [
        ([patient("p7", identifier=[])], PinState.ACCEPTED, "chosen by a person"),
        ([patient("p7", birthDate="1970-01-01")], PinState.ASKED, "somebody else's"),
        ([patient("p1")], PinState.ASKED, "no patient with the number"),
    ],
    ids=["ours", "somebody else's", "nobody's"],
)
def test_a_number_that_was_never_offered_is_looked_at_before_anything_is_fetched(
    store, case, there, state, reason
):
    store.cases.pin(Pin(case.id, "st-anne", PinState.ACCEPTED, "p7", "nurse", "chosen by a person"))
    ehr = FakeEhr(store, case.id, there)
    pin = settle_patient(source_of(store, case, ehr), ehr)
    assert (pin.state, ehr.asked) == (state, ["read Patient/p7"])
    assert reason in pin.reason
    assert store.cases.pins(case.id) == [pin]


def test_somebody_else_behind_a_number_is_accepted_once_a_person_has_seen_who_it_is(store, case):
    store.cases.pin(Pin(case.id, "st-anne", PinState.ACCEPTED, "p7", "nurse", "chosen by a person"))
    ehr = FakeEhr(store, case.id, [patient("p7", birthDate="1970-01-01")])
    asked = settle_patient(source_of(store, case, ehr), ehr)
    chosen = replace(asked, state=PinState.ACCEPTED, patient_id="p7", decided_by="nurse")
    store.cases.pin(chosen)
    assert settle_patient(source_of(store, case, ehr), ehr) == chosen


def again(store, case, ehr, *, by="nurse"):
    """A later run: p1 was accepted as JANE, and the hospital is asked once more."""
    seen = (replace(JANE, id="p1"),)
    store.cases.pin(Pin(case.id, "st-anne", PinState.ACCEPTED, "p1", by, "chosen", seen))
    return settle_patient(source_of(store, case, ehr), ehr)


MERGED_AWAY = {
    "active": False,
    "link": [{"other": {"reference": "Patient/p2"}, "type": "replaced-by"}],
}


def test_an_accepted_patient_is_read_again_and_what_changed_in_it_is_kept(store, case):
    moved = patient(meta={"versionId": "2"}, address=[{"city": "Elsewhere"}])
    ehr = FakeEhr(store, case.id, [moved])
    pin = again(store, case, ehr)
    assert (pin.state, pin.decided_by, ehr.asked) == (
        PinState.ACCEPTED,
        "nurse",
        ["read Patient/p1"],
    )
    assert [row.key.version for row in store.ledgers.rows(case.id)] == ["2"]
    assert store.ledgers.unread(case.id, "st-anne") == []


@pytest.mark.parametrize("by", ["nurse", RULE])
@pytest.mark.parametrize(
    ("there", "reason", "offered"),
    [
        ([patient(**MERGED_AWAY), patient("p2")], "merged this patient into another", ["p2", "p1"]),
        ([patient(**MERGED_AWAY)], "merged this patient into another", ["p1"]),
        ([patient(active=False)], "out of use", ["p1"]),
        ([patient(birthDate="1970-01-01")], "changed who this patient is", ["p1"]),
        ([patient(name=[{"family": "Roe"}])], "changed who this patient is", ["p1"]),
        ([], "does not have this patient any more", []),
    ],
    ids=["merged", "merged out of sight", "out of use", "born anew", "renamed", "gone"],
)
def test_what_the_hospital_changed_is_a_question_again(store, case, there, reason, offered, by):
    """TRUTH 4: who the patient is was decided on facts that hold no more."""
    ehr = FakeEhr(store, case.id, there)
    pin = again(store, case, ehr, by=by)
    assert (pin.state, pin.patient_id) == (PinState.ASKED, "")
    assert reason in pin.reason
    assert [one.id for one in pin.candidates] == offered
    assert store.cases.pins(case.id) == [pin]


def test_a_patient_merged_twice_is_followed_and_one_elsewhere_is_not(store, case):
    on = {"link": [{"other": {"reference": f"{BASE}/Patient/p3"}, "type": "replaced-by"}]}
    ehr = FakeEhr(store, case.id, [patient(**MERGED_AWAY), patient("p2", **on), patient("p3")])
    assert [one.id for one in again(store, case, ehr).candidates] == ["p3", "p1"]
    away = {
        "link": [{"other": {"reference": "https://x.example/Patient/p2"}, "type": "replaced-by"}]
    }
    ehr = FakeEhr(store, case.id, [patient(**away), patient("p2")])
    assert [one.id for one in again(store, case, ehr).candidates] == ["p1"]


def test_patients_merged_in_a_circle_are_not_followed_for_ever(store, case):
    back = {"link": [{"other": {"reference": "Patient/p1"}, "type": "replaced-by"}]}
    ehr = FakeEhr(store, case.id, [patient(**MERGED_AWAY), patient("p2", **back)])
    assert [one.id for one in again(store, case, ehr).candidates] == ["p1"]
    assert len(ehr.asked) <= 4


def test_a_persons_decision_stays_until_the_facts_change_again(store, case):
    ehr = FakeEhr(store, case.id, [patient(**MERGED_AWAY)])
    asked = again(store, case, ehr)
    decided = replace(asked, state=PinState.ACCEPTED, patient_id="p1", decided_by="nurse")
    store.cases.pin(decided)
    source = source_of(store, case, ehr)
    assert settle_patient(source, ehr) == decided
    ehr.resources[:] = [patient(birthDate="1970-01-01", **MERGED_AWAY)]
    assert "changed who" in settle_patient(source, ehr).reason


def test_a_hospital_that_answers_with_somebody_else_is_not_believed(store, case, monkeypatch):
    monkeypatch.setattr(FakeEhr, "read", lambda self, reference: self._answer(patient("p9")))
    pin = again(store, case, FakeEhr(store, case.id, []))
    assert (pin.state, pin.candidates) == (PinState.ASKED, ())
    assert "another patient than was asked for" in pin.reason


def test_a_hospital_that_does_not_let_us_read_a_patient_keeps_its_pin(store, case, monkeypatch):
    def refused(self, reference):
        raise ProviderRefused("HTTP 403")

    monkeypatch.setattr(FakeEhr, "read", refused)
    assert again(store, case, FakeEhr(store, case.id, [])).state is PinState.ACCEPTED
