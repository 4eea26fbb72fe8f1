"""Fills a structured report: who signed it, which images it saw, and its tree of content."""

from __future__ import annotations

from typing import Any

from pydicom.dataset import Dataset

Spec = dict[str, Any]
Seen = list[tuple[str, list[tuple[str, str]]]]
Code = tuple[str, str, str]

# PS3.16 CID 7001 and 7002: the heading of a section and the name of its text.
SECTIONS: dict[str, tuple[Code, Code]] = {
    "Clinical information": (("121060", "DCM", "History"), ("121060", "DCM", "History")),
    "Findings": (("121070", "DCM", "Findings"), ("121071", "DCM", "Finding")),
    "Impression": (("121072", "DCM", "Impressions"), ("121073", "DCM", "Impression")),
    "Recommendation": (
        ("121074", "DCM", "Recommendations"),
        ("121075", "DCM", "Recommendation"),
    ),
}


def fill(made: Dataset, study: Spec, series: Spec, seen: Seen) -> None:
    """Basic Text SR (PS3.3 A.35.1) or Comprehensive SR (A.35.3), complete and verified."""
    made.ReferencedPerformedProcedureStepSequence = []
    made.CompletionFlag = "COMPLETE"
    made.VerificationFlag = "VERIFIED"
    made.VerifyingObserverSequence = [_verified(study)]
    made.PerformedProcedureCodeSequence = []
    if seen:
        made.CurrentRequestedProcedureEvidenceSequence = [_evidence(study, seen)]
    made.ValueType = "CONTAINER"
    made.ConceptNameCodeSequence = [_code(("18748-4", "LN", "Diagnostic imaging report"))]
    made.ContinuityOfContent = "SEPARATE"
    made.ContentTemplateSequence = [_filled(MappingResource="DCMR", TemplateIdentifier="2000")]
    made.ContentSequence = [*_context(study), *(_section(*part) for part in series["sections"])]
    if series.get("measurements"):
        made.ContentSequence.append(_measurements(series["measurements"]))


def _verified(study: Spec) -> Dataset:
    return _filled(
        VerifyingOrganization=study["institution"],
        VerifyingObserverName=study["reading"],
        VerifyingObserverIdentificationCodeSequence=[],
        VerificationDateTime=study["date"] + study["time"],
    )


def _evidence(study: Spec, seen: Seen) -> Dataset:
    return _filled(
        StudyInstanceUID=study["study_uid"],
        ReferencedSeriesSequence=[
            _filled(
                SeriesInstanceUID=uid,
                ReferencedSOPSequence=[
                    _filled(ReferencedSOPClassUID=sop, ReferencedSOPInstanceUID=instance)
                    for sop, instance in instances
                ],
            )
            for uid, instances in seen
        ],
    )


def _context(study: Spec) -> list[Dataset]:
    language = ("121049", "DCM", "Language of Content Item and Descendants")
    return [
        _filled(
            RelationshipType="HAS CONCEPT MOD",
            ValueType="CODE",
            ConceptNameCodeSequence=[_code(language)],
            ConceptCodeSequence=[_code(("en", "RFC5646", "English"))],
        ),
        _filled(
            RelationshipType="HAS OBS CONTEXT",
            ValueType="PNAME",
            ConceptNameCodeSequence=[_code(("121008", "DCM", "Person Observer Name"))],
            PersonName=study["reading"],
        ),
    ]


def _section(heading: str, text: str) -> Dataset:
    of_section, of_text = SECTIONS[heading]
    said = _filled(
        RelationshipType="CONTAINS",
        ValueType="TEXT",
        ConceptNameCodeSequence=[_code(of_text)],
        TextValue=text,
    )
    return _container(of_section, [said])


def _measurements(rows: list[list[str]]) -> Dataset:
    return _container(("125007", "DCM", "Measurement Group"), [_measured(*row) for row in rows])


def _measured(name: str, loinc: str, value: str, unit: str) -> Dataset:
    amount = _filled(
        MeasurementUnitsCodeSequence=[_code((unit, "UCUM", unit))],
        NumericValue=value,
    )
    return _filled(
        RelationshipType="CONTAINS",
        ValueType="NUM",
        ConceptNameCodeSequence=[_code((loinc, "LN", name))],
        MeasuredValueSequence=[amount],
    )


def _container(name: Code, items: list[Dataset]) -> Dataset:
    return _filled(
        RelationshipType="CONTAINS",
        ValueType="CONTAINER",
        ConceptNameCodeSequence=[_code(name)],
        ContinuityOfContent="SEPARATE",
        ContentSequence=items,
    )


def _code(code: Code) -> Dataset:
    value, scheme, meaning = code
    return _filled(CodeValue=value, CodingSchemeDesignator=scheme, CodeMeaning=meaning)


def _filled(**elements: Any) -> Dataset:
    item = Dataset()
    for keyword, value in elements.items():
        setattr(item, keyword, value)
    return item
