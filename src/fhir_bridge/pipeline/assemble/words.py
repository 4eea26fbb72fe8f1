"""The certificate in the words that a nurse reads (TRUTH 3)."""

from __future__ import annotations

from fhir_bridge.case.certificate import Grade, Line

_THINGS = {
    "DocumentReference": "documents",
    "DiagnosticReport": "reports",
    "ImagingStudy": "imaging studies",
    "Instance": "images",
    "Attachment": "files",
    "Patient": "patient records",
    "Procedure": "procedures",
    "Condition": "diagnoses",
    "Observation": "results",
    "MedicationRequest": "prescriptions",
    "AllergyIntolerance": "allergies",
}


def things(type_: str) -> str:
    """What a slice holds, in plain words; its own name where there are none."""
    return _THINGS.get(type_, type_)


def sentence(line: Line) -> str:
    """
    One certificate line as a sentence; only consistent and proven may say complete.

    >>> sentence(Line("general-hospital", "DocumentReference", 31, 31, Grade.CONSISTENT))
    "Complete by the hospital's own count (31 of 31)"
    >>> sentence(Line("general-hospital", "DocumentReference", 31, 29, Grade.SHORT))
    '2 of 31 documents are missing'
    """
    because = f": {line.reason}" if line.reason else ""
    match line.grade:
        case Grade.NOT_ASKED:
            return f"Not asked{because or ': this hospital does not offer it'}"
        case Grade.REFUSED:
            return f"Refused by the hospital{because}"
        case Grade.SHORT:
            return _short(line, because)
        case Grade.UNKNOWN:
            return "All that was offered is here; the hospital does not say how much it has"
        case Grade.CONSISTENT:
            return f"Complete by the hospital's own count ({line.got} of {line.said})"
        case Grade.PROVEN:
            return f"Complete, checked twice ({line.got})"


def _short(line: Line, because: str) -> str:
    missing = (line.said or 0) - line.got
    if missing > 0:
        verb = "is" if missing == 1 else "are"
        return f"{missing} of {line.said} {things(line.type)} {verb} missing{because}"
    return f"Something is missing{because or ': the hospital has more than came'}"
