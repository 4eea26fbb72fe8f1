"""The judge names what is wrong without a value of the record, and never fails."""

from __future__ import annotations

from fhir_bridge.standards.fhir.judge import judge


def test_a_valid_resource_has_no_findings():
    assert judge({"resourceType": "Patient", "gender": "female"}) == ()


def test_a_finding_is_a_path_and_a_kind_without_the_value():
    findings = judge({"resourceType": "Patient", "birthDate": "SECRET", "surprise": "SECRET"})
    assert findings
    assert "SECRET" not in "".join(findings)
    assert any(finding.startswith("birthDate: ") for finding in findings)


def test_whatever_the_models_raise_becomes_a_finding():
    assert judge({"resourceType": "ImagingManifest"})
    assert judge({})
    assert judge({"resourceType": None})
