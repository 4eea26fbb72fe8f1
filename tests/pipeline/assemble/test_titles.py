"""What a reader sees of an entry comes from the record's own words."""

from __future__ import annotations

from decimal import Decimal

import pytest

from fhir_bridge.pipeline.assemble.titles import concept, date, status, title

CT = {"system": "http://dicom.nema.org/resources/ontology/DCM", "code": "CT"}


@pytest.mark.parametrize(
    ("resource", "words"),
    [
        (
            {
                "resourceType": "Observation",
                "code": {"text": "CEA"},
                "valueQuantity": {"value": Decimal("1.50"), "comparator": "<", "unit": "ng/mL"},
            },
            "CEA: < 1.50 ng/mL",
        ),
        (
            {
                "resourceType": "Observation",
                "code": {"coding": [{"code": "85354-9", "display": "Blood pressure"}]},
                "component": [
                    {"code": {"text": "systolic"}, "valueQuantity": {"value": 120}},
                    {"code": {"text": "diastolic"}, "dataAbsentReason": {"text": "not done"}},
                ],
            },
            "Blood pressure: systolic 120, diastolic not done",
        ),
        (
            {
                "resourceType": "ImagingStudy",
                "description": "Abdomen",
                "modality": [CT],
                "numberOfInstances": 1,
            },
            "Abdomen, CT scan, 1 image",
        ),
        ({"resourceType": "DocumentReference", "type": {"text": "Letter"}}, "Letter"),
        ({"resourceType": "Practitioner", "name": [{"family": "F", "given": ["A"]}]}, "A F"),
        ({"resourceType": "Organization", "name": "St Anne"}, "St Anne"),
        ({"resourceType": "Basic"}, "Basic"),
    ],
    ids=["quantity", "components", "study", "document", "person", "organization", "nothing"],
)
def test_a_record_is_named_in_its_own_words(resource, words):
    assert title(resource) == words


def test_a_preliminary_report_is_never_shown_as_final():
    report = {"resourceType": "DiagnosticReport", "status": "preliminary"}
    assert status(report) == "Preliminary, not signed"
    document = {"resourceType": "DocumentReference", "status": "current", "docStatus": "amended"}
    assert status(document) == "Changed after it was final"


def test_a_date_is_the_records_own_literal():
    period = {"resourceType": "Procedure", "performedPeriod": {"end": "2025-02"}}
    assert date(period) == "2025-02"
    context = {"period": {"start": "2025-01-06"}}
    assert date({"resourceType": "DocumentReference", "context": context}) == "2025-01-06"
    assert date({"resourceType": "Basic"}) == ""


def test_a_concept_without_words_is_its_code():
    assert concept({"coding": ["odd", {"code": "x"}]}) == "x"
    assert concept([]) == ""
    assert concept("odd") == ""
