"""Draws the DICOM studies of a case from studies.json: Part 10 files, the same bytes each time."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import NAMESPACE_URL, uuid5

import numpy as np
import numpy.typing as npt
import simplejson
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.uid import UID, ExplicitVRLittleEndian, JPEG2000Lossless, JPEGLSLossless

from fhir_bridge.simulators import anatomy, reports, tissues

SPEC = """
studies.json is a list of studies. DICOM decimals (VR DS) are written as text, so that their digits
are kept; `date` is YYYYMMDD, `time` HHMMSS, `zone` the offset that FHIR needs.

study   id, study_uid, accession, patient_id, issuer, patient {name, birth_date, sex, age,
        weight_kg, size_m}, description, date, time, zone, referring, reading, institution, station,
        pushed (true: radiology sends it by C-STORE; neither EHR nor PACS index list it),
        encounter and order (what the EHR's ImagingStudy refers to), series
series  series_uid, number, modality, description, kind, and by kind:
        ct-body, ct-head, mr-body, mr-brain
                slices, matrix (pixels a side), pixel_mm, first_z, step_mm, thickness_mm, window
                [center, width], noise (HU or signal), seed, lesions [{at: [x, y, z], radius,
                value}], contrast?, compress? (jpeg-ls | jpeg-2000), body_part
                CT: kernel, weighting? (plain | arterial; else portal venous)
                MR: weighting (T1 | T2 | FLAIR | HBP), tr, te, flip
        text-report      title, sections [[heading, text], ...]           Basic Text SR
        measured-report  the same, and measurements [[name, LOINC, value, UCUM], ...]
                                                                          Comprehensive SR
        pdf              title, file (relative to the case)               Encapsulated PDF
"""
SOP_CLASSES = {
    "ct-body": "1.2.840.10008.5.1.4.1.1.2",
    "ct-head": "1.2.840.10008.5.1.4.1.1.2",
    "mr-body": "1.2.840.10008.5.1.4.1.1.4",
    "mr-brain": "1.2.840.10008.5.1.4.1.1.4",
    "text-report": "1.2.840.10008.5.1.4.1.1.88.11",
    "measured-report": "1.2.840.10008.5.1.4.1.1.88.33",
    "pdf": "1.2.840.10008.5.1.4.1.1.104.1",
}
IMPLEMENTATION_UID = "2.25.298127331960742651438270129835437410655"
MRN_SYSTEM = "https://general-hospital.example/mrn"
SYNTAXES = {"jpeg-ls": JPEGLSLossless, "jpeg-2000": JPEG2000Lossless}
CT_OFFSET = 1024

Spec = dict[str, Any]


def make_studies(spec: Path, out: Path) -> list[Path]:
    """
    Write every instance that the file `spec` (a studies.json, see SPEC) names.

    The files are `out/<accession>/<series number>-<instance number>.dcm`; they are returned in that
    order. `spec` lies in its case's folder, from where `file` of an encapsulated PDF is read.
    """
    made: list[Path] = []
    for study in simplejson.loads(spec.read_text(encoding="utf-8")):
        folder = out / study["accession"]
        folder.mkdir(parents=True, exist_ok=True)
        for series in study["series"]:
            for instance in _instances(study, series, spec.parent):
                name = f"{series['number']:02d}-{int(instance.InstanceNumber):03d}.dcm"
                instance.save_as(folder / name, enforce_file_format=True)
                made.append(folder / name)
    return made


def instance_uid(series_uid: str, number: int) -> str:
    """The SOP Instance UID of the nth instance (from 1) of a series: 2.25 + UUIDv5 (PS3.5 B.2)."""
    return f"2.25.{uuid5(NAMESPACE_URL, f'{series_uid}/{number}').int}"


def _instances(study: Spec, series: Spec, folder: Path) -> Iterator[FileDataset]:
    fill = _FILLERS[series["kind"]]
    for number in range(1, series.get("slices", 1) + 1):
        instance = _instance(study, series, number)
        fill(instance, study, series, folder)
        if "compress" in series:
            syntax = SYNTAXES[series["compress"]]
            instance.compress(syntax, generate_instance_uid=False)
        yield instance


def _instance(study: Spec, series: Spec, number: int) -> FileDataset:
    """File meta, SOP Common, Patient, General Study, General Series, General Equipment."""
    sop_class = SOP_CLASSES[series["kind"]]
    uid = instance_uid(series["series_uid"], number)
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = UID(sop_class)
    meta.MediaStorageSOPInstanceUID = UID(uid)
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.ImplementationClassUID = UID(IMPLEMENTATION_UID)
    meta.ImplementationVersionName = "GENERALHOSPITAL"
    made = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    made.SpecificCharacterSet = "ISO_IR 192"
    made.SOPClassUID, made.SOPInstanceUID = UID(sop_class), UID(uid)
    made.InstanceNumber = number
    _describe_patient(made, study)
    _describe_study(made, study)
    _describe_series(made, study, series)
    return made


def _describe_patient(made: Dataset, study: Spec) -> None:
    person = study["patient"]
    made.PatientName = person["name"]
    made.PatientID = study["patient_id"]
    made.IssuerOfPatientID = study["issuer"]
    # PS3.3 table 10-18: the same issuer as a URI, which is the system of the FHIR identifier.
    made.IssuerOfPatientIDQualifiersSequence = [
        filled(UniversalEntityID=MRN_SYSTEM, UniversalEntityIDType="URI")
    ]
    made.PatientBirthDate = person["birth_date"]
    made.PatientSex = person["sex"]
    made.PatientAge = person["age"]
    made.PatientWeight = person["weight_kg"]
    made.PatientSize = person["size_m"]


def _describe_study(made: Dataset, study: Spec) -> None:
    made.StudyInstanceUID = study["study_uid"]
    made.StudyID = study["id"][:16].upper()
    made.StudyDate, made.StudyTime = study["date"], study["time"]
    made.AccessionNumber = study["accession"]
    made.StudyDescription = study["description"]
    made.ReferringPhysicianName = study["referring"]
    made.NameOfPhysiciansReadingStudy = study["reading"]
    made.TimezoneOffsetFromUTC = study["zone"].replace(":", "")


def _describe_series(made: Dataset, study: Spec, series: Spec) -> None:
    made.Modality = series["modality"]
    made.SeriesInstanceUID = series["series_uid"]
    made.SeriesNumber = series["number"]
    made.SeriesDescription = series["description"]
    made.SeriesDate = made.ContentDate = study["date"]
    made.SeriesTime = made.ContentTime = study["time"]
    made.Manufacturer = "Synthetic Imaging"
    made.ManufacturerModelName = "Phantom One"
    made.DeviceSerialNumber = "0001"
    made.SoftwareVersions = "1.0"
    made.InstitutionName = study["institution"]
    made.StationName = study["station"]


def filled(**elements: Any) -> Dataset:
    """A sequence item with these elements."""
    item = Dataset()
    for keyword, value in elements.items():
        setattr(item, keyword, value)
    return item


def _image(made: Dataset, study: Spec, series: Spec, _: Path) -> None:
    """General Image, Image Plane, Image Pixel and VOI LUT, then what the modality adds."""
    number, matrix = int(made.InstanceNumber), series["matrix"]
    pixel = float(series["pixel_mm"])
    z = float(series["first_z"]) + (number - 1) * float(series["step_mm"])
    corner = -(matrix - 1) / 2 * pixel
    made.AcquisitionDate, made.AcquisitionTime = study["date"], study["time"]
    made.AcquisitionNumber = 1
    made.BodyPartExamined = series["body_part"]
    made.PatientPosition = "HFS"
    made.FrameOfReferenceUID = instance_uid(study["study_uid"], 0)
    made.PositionReferenceIndicator = ""
    made.ImagePositionPatient = [f"{corner:.3f}", f"{corner:.3f}", f"{z:.3f}"]
    made.ImageOrientationPatient = ["1", "0", "0", "0", "1", "0"]
    made.SliceLocation = f"{z:.3f}"
    made.SliceThickness = series["thickness_mm"]
    made.PixelSpacing = [series["pixel_mm"]] * 2
    made.WindowCenter, made.WindowWidth = series["window"]
    if "contrast" in series:
        made.ContrastBolusAgent = series["contrast"]
        made.ContrastBolusRoute = "IV"
    if series["modality"] == "CT":
        _as_ct(made, series)
    else:
        _as_mr(made, series)
    _pixels(made, series, z)


def _as_ct(made: Dataset, series: Spec) -> None:
    made.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
    made.KVP = "120"
    made.XRayTubeCurrent = 180
    made.ExposureTime = 500
    made.ConvolutionKernel = series["kernel"]
    made.GantryDetectorTilt = "0"
    made.RescaleIntercept, made.RescaleSlope = -CT_OFFSET, 1
    made.RescaleType = "HU"


def _as_mr(made: Dataset, series: Spec) -> None:
    spin = series["weighting"] in ("T2", "FLAIR")
    made.ImageType = ["ORIGINAL", "PRIMARY", "M"]
    made.ScanningSequence = {"FLAIR": ["SE", "IR"], "T2": "SE"}.get(series["weighting"], "GR")
    made.SequenceVariant = "SK" if spin else "SP"
    made.ScanOptions = "FS" if series["weighting"] == "HBP" else ""
    made.MRAcquisitionType = "2D" if spin else "3D"
    made.RepetitionTime, made.EchoTime = series["tr"], series["te"]
    made.EchoTrainLength = 16 if spin else 1
    made.FlipAngle = series["flip"]
    made.MagneticFieldStrength = "3"
    if series["weighting"] == "FLAIR":
        made.InversionTime = "2500"


def _pixels(made: Dataset, series: Spec, z: float) -> None:
    made.SamplesPerPixel = 1
    made.PhotometricInterpretation = "MONOCHROME2"
    made.Rows = made.Columns = series["matrix"]
    made.BitsAllocated, made.BitsStored, made.HighBit = 16, 12, 11
    made.PixelRepresentation = 0
    values = _drawn(series, z)
    offset = CT_OFFSET if series["modality"] == "CT" else 0
    stored = np.clip(np.rint(values + offset), 0, 4095).astype("<u2")
    made.add_new(0x7FE00010, "OW", stored.tobytes())


def _drawn(series: Spec, z: float) -> tissues.Image:
    """One slice in HU or signal: the anatomy, blurred by the scanner, with its noise."""
    draw = anatomy.head if series["kind"] in ("ct-head", "mr-brain") else anatomy.body
    place = anatomy.grid(series["matrix"], float(series["pixel_mm"]))
    lesions = [
        anatomy.Lesion(tuple(one["at"]), one["radius"], one["value"]) for one in series["lesions"]
    ]
    image = draw(place, z, series.get("weighting", "ct"), lesions)
    chance = np.random.default_rng([series["seed"], round(z * 10) + 10_000])
    sharp = series.get("kernel", "B30f") == "B60f"
    image = image if sharp else _blurred(image)
    noise = chance.standard_normal(image.shape, dtype=np.float32)
    # A soft kernel smooths the noise as well: 3 x 3 leaves a third of it, hence the factor.
    noise = noise if sharp else 2.4 * _blurred(noise)
    if series["modality"] == "MR":
        # A magnitude image has no negative signal.
        return np.abs(image * _coil(place) + noise * np.float32(series["noise"]))
    return image + noise * np.float32(series["noise"])


def _blurred(image: tissues.Image) -> tissues.Image:
    for axis in (0, 1):
        shifted = np.roll(image, 1, axis) + np.roll(image, -1, axis)
        image = (0.5 * image + 0.25 * shifted).astype(np.float32)
    return image


def _coil(place: tissues.Grid) -> npt.NDArray[np.float32]:
    """Surface coils: brighter near the front and the skin."""
    shade = 1.0 - 0.0006 * place.y + 0.0000045 * (place.x**2 + place.y**2)
    return shade.astype(np.float32)


def _encapsulated_pdf(made: Dataset, study: Spec, series: Spec, folder: Path) -> None:
    """SC Equipment and Encapsulated Document modules (PS3.3 A.45.1)."""
    body = (folder / series["file"]).read_bytes()
    made.ConversionType = "WSD"
    made.AcquisitionDateTime = study["date"] + study["time"]
    made.BurnedInAnnotation = "YES"
    made.DocumentTitle = series["title"]
    made.ConceptNameCodeSequence = []
    made.MIMETypeOfEncapsulatedDocument = "application/pdf"
    made.EncapsulatedDocumentLength = len(body)
    made.EncapsulatedDocument = body + b"\0" * (len(body) % 2)


def _report(made: Dataset, study: Spec, series: Spec, _: Path) -> None:
    seen = _images_of(study)
    reports.fill(made, study, series, seen)


def _images_of(study: Spec) -> list[tuple[str, list[tuple[str, str]]]]:
    """(series UID, [(SOP class, SOP instance)]) of the images that a report has seen."""
    return [
        (
            series["series_uid"],
            [
                (SOP_CLASSES[series["kind"]], instance_uid(series["series_uid"], n))
                for n in range(1, series["slices"] + 1)
            ],
        )
        for series in study["series"]
        if "slices" in series
    ]


_Filler = Callable[[Dataset, Spec, Spec, Path], None]
_FILLERS: dict[str, _Filler] = {
    "ct-body": _image,
    "ct-head": _image,
    "mr-body": _image,
    "mr-brain": _image,
    "text-report": _report,
    "measured-report": _report,
    "pdf": _encapsulated_pdf,
}
