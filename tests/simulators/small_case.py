"""A small case of the tests' own: its records, its images, its client, and a visit to it."""

from __future__ import annotations

import asyncio
import base64
import csv
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import numpy as np
from joserfc import jwt
from joserfc.jwk import ECKey, RSAKey
from pydicom import Dataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, RLELossless

from fhir_bridge.simulators import service
from fhir_bridge.simulators.hospital import Options
from fhir_bridge.simulators.wire import write_json

MRN = "https://hospital.example/mrn"
DOCUMENTS = 23
STUDY, PUSHED_STUDY = "2.25.1", "2.25.2"
SERIES = {"2.25.11": 3, "2.25.12": 2}
PDF = b"%PDF-1.7 a letter\n"
CLIENT = "bridge"
ASSERTION_TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"


def resource(kind: str, identity: str, **rest: Any) -> dict[str, Any]:
    meta = {"versionId": "3", "lastUpdated": "2025-02-03T04:05:06Z"}
    return {"resourceType": kind, "id": identity, "meta": meta, **rest}


def patient(identity: str, mrn: str) -> dict[str, Any]:
    return resource(
        "Patient",
        identity,
        identifier=[{"system": MRN, "value": mrn}],
        name=[{"family": "Sánchez", "given": ["Ana", "María"]}],
        birthDate="1961-03-14",
        gender="female",
    )


def document(number: int) -> dict[str, Any]:
    attachment = {"contentType": "application/pdf", "url": "Binary/b-pdf"}
    return resource(
        "DocumentReference",
        f"d-{number}",
        masterIdentifier={"system": "urn:ietf:rfc:3986", "value": f"urn:oid:2.25.{number}"},
        status="current" if number else "entered-in-error",
        type={"coding": [{"system": "http://loinc.org", "code": "11488-4"}]},
        category=[{"coding": [{"code": "clinical-note"}]}],
        subject={"reference": "Patient/p-1"},
        date=f"2024-03-{number + 1:02}T10:00:00+01:00",
        content=[{"attachment": attachment}],
    )


def records() -> dict[str, list[dict[str, Any]]]:
    about = {"reference": "Patient/p-1"}
    report = {"status": "final", "subject": about, "code": {"text": "CT"}}
    return {
        "Patient": [patient("p-1", "4711")],
        "DocumentReference": [document(number) for number in range(DOCUMENTS)],
        "DiagnosticReport": [
            resource("DiagnosticReport", f"r-{n}", **report, effectiveDateTime=f"202{n}")
            for n in range(3)
        ],
        "Endpoint": [resource("Endpoint", "e-1", status="active", address="{dicomweb}")],
    }


def write_image(folder: Path, study: str, series: str, number: int, *, packed: bool) -> None:
    image = Dataset()
    image.file_meta = FileMetaDataset()
    image.SOPClassUID = CTImageStorage
    image.SOPInstanceUID = f"{series}.{number}"
    image.StudyInstanceUID, image.SeriesInstanceUID = study, series
    image.SpecificCharacterSet = "ISO_IR 192"
    image.PatientName, image.PatientID, image.Modality = "Sánchez^Ana", "4711", "CT"
    image.AccessionNumber, image.StudyDate, image.InstanceNumber = "ACC-1", "20240312", number
    image.Rows = image.Columns = 16
    image.BitsAllocated = image.BitsStored = 16
    image.HighBit, image.PixelRepresentation, image.SamplesPerPixel = 15, 0, 1
    image.PhotometricInterpretation = "MONOCHROME2"
    image.PixelData = np.full((16, 16), number, dtype="<u2").tobytes()
    image.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    if packed:
        image.compress(RLELossless, generate_instance_uid=False)
    folder.mkdir(parents=True, exist_ok=True)
    image.save_as(folder / f"{series}.{number}.dcm", enforce_file_format=True)


