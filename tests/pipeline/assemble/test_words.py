"""The certificate in words: complete is said of what is complete, and of nothing else."""

from __future__ import annotations

import pytest

from fhir_bridge.case.certificate import COMPLETE, Grade, Line
from fhir_bridge.pipeline.assemble import sentence


@pytest.mark.parametrize("grade", list(Grade), ids=str)
@pytest.mark.parametrize("said", [None, 31])
def test_only_consistent_and_proven_are_called_complete(grade, said):
    words = sentence(Line("s", "DocumentReference", said, 31, grade)).lower()
    assert ("complete" in words) == (grade in COMPLETE)


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (
            Line("s", "ImagingStudy", None, 0, Grade.NOT_ASKED, reason="no imaging by FHIR"),
            "Not asked: no imaging by FHIR",
        ),
        (
            Line("s", "DiagnosticReport", None, 0, Grade.REFUSED, reason="403"),
            "Refused by the hospital: 403",
        ),
        (Line("s", "Instance", 60, 59, Grade.SHORT), "1 of 60 images is missing"),
        (
            Line("s", "DocumentReference", 3, 3, Grade.SHORT, reason="a page is missing"),
            "Something is missing: a page is missing",
        ),
    ],
    ids=["not-asked", "refused", "counted", "uncounted"],
)
def test_a_nurse_reads_what_happened(line, words):
    assert sentence(line) == words
