"""What others refer to and nobody handed over stands on the certificate."""

from __future__ import annotations

from fhir_bridge.case.certificate import Count, Evidence, Grade
from fhir_bridge.case.slice import REFERRED, Slice
from fhir_bridge.pipeline.pull.certify import certificate

COUNTED = Evidence(obtained=3, counts=(Count("_summary=count", 3, after=True),))
REPORTS = Slice("c", "general", "DiagnosticReport", ended=True, evidence=COUNTED)


def test_a_referred_record_that_was_refused_makes_its_source_short():
    lines = {line.type: line for line in certificate([REPORTS], [], {"general": 2})}

    assert lines["DiagnosticReport"].grade is Grade.CONSISTENT
    assert lines[REFERRED].grade is Grade.SHORT
    assert lines[REFERRED].reason == "2 records that others refer to were not handed over"


def test_without_one_there_is_no_such_line():
    assert [line.type for line in certificate([REPORTS], [], {})] == ["DiagnosticReport"]