def write_case(folder: Path) -> None:
    """A case folder as the simulator reads it."""
    (folder / "ehr").mkdir()
    (folder / "files").mkdir()
    for kind, many in records().items():
        (folder / "ehr" / f"{kind}.json").write_bytes(write_json(many))
    (folder / "ehr" / "decoy-patient.json").write_bytes(write_json(patient("p-2", "4712")))
    (folder / "files" / "letter.pdf").write_bytes(PDF)
    with (folder / "ehr" / "binaries.csv").open("w", newline="") as lines:
        rows = [("id", "file", "content_type"), ("b-pdf", "letter.pdf", "application/pdf")]
        csv.writer(lines).writerows(rows)
    for series, count in SERIES.items():
        for number in range(1, count + 1):
            packed = series == "2.25.12"
            write_image(folder / "dicom", STUDY, series, number, packed=packed)
    for number in (1, 2):
        write_image(folder / "push", PUSHED_STUDY, "2.25.21", number, packed=False)


@dataclass
class Visit:
    """A hospital on its ports, and an HTTP client that carries what `headers` says."""

    urls: dict[str, str | None]
    http: httpx2.Client

    def get(self, path: str, **options: Any) -> httpx2.Response:
        """GET below /fhir, or an absolute URL."""
        url = path if path.startswith("http") else f"{self.urls['fhir']}/{path}"
        return self.http.get(url, **options)

    def control(self, path: str) -> Any:
        return self.http.get(f"{self.urls['control']}/{path}").json()

    def pages(self, query: str) -> list[dict[str, Any]]:
        bundles = [self.get(query).json()]
        while link := self.next_of(bundles[-1]):
            bundles.append(self.get(link).json())
        return bundles

    @staticmethod
    def next_of(bundle: dict[str, Any]) -> str | None:
        links = bundle["link"]
        return next((one["url"] for one in links if one["relation"] == "next"), None)

    def post_document(self, **headers: str) -> httpx2.Response:
        return self.http.post(
            f"{self.urls['fhir']}/DocumentReference",
            content=write_json(opinion()),
            headers={"content-type": "application/fhir+json", **headers},
        )

    @property
    def base(self) -> str:
        """Scheme, host and port."""
        return str(self.urls["control"]).removesuffix("/simulator")


def opinion() -> dict[str, Any]:
    return {
        "resourceType": "DocumentReference",
        "identifier": [{"system": "urn:ietf:rfc:3986", "value": "urn:uuid:77"}],
        "status": "current",
        "description": "Second opinion",
        "subject": {"reference": "Patient/p-1"},
        "author": [{"display": "Dr. Opinion"}],
        "content": [
            {
                "attachment": {
                    "contentType": "application/pdf",
                    "data": base64.b64encode(PDF).decode(),
                }
            }
        ],
    }


@contextmanager
def visiting(options: Options) -> Iterator[Visit]:
    """A hospital in this process, on real ports; stopped at the end."""
    hospital = service.build(options)
    ready = threading.Event()
    serving = threading.Thread(
        target=lambda: asyncio.run(hospital.run(lambda _urls: ready.set())), daemon=True
    )
    serving.start()
    assert ready.wait(10)
    try:
        with httpx2.Client(timeout=10, trust_env=False) as http:
            yield Visit(hospital.urls, http)
    finally:
        hospital.leave()
        serving.join(10)
        hospital.close()


@dataclass
class Keys:
    """A client's key pairs, and where its JWKS is served."""

    url: str
    private: dict[str, RSAKey | ECKey]

    def assertion(self, aud: str, alg: str = "RS384", **changes: Any) -> str:
        claims = {
            "iss": CLIENT,
            "sub": CLIENT,
            "aud": aud,
            "exp": int(time.time()) + 240,
            "jti": uuid.uuid4().hex,
        } | changes
        return jwt.encode({"alg": alg, "kid": alg}, claims, self.private[alg], algorithms=[alg])
