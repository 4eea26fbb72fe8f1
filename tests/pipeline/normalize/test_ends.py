"""Each record that was sighted has one end, for a reason that a nurse can follow."""

from __future__ import annotations

import pytest

from fhir_bridge.case.ledger import RecordState

KEPT, MERGED, SUPERSEDED = RecordState.KEPT, RecordState.MERGED_INTO, RecordState.SUPERSEDED
QUARANTINED, EXCLUDED, FAILED = (
    RecordState.QUARANTINED,
    RecordState.EXCLUDED,
    RecordState.FAILED,
)


def test_the_newest_of_several_versions_is_kept(chart, seen):
    new = chart.document("d", version="3", description="new")
    old = chart.document("d", version="2", description="old")
    found = seen(chart)
    assert found.end(new).state is KEPT
    assert (found.end(old).state, found.end(old).target) == (SUPERSEDED, str(new))
    assert found.resource("DocumentReference", "d")["description"] == "new"


def test_a_withdrawn_version_retracts_the_earlier_one(chart, seen):
    good = chart.document("d", version="1")
    blanked = chart.add("DocumentReference", "d", version="2", status="entered-in-error")
    found = seen(chart)
    assert (found.end(blanked).state, found.end(blanked).rule) == (EXCLUDED, "entered-in-error")
    assert (found.end(good).state, found.end(good).target) == (SUPERSEDED, str(blanked))
    assert found.entry("DocumentReference", "d") is None


@pytest.mark.parametrize(
    ("kind", "element"),
    [
        ("DiagnosticReport", {"status": "entered-in-error"}),
        ("DocumentReference", {"status": "current", "docStatus": "entered-in-error"}),
        ("Condition", {"verificationStatus": {"coding": [{"code": "entered-in-error"}]}}),
    ],
)
def test_what_its_source_filed_by_mistake_is_not_shown(chart, seen, kind, element):
    key = chart.add(kind, "x", subject={"reference": "Patient/p1"}, **element)
    assert seen(chart).end(key).rule == "entered-in-error"


def test_a_document_that_another_replaces_is_superseded_by_it(chart, seen):
    old = chart.document("old")
    new = chart.document(
        "new", relatesTo=[{"code": "replaces", "target": {"reference": "DocumentReference/old"}}]
    )
    found = seen(chart)
    assert (found.end(old).state, found.end(old).target) == (SUPERSEDED, str(new))
    target = found.resource("DocumentReference", "new")["relatesTo"][0]["target"]
    assert target["identifier"]["value"] == "DocumentReference/old"
    assert "reference" not in target
    assert found.reasons()["relatesTo[0].target"].startswith("replaced")


def test_a_withdrawn_document_replaces_nothing(chart, seen):
    old = chart.document("old")
    chart.document(
        "new",
        status="entered-in-error",
        relatesTo=[{"code": "replaces", "target": {"reference": "DocumentReference/old"}}],
    )
    assert seen(chart).end(old).state is KEPT


def test_documents_that_replace_each_other_are_both_shown_as_a_conflict(chart, seen):
    keys = [
        chart.document(
            a, relatesTo=[{"code": "replaces", "target": {"reference": f"DocumentReference/{b}"}}]
        )
        for a, b in (("a", "b"), ("b", "c"), ("c", "a"))
    ]
    last = chart.document(
        "d", relatesTo=[{"code": "replaces", "target": {"reference": "DocumentReference/b"}}]
    )
    found = seen(chart)
    assert [found.end(key).state for key in keys] == [KEPT, SUPERSEDED, KEPT]
    assert found.end(keys[1]).target == str(last)
    assert "both are shown" in found.end(keys[0]).reason


def test_a_superseded_document_whose_successor_did_not_come_is_not_current(chart, seen):
    key = chart.document("d", status="superseded")
    assert (seen(chart).end(key).state, seen(chart).end(key).rule) == (
        SUPERSEDED,
        "status-superseded",
    )


