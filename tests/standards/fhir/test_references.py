"""Every form of a reference is told apart, and a rewriting can be taken back."""

from __future__ import annotations

import pytest

from fhir_bridge.standards.fhir.references import (
    Form,
    Literal,
    classify,
    literal,
    references,
    restore,
    rewrite,
)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Patient/1", Literal(Form.RELATIVE, "Patient", "1")),
        ("Patient/1/_history/2", Literal(Form.RELATIVE, "Patient", "1", "2")),
        ("http://h:1/r4/Patient/1", Literal(Form.ABSOLUTE, "Patient", "1", "", "http://h:1/r4")),
        (
            "https://h/r4/Patient/1/_history/2",
            Literal(Form.ABSOLUTE, "Patient", "1", "2", "https://h/r4"),
        ),
        ("urn:uuid:0-1", Literal(Form.URN, id="urn:uuid:0-1")),
        ("#p", Literal(Form.CONTAINED, id="p")),
        ("#", Literal(Form.CONTAINED)),
        (
            "Practitioner?identifier=s|1",
            Literal(Form.CONDITIONAL, "Practitioner", "identifier=s|1"),
        ),
        ("https://h/Binary/$ccd?p=1", Literal(Form.OTHER, id="https://h/Binary/$ccd?p=1")),
        ("patient/1", Literal(Form.OTHER, id="patient/1")),
        ("a/b/Patient/1", Literal(Form.OTHER, id="a/b/Patient/1")),
        ("", Literal(Form.OTHER)),
    ],
)
def test_a_reference_is_taken_apart(text, expected):
    assert classify(text) == expected


def test_a_reference_without_an_address_is_known_by_its_identifier():
    assert literal({"identifier": {"value": "1"}}).form is Form.IDENTIFIER


def test_a_rewriting_can_be_taken_back_to_the_letter():
    resource = {
        "resourceType": "Observation",
        "subject": {"reference": "Patient/1"},
        "performer": [{"reference": "Practitioner/2"}, {"reference": "Practitioner/3"}],
    }
    rewritten = rewrite(resource, {"Patient/1": "urn:uuid:a", "Practitioner/3": "urn:uuid:b"})
    found = [node["reference"] for _, node in references(rewritten.resource)]
    assert found == ["urn:uuid:a", "Practitioner/2", "urn:uuid:b"]
    assert restore(rewritten) == resource
