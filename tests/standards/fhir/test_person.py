"""A Patient is read as a person: official name first, replaced records marked."""

from __future__ import annotations

import pytest

from fhir_bridge.case.identity import Identifier
from fhir_bridge.standards.fhir.person import person, replacement


def test_the_official_name_is_compared_whatever_its_place():
    found = person(
        {
            "id": "p1",
            "name": [
                {"use": "old", "family": "Maiden"},
                {"use": "usual", "family": "Nick"},
                {"use": "official", "family": " Fixture ", "given": ["Ann", "Bea"]},
            ],
            "birthDate": "1966-03-02",
            "gender": "female",
            "identifier": [
                {"system": "s", "value": "  Z6302"},
                {"system": "s", "value": "9", "use": "old"},
            ],
        }
    )
    assert (found.family, found.given) == ("Fixture", "Ann Bea")
    assert found.identifiers == (Identifier("s", "Z6302"),)
    assert (found.birth_date, found.sex, found.id) == ("1966-03-02", "female", "p1")


@pytest.mark.parametrize(
    ("name", "family"),
    [
        ([{"text": "Fixture, Ann"}], "Fixture"),
        ([{"text": "Ann Fixture"}], "Fixture"),
        ([{"family": ["van", "Fixture"]}], "van Fixture"),
        ("Fixture", ""),
        ([], ""),
    ],
)
def test_names_in_odd_forms_are_read_or_missing(name, family):
    assert person({"name": name}).family == family


@pytest.mark.parametrize(
    "patient",
    [{"active": False}, {"link": [{"type": "replaced-by", "other": {"reference": "Patient/2"}}]}],
)
def test_an_inactive_or_replaced_record_says_so(patient):
    assert person(patient).replaced
    assert not person({"active": True, "link": [{"type": "seealso"}]}).replaced


@pytest.mark.parametrize(
    ("active", "links", "instead"),
    [
        (False, [("replaced-by", "Patient/p2")], "Patient/p2"),
        (True, [("replaced-by", "Patient/p2")], "Patient/p2"),
        (False, [("replace", "Patient/p2")], "Patient/p2"),
        (False, [("refer", "Patient/p3"), ("replaced-by", "Patient/p2")], "Patient/p2"),
        (False, [("refer", "Patient/p3")], "Patient/p3"),
        (True, [("refer", "Patient/p3")], ""),
        (True, [("seealso", "Patient/p2"), ("replaces", "Patient/p0")], ""),
        (False, [], ""),
    ],
)
def test_a_merged_record_leads_to_the_one_that_stands_and_one_in_use_does_not(
    active, links, instead
):
    """R4 8.1.10: `refer` is a record in use whose main source is another one."""
    found = {"active": active, "link": [{"type": t, "other": {"reference": r}} for t, r in links]}
    assert replacement(found) == instead
    assert person(found).replaced is (not active or bool(instead))


@pytest.mark.parametrize(
    "link", ["x", [1], [{"type": "replaced-by"}], [{"type": "replaced-by", "other": 3}]]
)
def test_a_broken_link_leads_nowhere(link):
    assert replacement({"link": link}) == ""
