"""A shelf of real files and SQLite, and small images to put on it; the receiving tests share it."""

from __future__ import annotations

import hashlib
import os
import sqlite3
import threading
import uuid
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from io import BytesIO
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
from pydicom import Dataset, dcmwrite
from pydicom.dataset import FileMetaDataset
from pydicom.uid import (
    UID,
    CTImageStorage,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRLittleEndian,
    JPEGLSLossless,
)

from fhir_bridge.case.case import Case
from fhir_bridge.case.identity import Identifier, Person
from fhir_bridge.case.imaging import Instance
from fhir_bridge.case.original import Blob, Original
from fhir_bridge.errors import TooLarge
from fhir_bridge.pipeline.receive.receiver import CONFLICT, DUPLICATE, NEW, Receiver

NOW = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
MRN = "urn:oid:2.16.840.1.113883.19.5"
ROOT = "1.2.826.0.1.3680043.10.1337"

_SCHEMA = """
CREATE TABLE IF NOT EXISTS instance (source, sop, dataset, sha256, reason, case_id,
  study, PRIMARY KEY (source, sop, dataset));
CREATE TABLE IF NOT EXISTS original (id PRIMARY KEY, sha256, instance INTEGER);
"""


class Writer:
    """Temporary file, then fsync, rename, fsync of the folder."""

    def __init__(self, folder: Path, max_bytes: int) -> None:
        self._folder, self._left = folder, max_bytes
        self._path = folder / "incoming" / uuid.uuid4().hex
        self._file = self._path.open("wb")
        self._hash, self._size = hashlib.sha256(), 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
        /,
    ) -> None:
        self._file.close()
        self._path.unlink(missing_ok=True)

    def write(self, chunk: bytes, /) -> None:
        self._size += len(chunk)
        if self._size > self._left:
            raise TooLarge("beyond the cap")
        self._hash.update(chunk)
        self._file.write(chunk)

    def commit(self) -> Blob:
        self._file.flush()
        os.fsync(self._file.fileno())
        digest = self._hash.hexdigest()
        self._path.rename(self._folder / "blobs" / digest)
        descriptor = os.open(self._folder / "blobs", os.O_RDONLY)
        os.fsync(descriptor)
        os.close(descriptor)
        return Blob(digest, self._size)


class FolderShelf:
    """Satisfies Shelf and OpenCases: what a store has to do, in the shortest form that is true."""

    def __init__(self, folder: Path, cases: Sequence[Case] = ()) -> None:
        self.folder, self.cases = folder, list(cases)
        self.originals: list[Original] = []
        self.accessions: dict[tuple[str, str], str] = {}
        for name in ("incoming", "blobs"):
            (folder / name).mkdir(parents=True, exist_ok=True)
        self._lock = threading.Lock()
        self._db = sqlite3.connect(folder / "rows.sqlite", check_same_thread=False)
        self._db.execute("PRAGMA journal_mode=WAL")
        self._db.execute("PRAGMA synchronous=FULL")
        self._db.executescript(_SCHEMA)

    def writer(self, *, max_bytes: int) -> Writer:
        return Writer(self.folder, max_bytes)

    def store_instance(self, original: Original, instance: Instance, *, at: datetime) -> str:
        key = (instance.source, instance.sop_uid)
        with self._lock, self._db:
            found = self._db.execute(
                "SELECT dataset FROM instance WHERE source=? AND sop=?", key
            ).fetchall()
            if (instance.dataset_sha256,) in found:
                return DUPLICATE
            reason = instance.quarantined or ("conflict" if found else "")
            self._db.execute(
                "INSERT INTO instance VALUES (?,?,?,?,?,?,?)",
                (
                    *key,
                    instance.dataset_sha256,
                    instance.sha256,
                    reason,
                    instance.case_id,
                    instance.study_uid,
                ),
            )
            self._db.execute("INSERT INTO original VALUES (?,?,1)", (original.id, original.sha256))
        self.originals.append(original)
        return CONFLICT if found else NEW

    def keep(self, original: Original) -> None:
        with self._lock, self._db:
            self._db.execute("INSERT INTO original VALUES (?,?,0)", (original.id, original.sha256))
        self.originals.append(original)

    def candidates(self, study_uid: str, accession: str) -> Sequence[Case]:
        return self.cases

    def case_of_study(self, study_uid: str) -> str | None:
        row = self._db.execute(
            "SELECT case_id FROM instance WHERE study=? AND case_id IS NOT NULL", (study_uid,)
        ).fetchone()
        return row[0] if row else None

    def case_of_accession(self, source: str, accession: str) -> str | None:
        return self.accessions.get((source, accession))

    def rows(self) -> list[dict[str, Any]]:
        names = ("source", "sop", "dataset", "sha256", "reason", "case_id", "study")
        found = self._db.execute("SELECT * FROM instance ORDER BY sop, dataset").fetchall()
        return [dict(zip(names, row, strict=True)) for row in found]

    def body(self, sha256: str) -> bytes:
        return (self.folder / "blobs" / sha256).read_bytes()

    def blobs(self) -> set[str]:
        return {path.name for path in (self.folder / "blobs").iterdir()}


