"""References lead to entries of the record, or out of it with a reason; none is invented."""

from __future__ import annotations

import pytest


@pytest.mark.parametrize(
    "reference",
    [
        "Practitioner/dr",
        " Practitioner/dr ",
        "Practitioner/dr/_history/3",
        "http://127.0.0.1:4711/r4/Practitioner/dr",
        "urn:uuid:dr",
        "Practitioner?identifier=urn:npi|9",
    ],
)
def test_a_record_that_came_is_reached_by_its_urn(chart, seen, url, reference):
    chart.add("Practitioner", "dr", identifier=[{"system": "urn:npi", "value": "9"}])
    chart.document("d", author=[{"reference": reference, "display": "Dr. Fixture"}])
    found = seen(chart)
    author = found.resource("DocumentReference", "d")["author"][0]
    assert author == {"reference": url("Practitioner", "dr"), "display": "Dr. Fixture"}
    assert "author[0]" not in found.reasons()


@pytest.mark.parametrize(
    ("reference", "stands_as"),
    [
        ("Practitioner/9", {"reference": "Practitioner/9"}),
        ("http://127.0.0.1:4711/r4/Practitioner/9", {"reference": "Practitioner/9"}),
        (
            "https://else.example/fhir/Practitioner/9",
            {"reference": "https://else.example/fhir/Practitioner/9"},
        ),
        (
            "Practitioner?identifier=urn:npi|9",
            {"type": "Practitioner", "identifier": {"system": "urn:npi", "value": "9"}},
        ),
        (
            "urn:uuid:unknown",
            {"identifier": {"system": "urn:ietf:rfc:3986", "value": "urn:uuid:unknown"}},
        ),
        (
            "https://else.example/$op?token=secret",
            {"identifier": {"value": "https://else.example/$op"}},
        ),
    ],
)
def test_what_did_not_come_stays_as_it_was_named_and_is_listed(chart, seen, reference, stands_as):
    chart.document("d", author=[{"reference": reference}])
    found = seen(chart)
    assert found.resource("DocumentReference", "d")["author"] == [stands_as]
    assert found.reasons()["author[0]"]
    assert "secret" not in str(found.normalized.unresolved)


def test_references_of_one_hospital_never_lead_into_another(chart, seen):
    chart.add("Patient", "p1", source="st-anne")
    chart.add("Practitioner", "dr", source="st-anne")
    chart.document("d", author=[{"reference": "Practitioner/dr"}])
    found = seen(chart)
    assert found.resource("DocumentReference", "d")["author"] == [{"reference": "Practitioner/dr"}]


def test_contained_records_stay_inside_and_their_references_are_followed(chart, seen, url):
    chart.add("Organization", "o")
    chart.document(
        "d",
        contained=[
            {
                "resourceType": "PractitionerRole",
                "id": "r",
                "organization": {"reference": "Organization/o"},
            }
        ],
        author=[{"reference": "#r"}],
    )
    resource = seen(chart).resource("DocumentReference", "d")
    assert resource["author"] == [{"reference": "#r"}]
    inside = resource["contained"][0]
    assert (inside["id"], inside["organization"]) == (
        "r",
        {"reference": url("Organization", "o")},
    )


def test_an_identifier_alone_claims_no_address_and_is_not_listed(chart, seen):
    author = {"identifier": {"system": "urn:npi", "value": "9"}}
    chart.document("d", author=[author])
    found = seen(chart)
    assert found.resource("DocumentReference", "d")["author"] == [author]
    assert "author[0]" not in found.reasons()


def test_an_original_is_never_edited(chart, seen):
    before = [dict(one.resource) for one in chart.sighted]
    chart.document("d", author=[{"reference": "Practitioner/9"}])
    copy = str(chart.sighted[-1].resource)
    seen(chart)
    assert str(chart.sighted[-1].resource) == copy
    assert [dict(one.resource) for one in chart.sighted[:-1]] == before
