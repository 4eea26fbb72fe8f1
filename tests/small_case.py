"""A small case folder for the stories: one patient, a dozen documents, six images."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from pydicom import Dataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian

from fhir_bridge.standards.fhir import json

MRN = "https://small-hospital.example/mrn"
DOCUMENTS, REPORTS, IMAGES = 12, 7, 6
STUDY, SERIES = "2.25.4101", "2.25.4102"
QUESTION = "Can the tumour be removed?"
LOINC = "http://loinc.org"


def words(**other: str) -> dict[str, str]:
    """Every word of the small case that belongs to its patient; each may be replaced."""
    return {
        "family": "Smallcase", "given": "Ada", "number": "SM-0001", "born": "1961-03-14",
        "phone": "+1 555 0100", "street": "1 Sample Street", "city": "Exampleville",
        "doctor": "Fictitia", "title": "Letter", "body": "The patient was seen.",
        "finding": "No new lesion.", "file": "letter", "accession": "ACC-4101",
        "question": QUESTION, "opinion": "I advise an operation.", **other,
    }  # fmt: skip


def patient(of: Mapping[str, str], **more: Any) -> dict[str, Any]:
    """The patient as the nurse enters them."""
    return {
        "resourceType": "Patient",
        "identifier": [{"system": MRN, "value": of["number"]}],
        "name": [{"family": of["family"], "given": [of["given"]]}],
        "telecom": [{"system": "phone", "value": of["phone"]}],
        "gender": "female",
        "birthDate": of["born"],
        "address": [{"line": [of["street"]], "city": of["city"]}],
        **more,
    }


def write(folder: Path, of: Mapping[str, str] | None = None, *, images: bool = True) -> Path:
    """A case folder as the simulator, the demo and `case new` read it; without images if told."""
    of = of or words()
    (folder / "ehr").mkdir(parents=True)
    (folder / "files").mkdir()
    for kind, many in _records(of).items():
        if kind == "ImagingStudy" and not images:
            continue
        (folder / "ehr" / f"{kind}.json").write_bytes(json.dumps(many))
    decoy = _stamped("decoy", **patient(of))
    (folder / "ehr" / "decoy-patient.json").write_bytes(json.dumps(decoy))
    rows = [("id", "file", "content_type")]
    for number in range(DOCUMENTS):
        name = f"{of['file']}-{number}.txt"
        (folder / "files" / name).write_text(f"{of['body']}\nLetter {number}.\n", "utf-8")
        rows.append((f"b-{number}", name, "text/plain; charset=utf-8"))
    with (folder / "ehr" / "binaries.csv").open("w", newline="") as lines:
        csv.writer(lines).writerows(rows)
    for number in range(1, IMAGES + 1) if images else ():
        _write_image(folder / "dicom", number, of)
    (folder / "patient.json").write_bytes(json.dumps(patient(of)))
    case = {"specialty": "oncology", "question": of["question"], "provider": "General Hospital"}
    (folder / "case.json").write_bytes(json.dumps(case))
    (folder / "opinion.md").write_text(opinion(of), "utf-8")
    return folder


def opinion(of: Mapping[str, str]) -> str:
    """A finished opinion that cites two documents."""
    facts = f"title: Second opinion\nauthor: Dr. {of['doctor']}\ndate: 2025-07-18"
    text = f"## Opinion\n\n{of['opinion']}\n\n## Evidence\n\n"
    cited = "\n".join(f"- {of['title']} {number}" for number in range(2))
    return f"---\n{facts}\n---\n\n{text}{cited}\n"


def _stamped(id_: str, **rest: Any) -> dict[str, Any]:
    return {**rest, "id": id_, "meta": {"versionId": "1", "lastUpdated": "2025-02-03T04:05:06Z"}}


def _records(of: Mapping[str, str]) -> dict[str, list[dict[str, Any]]]:
    about = {"reference": "Patient/p-1", "display": of["family"]}
    return {
        "Patient": [_stamped("p-1", **patient(of))],
        "Practitioner": [
            _stamped("d-1", resourceType="Practitioner", name=[{"family": of["doctor"]}])
        ],
        "DocumentReference": [_document(of, about, n) for n in range(DOCUMENTS)],
        "DiagnosticReport": [_report(of, about, n) for n in range(REPORTS)],
        "ImagingStudy": [_study(of, about)],
        "Endpoint": [_endpoint()],
    }


def _document(of: Mapping[str, str], about: dict[str, str], number: int) -> dict[str, Any]:
    content = {"contentType": "text/plain; charset=utf-8", "url": f"Binary/b-{number}"}
    return _stamped(
        f"doc-{number}",
        resourceType="DocumentReference",
        status="current",
        type={"coding": [{"system": LOINC, "code": "11488-4"}], "text": "Consultation note"},
        subject=about,
        author=[{"reference": "Practitioner/d-1"}],
        date=f"2024-03-{number + 1:02}T10:00:00+01:00",
        description=f"{of['title']} {number}",
        content=[{"attachment": {**content, "title": f"{of['title']} {number}"}}],
    )


def _report(of: Mapping[str, str], about: dict[str, str], number: int) -> dict[str, Any]:
    return _stamped(
        f"rep-{number}",
        resourceType="DiagnosticReport",
        status="final",
        code={"coding": [{"system": LOINC, "code": "24627-2"}], "text": "CT chest"},
        subject=about,
        effectiveDateTime=f"2024-04-{number + 1:02}T10:00:00+01:00",
        issued=f"2024-04-{number + 1:02}T12:00:00+01:00",
        conclusion=of["finding"],
    )


def _study(of: Mapping[str, str], about: dict[str, str]) -> dict[str, Any]:
    series = {
        "uid": SERIES,
        "modality": {"system": "http://dicom.nema.org/resources/ontology/DCM", "code": "CT"},
        "instance": [
            {
                "uid": f"{SERIES}.{number}",
                "sopClass": {"system": "urn:ietf:rfc:3986", "code": f"urn:oid:{CTImageStorage}"},
            }
            for number in range(1, IMAGES + 1)
        ],
    }
    return _stamped(
        "img-1",
        resourceType="ImagingStudy",
        identifier=[{"system": "urn:dicom:uid", "value": f"urn:oid:{STUDY}"}],
        status="available",
        subject=about,
        started="2024-04-01T09:00:00+01:00",
        description=of["finding"],
        endpoint=[{"reference": "Endpoint/e-1"}],
        numberOfSeries=1,
        numberOfInstances=IMAGES,
        series=[series],
    )


def _endpoint() -> dict[str, Any]:
    types = "http://terminology.hl7.org/CodeSystem/endpoint-connection-type"
    return _stamped(
        "e-1",
        resourceType="Endpoint",
        status="active",
        connectionType={"system": types, "code": "dicom-wado-rs"},
        payloadType=[{"text": "DICOM"}],
        address="{dicomweb}",
    )


def _write_image(folder: Path, number: int, of: Mapping[str, str]) -> None:
    image = Dataset()
    image.file_meta = FileMetaDataset()
    image.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    image.SOPClassUID, image.SOPInstanceUID = CTImageStorage, f"{SERIES}.{number}"
    image.StudyInstanceUID, image.SeriesInstanceUID = STUDY, SERIES
    image.SpecificCharacterSet = "ISO_IR 192"
    image.PatientName = f"{of['family']}^{of['given']}"
    image.PatientID, image.PatientBirthDate = of["number"], of["born"].replace("-", "")
    image.PatientSex, image.Modality, image.StudyID = "F", "CT", "1"
    image.AccessionNumber, image.StudyDate, image.StudyTime = of["accession"], "20240401", "090000"
    image.StudyDescription = of["finding"][:64]
    image.SeriesNumber, image.InstanceNumber = 1, number
    image.Rows = image.Columns = 16
    image.BitsAllocated = image.BitsStored = 16
    image.HighBit, image.PixelRepresentation, image.SamplesPerPixel = 15, 0, 1
    image.PhotometricInterpretation = "MONOCHROME2"
    image.PixelData = np.full((16, 16), number, dtype="<u2").tobytes()
    folder.mkdir(parents=True, exist_ok=True)
    image.save_as(folder / f"image-{number}.dcm", enforce_file_format=True)
