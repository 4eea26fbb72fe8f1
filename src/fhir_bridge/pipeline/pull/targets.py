"""What a record refers to on its own server: the records that a pull reads one by one."""

from __future__ import annotations

from collections.abc import Iterator

from fhir_bridge.case.record import Json
from fhir_bridge.standards.fhir.references import Form, literal, references


def targets(resource: Json, base: str, server: str, *, patient: str) -> Iterator[tuple[str, str]]:
    """
    (type, id) of every record that a resource refers to on `server`; `base` is what its relative
    references hang on.

    Another patient is never followed, and neither is a Binary: that is an attachment.

    >>> report = {"subject": {"reference": "Patient/1"}, "focus": [{"reference": "Patient/2"}]}
    >>> list(targets(report, "https://ehr.example", "https://ehr.example", patient="1"))
    [('Patient', '1')]
    """
    for _, reference in references(resource):
        target = literal(reference)
        here = target.form is Form.RELATIVE and base == server
        if not (here or (target.form is Form.ABSOLUTE and target.base == server)):
            continue
        if target.type == "Binary" or (target.type == "Patient" and target.id != patient):
            continue
        yield target.type, target.id