def test_the_address_of_the_hospitals_own_system_is_left_out(chart, seen):
    key = chart.add("Endpoint", "e", address="http://127.0.0.1:9/dicomweb")
    study = {"subject": {"reference": "Patient/p1"}, "endpoint": [{"reference": "Endpoint/e"}]}
    chart.add("ImagingStudy", "s", **study)
    found = seen(chart)
    assert (found.end(key).state, found.end(key).rule) == (EXCLUDED, "source-address")
    assert found.reasons()["endpoint[0]"].startswith("left out")
    assert found.resource("ImagingStudy", "s")["endpoint"] == [
        {
            "type": "Endpoint",
            "identifier": {
                "system": "urn:fhir-bridge:source:general-hospital",
                "value": "Endpoint/e",
            },
        }
    ]


def test_a_contained_address_is_taken_out_with_what_names_it(chart, seen):
    chart.add(
        "ImagingStudy",
        "s",
        subject={"reference": "Patient/p1"},
        contained=[{"resourceType": "Endpoint", "id": "e", "address": "http://127.0.0.1:9/x"}],
        endpoint=[{"reference": "#e"}],
    )
    found = seen(chart)
    resource = found.resource("ImagingStudy", "s")
    assert "contained" not in resource
    assert "127.0.0.1" not in str(resource)
    assert "endpoint[0]" in found.reasons()


@pytest.mark.parametrize("kind", ["ImagingManifest", "unknown", "ImagingSelection"])
def test_a_type_that_r4_does_not_have_is_known_and_unreadable(chart, seen, kind):
    key = chart.add(kind, "x")
    assert (seen(chart).end(key).state, seen(chart).end(key).rule) == (FAILED, "FB-4001")


def test_the_same_document_filed_twice_is_kept_once(chart, seen):
    chart.bodies = {"Binary/1": b"%PDF-1", "Binary/2": b"%PDF-1"}
    first = chart.document("a", "Binary/1", description="Operative note")
    second = chart.document("b", "Binary/2", description="Operative note (copy)")
    task = {"focus": {"reference": "DocumentReference/b"}}
    chart.add("Task", "t", **{"for": {"reference": "Patient/p1"}}, **task)
    found = seen(chart)
    assert found.end(first).state is KEPT
    end = found.end(second)
    assert (end.state, end.rule, end.target) == (MERGED, "same-attachment-bytes", str(first))
    assert end.reason == "holds the same bytes; differs in description"
    survivor = found.entry("DocumentReference", "a")
    assert found.resource("Task", "t")["focus"] == {"reference": survivor.full_url}
    assert survivor.sources == (first, second)


@pytest.mark.parametrize(
    "other",
    [
        {"docStatus": "preliminary"},
        {"type": {"coding": [{"system": "http://loinc.org", "code": "11504-8"}]}},
        {"status": "entered-in-error"},
    ],
    ids=["status", "type", "withdrawn"],
)
def test_equal_bytes_of_another_status_or_type_are_not_merged(chart, seen, other):
    chart.bodies = {"Binary/1": b"%PDF-1"}
    key = chart.document("a", "Binary/1")
    chart.document("b", "Binary/1", **other)
    assert seen(chart).end(key).state is KEPT
    assert MERGED not in {end.state for end in seen(chart).normalized.ends.values()}


def test_documents_without_content_are_never_the_same(chart, seen):
    keys = [chart.document("a"), chart.document("b")]
    assert {seen(chart).end(key).state for key in keys} == {KEPT}


def test_the_same_ids_at_two_hospitals_are_two_records(chart, seen):
    chart.add("Patient", "p1", source="st-anne")
    chart.document("d", description="here")
    chart.document("d", source="st-anne", description="there")
    found = seen(chart)
    assert found.resource("DocumentReference", "d")["description"] == "here"
    assert found.resource("DocumentReference", "d", "st-anne")["description"] == "there"
    assert len(found.kinds("Patient")) == 3
