"""Small DICOM objects with fixed UIDs."""

from __future__ import annotations

from io import BytesIO

from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.filewriter import dcmwrite
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian

STUDY = "1.2.826.0.1.3680043.10.999.1"
SERIES = f"{STUDY}.1"
PATIENT_ID = "P1"


def image(number: int, *, sop_class=CTImageStorage, series=SERIES, pixels: int = 64) -> Dataset:
    one = Dataset()
    one.SOPClassUID, one.SOPInstanceUID = sop_class, f"{series}.{number}"
    one.StudyInstanceUID, one.SeriesInstanceUID = STUDY, series
    one.PatientID, one.PatientName = PATIENT_ID, "DOE^JANE"
    one.AccessionNumber, one.StudyDate, one.Modality = "A1", "20240102", "CT"
    one.StudyDescription, one.InstanceNumber = "CT head", number
    one.add_new(0x7FE00010, "OW", bytes(pixels))
    one.file_meta = FileMetaDataset()
    one.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    one.file_meta.MediaStorageSOPClassUID = one.SOPClassUID
    one.file_meta.MediaStorageSOPInstanceUID = one.SOPInstanceUID
    return one


def part10(one: Dataset) -> bytes:
    target = BytesIO()
    dcmwrite(target, one, enforce_file_format=True)
    return target.getvalue()
