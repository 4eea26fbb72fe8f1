"""An imaging study: what we hold is the entry, what FHIR alone says of it is added."""

from __future__ import annotations

from fhir_bridge.case.ledger import RecordState

UID = "2.25.99"
SUBJECT = {"reference": "Patient/p1"}


def identifiers(*values):
    return [{"system": "urn:dicom:uid", "value": f"urn:oid:{value}"} for value in values]


def test_a_study_known_to_both_is_one_entry_with_what_each_alone_knows(chart, seen, url):
    chart.add("ServiceRequest", "order", subject=SUBJECT)
    instances = chart.study(UID, "2.25.1", "2.25.2")
    claimed = chart.add(
        "ImagingStudy",
        "s",
        identifier=[*identifiers(UID), {"system": "urn:acc", "value": "A1"}],
        status="registered",
        subject=SUBJECT,
        description="CT abdomen",
        basedOn=[{"reference": "ServiceRequest/order"}],
        numberOfInstances=99,
        series=[{"uid": f"{UID}.1", "description": "portal venous", "numberOfInstances": 99}],
    )
    report = {"imagingStudy": [{"reference": "ImagingStudy/s"}]}
    chart.add("DiagnosticReport", "r", subject=SUBJECT, **report)
    found = seen(chart)
    (study,) = found.kinds("ImagingStudy")
    assert study.full_url == url("ImagingStudy", UID)
    assert (study.resource["status"], study.resource["numberOfInstances"]) == ("available", 2)
    assert study.resource["description"] == "CT abdomen"
    assert study.resource["basedOn"] == [{"reference": url("ServiceRequest", "order")}]
    assert study.resource["series"][0]["description"] == "portal venous"
    assert len(study.resource["series"][0]["instance"]) == 2
    assert [i["value"] for i in study.resource["identifier"]] == [f"urn:oid:{UID}", "A1"]
    assert found.resource("DiagnosticReport", "r")["imagingStudy"] == [
        {"reference": study.full_url}
    ]
    end = found.end(claimed)
    assert (end.state, end.rule, end.target) == (
        RecordState.MERGED_INTO,
        "same-study-uid",
        study.full_url,
    )
    assert {found.end(key).entry for key in instances} == {study.full_url}
    assert study.sources == (*instances, claimed)


def test_a_study_of_which_no_image_came_is_kept_as_it_is(chart, seen):
    key = chart.add("ImagingStudy", "s", identifier=identifiers(UID), subject=SUBJECT)
    assert seen(chart).end(key).state is RecordState.KEPT


def test_a_withdrawn_study_adds_nothing_to_the_images(chart, seen):
    chart.study(UID, "2.25.1")
    chart.add(
        "ImagingStudy",
        "s",
        identifier=identifiers(UID),
        status="entered-in-error",
        subject=SUBJECT,
        description="wrong",
    )
    (study,) = seen(chart).kinds("ImagingStudy")
    assert "description" not in study.resource


def test_another_hospitals_words_are_not_put_into_our_study(chart, seen):
    chart.study(UID, "2.25.1")
    chart.add("Patient", "p1", source="st-anne")
    key = chart.add(
        "ImagingStudy",
        "s",
        source="st-anne",
        identifier=identifiers(UID),
        subject=SUBJECT,
        basedOn=[{"reference": "ServiceRequest/1"}],
    )
    found = seen(chart)
    (study,) = found.kinds("ImagingStudy")
    assert "basedOn" not in study.resource
    assert "not added" in found.end(key).reason


def test_images_that_a_node_without_a_chart_pushed_are_the_cases_patients(chart, seen):
    chart.study(UID, "2.25.1", source="riverside")
    found = seen(chart)
    (study,) = found.kinds("ImagingStudy")
    (own,) = [entry for entry in found.kinds("Patient") if not entry.sources]
    assert study.resource["subject"] == {"reference": own.full_url}
    assert not [u for u in found.normalized.unresolved if u.entry == study.full_url]