def receiver(shelf: FolderShelf, *, systems: Mapping[str, str] | None = None) -> Receiver:
    return Receiver(
        shelf,
        shelf,
        keep=shelf.keep,
        clock=lambda: NOW,
        new_id=lambda: uuid.uuid4().hex,
        systems=systems or {},
        max_bytes=64 * 1024 * 1024,
    )


def case(case_id: str = "case-1", **facts: str) -> Case:
    person = Person(
        identifiers=(Identifier(MRN, facts.get("mrn", "MRN-1")),),
        family=facts.get("family", "Hartmann"),
        given="Lena",
        birth_date=facts.get("birth_date", "1961-03-04"),
        sex="female",
    )
    return Case(case_id, {}, person, "oncology", "What now?", ("general",), NOW)


def dataset(number: int = 1, **elements: Any) -> Dataset:
    """A small CT slice with pixels of its own."""
    made = Dataset()
    made.SOPClassUID = CTImageStorage
    made.SOPInstanceUID = f"{ROOT}.3.{number}"
    made.StudyDate, made.StudyTime = "20260115", "093015"
    made.AccessionNumber, made.Modality = "A-77", "CT"
    made.PatientName, made.PatientID = "Hartmann^Lena", "MRN-1"
    made.IssuerOfPatientID = MRN
    made.PatientBirthDate, made.PatientSex = "19610304", "F"
    made.StudyInstanceUID, made.SeriesInstanceUID = f"{ROOT}.1", f"{ROOT}.2"
    made.SeriesNumber, made.InstanceNumber = 1, number
    made.SamplesPerPixel, made.PhotometricInterpretation = 1, "MONOCHROME2"
    made.Rows = made.Columns = 32
    made.BitsAllocated = made.BitsStored = 16
    made.HighBit, made.PixelRepresentation = 15, 0
    made.PixelData = (np.arange(1024, dtype="<u2") * number).tobytes()
    made["PixelData"].VR = "OW"
    for keyword, value in elements.items():
        if value is None:
            del made[keyword]
        else:
            setattr(made, keyword, value)
    return made


def part10(made: Dataset, syntax: UID = ExplicitVRLittleEndian) -> bytes:
    made.file_meta = FileMetaDataset()
    made.file_meta.TransferSyntaxUID = syntax
    if syntax == JPEGLSLossless:
        made.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        made.compress(JPEGLSLossless, generate_instance_uid=False)
    if syntax == DeflatedExplicitVRLittleEndian:
        made.file_meta.MediaStorageSOPClassUID = made.SOPClassUID
    out = BytesIO()
    dcmwrite(out, made, enforce_file_format=True)
    return out.getvalue()


def bare(body: bytes) -> bytes:
    """The data set of a Part 10 file, by the File Meta's own group length."""
    length = int.from_bytes(body[140:144], "little")
    return body[144 + length :]
