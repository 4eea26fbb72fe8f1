"""What kinds of records are called: by their type, and by the part of a type that was asked for."""

from __future__ import annotations

import re
from collections.abc import Sequence

from fhir_bridge.case.slice import IMAGES, REFERRED, kind_of

_THINGS = {
    "DocumentReference": ("document", "documents"),
    "DiagnosticReport": ("report", "reports"),
    "ImagingStudy": ("imaging study", "imaging studies"),
    IMAGES: ("image", "images"),
    REFERRED: ("record that others refer to", "records that others refer to"),
    "Attachment": ("file", "files"),
    "Instance": ("image", "images"),
    "Observation": ("result", "results"),
    "Condition": ("diagnosis", "diagnoses"),
    "Procedure": ("procedure", "procedures"),
    "Media": ("photograph", "photographs"),
    "MedicationRequest": ("prescription", "prescriptions"),
    "MedicationOrder": ("prescription", "prescriptions"),
    "MedicationStatement": ("medication", "medications"),
    "AllergyIntolerance": ("allergy", "allergies"),
    "Immunization": ("vaccination", "vaccinations"),
    "Encounter": ("visit", "visits"),
    "ServiceRequest": ("order", "orders"),
    "ProcedureRequest": ("order", "orders"),
    "DiagnosticOrder": ("order", "orders"),
    "Specimen": ("specimen", "specimens"),
    "Practitioner": ("clinician", "clinicians"),
    "PractitionerRole": ("clinician's role", "clinicians' roles"),
    "Organization": ("organisation", "organisations"),
    "Patient": ("patient", "patients"),
    "Composition": ("document", "documents"),
    "Binary": ("file", "files"),
}
# Parts of a type, by the name of their slice.
_PARTS = {
    "DocumentReference/$docref": ("document made on request", "documents made on request"),
    "DocumentReference?status=current": ("current document", "current documents"),
    "DocumentReference?status=superseded": ("replaced document", "replaced documents"),
    "DocumentReference?status=entered-in-error": (
        "document filed by mistake",
        "documents filed by mistake",
    ),
    "DiagnosticReport?category=LAB": ("laboratory report", "laboratory reports"),
    "DiagnosticReport?category=LP29684-5": ("radiology report", "radiology reports"),
    "DiagnosticReport?category=LP29708-2": ("cardiology report", "cardiology reports"),
    "DiagnosticReport?category=LP7839-6": ("pathology report", "pathology reports"),
    "Observation?category=laboratory": ("laboratory result", "laboratory results"),
    "Observation?category=vital-signs": ("vital sign", "vital signs"),
    "Observation?category=exam": ("finding of an examination", "findings of examinations"),
    "Observation?category=imaging": ("measurement in images", "measurements in images"),
    "Observation?category=procedure": ("result of a procedure", "results of procedures"),
    "Observation?category=survey": ("answered questionnaire", "answered questionnaires"),
    "Observation?category=therapy": ("result of a therapy", "results of therapies"),
    "Observation?category=activity": ("activity", "activities"),
    "Observation?category=social-history": ("social history", "social histories"),
    "Observation?category=sdoh": ("social circumstance", "social circumstances"),
    "Observation?category=obstetrics": ("obstetric finding", "obstetric findings"),
    "Observation?category=core-characteristics": ("core characteristic", "core characteristics"),
    "Observation?category=smartdata": ("entry of a form", "entries of forms"),
    "Condition?category=encounter-diagnosis": ("diagnosis of a visit", "diagnoses of visits"),
    "Condition?category=health-concern": ("health concern", "health concerns"),
    "Condition?category=problem-list-item": ("problem on the list", "problems on the list"),
    "CarePlan?category=38717003": ("long-term care plan", "long-term care plans"),
    "CarePlan?category=734163000": ("care plan of a visit", "care plans of visits"),
    "CarePlan?category=assess-plan": ("assessment and plan", "assessments and plans"),
}


def things(kind: str, number: int = 2) -> str:
    """
    What a kind of record, or a part of it, is called.

    >>> things("DiagnosticReport"), things("CarePlan", 1)
    ('reports', 'care plan')
    >>> things("Observation?category=vital-signs"), things("MedicationRequest?intent=option")
    ('vital signs', 'prescriptions (option)')
    """
    for table, name in ((_PARTS, kind), (_THINGS, kind)):
        if name in table:
            return table[name][number != 1]
    type_, part = kind_of(kind), kind.partition("?")[2].partition("=")[2]
    if part or type_ != kind:
        of_part = part or kind.partition("$")[2]
        return f"{things(type_, number)} ({of_part.replace('-', ' ')})"
    plain = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", kind).lower()
    return plain if number == 1 or plain.endswith("s") else f"{plain}s"


def counted(number: int, kind: str) -> str:
    """
    A number with its noun.

    >>> counted(1, "DocumentReference"), counted(1180, "DICOM images")
    ('1 document', '1,180 images')
    """
    return f"{number:,} {things(kind, number)}"


def listed(words: Sequence[str]) -> str:
    """
    Words as a list in a sentence.

    >>> listed(["visits"]), listed(["visits", "orders", "allergies"])
    ('visits', 'visits, orders and allergies')
    """
    *first, last = words
    return f"{', '.join(first)} and {last}" if first else last
