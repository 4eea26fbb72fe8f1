"""Same patient: whatever names somebody else is set aside, by itself, and nothing else is."""

from __future__ import annotations

import pytest

from fhir_bridge.case.ledger import RecordState

QUARANTINED = RecordState.QUARANTINED


@pytest.mark.parametrize(
    "subject",
    [
        {"reference": "Patient/other"},
        {"reference": "http://127.0.0.1:4711/r4/Patient/other"},
        {"reference": "https://else.example/fhir/Patient/p1"},
        {"reference": "urn:uuid:6f2b7f0e-5d0c-5a53-9f7e-0b1d6b8f9a41"},
        {"identifier": {"system": "urn:mrn", "value": "78"}},
        {"reference": "Patient?identifier=urn:mrn|78"},
        {"reference": "#other"},
        {"display": "somebody"},
    ],
    ids=lambda subject: str(subject.get("reference") or next(iter(subject))),
)
def test_a_record_of_another_patient_is_set_aside_alone(chart, seen, subject):
    other = {"resourceType": "Patient", "id": "other", "birthDate": "1999-01-01"}
    wrong = chart.document("w", subject=subject, contained=[other])
    right = chart.document("r")
    found = seen(chart)
    assert (found.end(wrong).state, found.end(wrong).rule) == (QUARANTINED, "same-patient")
    assert found.end(right).state is RecordState.KEPT


@pytest.mark.parametrize(
    "subject",
    [
        {"reference": "Patient/p1"},
        {"reference": "Patient/p1/_history/4"},
        {"reference": "http://127.0.0.1:4711/r4/Patient/p1"},
        {"reference": "urn:uuid:p1"},
        {"identifier": {"system": "urn:mrn", "value": "77"}},
        {"identifier": {"system": "urn:unheard-of", "value": "1"}},
        {"reference": "Patient?identifier=urn:mrn|77"},
        {"reference": "#same"},
    ],
    ids=lambda subject: str(subject.get("reference") or subject["identifier"]["system"]),
)
def test_a_record_of_this_patient_stands_however_it_says_so(chart, seen, subject):
    same = {"resourceType": "Patient", "id": "same", "birthDate": "1966-03-02"}
    key = chart.document("d", subject=subject, contained=[same])
    assert seen(chart).end(key).state is RecordState.KEPT


def test_an_edge_deep_inside_a_record_counts(chart, seen):
    key = chart.document("d", context={"sourcePatientInfo": {"reference": "Patient/other"}})
    assert seen(chart).end(key).state is QUARANTINED


def test_a_clinical_record_that_names_nobody_is_set_aside(chart, seen):
    key = chart.add("Observation", "o", status="final", code={"text": "Hb"})
    assert "names no patient" in seen(chart).end(key).reason


def test_people_places_and_medications_need_not_name_a_patient(chart, seen):
    kinds = ("Practitioner", "PractitionerRole", "Organization", "Location", "Medication", "Device")
    keys = [chart.add(kind, "x") for kind in kinds]
    assert {seen(chart).end(key).state for key in keys} == {RecordState.KEPT}


def test_another_patient_record_is_set_aside_and_links_to_it_are_listed(chart, seen):
    key = chart.add("Patient", "p2")
    chart.sighted[0].resource["link"] = [{"other": {"reference": "Patient/p2"}, "type": "replaces"}]
    found = seen(chart)
    assert found.end(key).state is QUARANTINED
    assert found.reasons()["link[0].other"].startswith("set aside")
    assert found.entry("Patient", "p1") is not None


def test_without_a_confirmed_patient_nothing_of_a_hospital_is_shown(chart, seen):
    chart.pins = {}
    key = chart.document("d")
    assert seen(chart).end(key).state is QUARANTINED
    assert "nobody has confirmed" in seen(chart).end(key).reason


def test_unlinking_a_hospital_leaves_no_trace_of_it(chart, seen):
    alone = seen(chart).normalized
    before = len(chart.sighted)
    chart.add("Patient", "p1", source="st-anne")
    chart.document("d", source="st-anne")
    del chart.sighted[before:]
    chart.attachments = [a for a in chart.attachments if a.key.source != "st-anne"]
    assert seen(chart).normalized == alone


def test_the_pinned_patient_who_did_not_come_is_stood_in_for_by_the_cases_own(chart, seen):
    chart.sighted.clear()
    chart.document("d")
    found = seen(chart)
    (own,) = found.kinds("Patient")
    assert own.sources == ()
    assert found.resource("DocumentReference", "d")["subject"]["reference"] == own.full_url


def test_the_cases_own_patient_is_linked_to_the_one_of_every_hospital(chart, seen, url):
    chart.add("Patient", "p1", source="st-anne")
    (own,) = [entry for entry in seen(chart).kinds("Patient") if not entry.sources]
    linked = {link["other"]["reference"] for link in own.resource["link"]}
    assert linked == {url("Patient", "p1"), url("Patient", "p1", "st-anne")}
