"""The chart that every puller is asked for: one patient, a hundred documents, a dozen reports."""

from __future__ import annotations

import csv
import hashlib
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fhir_bridge.standards.fhir import json

Resource = dict[str, Any]

DOCUMENT, REPORT, OBSERVATION = "DocumentReference", "DiagnosticReport", "Observation"
DOCUMENTS, REPORTS = 100, 12
PATIENT_ID = "p-1"
PAGE = 20
LOINC = "http://loinc.org"
_ABOUT = {"reference": f"Patient/{PATIENT_ID}"}


@dataclass(frozen=True, slots=True)
class Truth:
    """
    What stands in the chart: ids by resource type, and the SHA-256 of every attachment.

    The patient is not among them: who that is gets settled before anything is pulled.
    """

    ids: Mapping[str, frozenset[str]]
    files: frozenset[str]

    def without_first_file(self) -> Truth:
        """The truth of a hospital whose first document shows something else, or nothing."""
        return Truth(self.ids, self.files - {_digest(0)})


def write(folder: Path, *, reports: int = REPORTS) -> Truth:
    """The chart as a case folder of the simulated hospital, made anew; a report has one result."""
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "ehr").mkdir(parents=True)
    (folder / "files").mkdir()
    kinds = {
        "Patient": [_stamped(PATIENT_ID, patient())],
        "Practitioner": [_stamped("d-1", _practitioner())],
        DOCUMENT: [_document(number) for number in range(DOCUMENTS)],
        REPORT: [_report(number) for number in range(reports)],
        OBSERVATION: [_observation(number) for number in range(reports)],
    }
    for kind, many in kinds.items():
        (folder / "ehr" / f"{kind}.json").write_bytes(json.dumps(many))
    (folder / "ehr" / "decoy-patient.json").write_bytes(json.dumps(_stamped("decoy", patient())))
    (folder / "patient.json").write_bytes(json.dumps(patient()))
    files = frozenset(_write_files(folder))
    ids = {kind: frozenset(one["id"] for one in many) for kind, many in kinds.items()}
    del ids["Patient"]
    return Truth(ids, files)


def patient() -> Resource:
    """The patient as the nurse enters them."""
    return {
        "resourceType": "Patient",
        "identifier": [{"system": "https://chaos-hospital.example/mrn", "value": "CH-0001"}],
        "name": [{"family": "Stormcase", "given": ["Ada"]}],
        "gender": "female",
        "birthDate": "1961-03-14",
    }


def _write_files(folder: Path) -> Iterator[str]:
    """No two attachments are alike: one that is missing cannot hide behind another."""
    with (folder / "ehr" / "binaries.csv").open("w", newline="") as lines:
        table = csv.writer(lines)
        table.writerow(("id", "file", "content_type"))
        for number in range(DOCUMENTS):
            (folder / "files" / f"letter-{number}.txt").write_bytes(_letter(number))
            table.writerow((f"b-{number}", f"letter-{number}.txt", "text/plain"))
            yield _digest(number)


def _letter(number: int) -> bytes:
    return f"The patient was seen.\nLetter {number}.\n".encode()


def _digest(number: int) -> str:
    return hashlib.sha256(_letter(number)).hexdigest()


def _stamped(id_: str, resource: Resource) -> Resource:
    stamp = {"versionId": "1", "lastUpdated": "2025-02-03T04:05:06Z"}
    return {**resource, "id": id_, "meta": stamp}


def _practitioner() -> Resource:
    return {"resourceType": "Practitioner", "name": [{"family": "Fictitia"}]}


def _document(number: int) -> Resource:
    return _stamped(
        f"doc-{number}",
        {
            "resourceType": DOCUMENT,
            "status": "current",
            "type": {"coding": [{"system": LOINC, "code": "11488-4"}], "text": "Consultation note"},
            "category": [{"text": "clinical-note" if number % 2 else "discharge-summary"}],
            "subject": _ABOUT,
            "author": [{"reference": "Practitioner/d-1"}],
            "date": f"{2015 + number // 10}-03-{number % 10 + 1:02}T10:00:00+01:00",
            "description": f"Letter {number}",
            "content": [{"attachment": {"contentType": "text/plain", "url": f"Binary/b-{number}"}}],
        },
    )


def _report(number: int) -> Resource:
    return _stamped(
        f"rep-{number}",
        {
            "resourceType": REPORT,
            "status": "final",
            "category": [{"text": "LAB"}],
            "code": {"coding": [{"system": LOINC, "code": "58410-2"}], "text": "Blood count"},
            "subject": _ABOUT,
            "effectiveDateTime": f"{2013 + number}-04-01T10:00:00+01:00",
            "issued": f"{2013 + number}-04-01T12:00:00+01:00",
            "result": [{"reference": f"{OBSERVATION}/obs-{number}"}],
            "conclusion": "No new finding.",
        },
    )


def _observation(number: int) -> Resource:
    categories = "http://terminology.hl7.org/CodeSystem/observation-category"
    return _stamped(
        f"obs-{number}",
        {
            "resourceType": OBSERVATION,
            "status": "final",
            "category": [{"coding": [{"system": categories, "code": "laboratory"}]}],
            "code": {"coding": [{"system": LOINC, "code": "718-7"}], "text": "Haemoglobin"},
            "subject": _ABOUT,
            "effectiveDateTime": f"{2013 + number}-04-01T10:00:00+01:00",
            "valueQuantity": {"value": 120 + number, "unit": "g/L"},
        },
    )
