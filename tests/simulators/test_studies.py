"""The DICOM studies of the cases: complete, repeatable, and showing what the reports say."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pydicom
import pytest

from fhir_bridge import tables
from fhir_bridge.simulators.studies import make_studies
from fhir_bridge.standards.fhir import json

CASES = ("neurology", "neurosurgery", "cardiology", "gastroenterology", "oncology")
MODULES = {
    "CT": ("ImageType", "RescaleType", "KVP", "AcquisitionNumber", "FrameOfReferenceUID"),
    "MR": ("ImageType", "ScanningSequence", "SequenceVariant", "EchoTrainLength", "FlipAngle"),
    "SR": ("CompletionFlag", "VerifyingObserverSequence", "ContentSequence", "ValueType"),
    "DOC": ("MIMETypeOfEncapsulatedDocument", "ConversionType", "DocumentTitle"),
}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[pydicom.FileDataset]]:
    out = tmp_path_factory.mktemp("studies")
    return {
        case: [pydicom.dcmread(path) for path in make_studies(spec(case), out / case)]
        for case in CASES
    }


def spec(case: str) -> Path:
    return tables.folder("fixtures", "cases", case, "studies.json")


def series(
    made: dict[str, list[pydicom.FileDataset]], case: str, description: str
) -> list[pydicom.FileDataset]:
    return [one for one in made[case] if one.SeriesDescription == description]


def hounsfield(one: pydicom.FileDataset) -> np.ndarray:
    return one.pixel_array * float(one.RescaleSlope) + float(one.RescaleIntercept)


def test_the_same_spec_gives_the_same_bytes(tmp_path: Path) -> None:
    first, second = (make_studies(spec("oncology"), tmp_path / n) for n in ("a", "b"))
    assert [p.name for p in first] == [p.name for p in second]
    for one, other in zip(first, second, strict=True):
        digests = {hashlib.sha256(path.read_bytes()).digest() for path in (one, other)}
        assert len(digests) == 1, one.name


@pytest.mark.parametrize("case", CASES)
def test_every_instance_of_the_spec_is_written_once(
    made: dict[str, list[pydicom.FileDataset]], case: str
) -> None:
    studies = json.loads(spec(case).read_bytes())
    wanted = sum(one.get("slices", 1) for study in studies for one in study["series"])
    assert len({one.SOPInstanceUID for one in made[case]}) == len(made[case]) == wanted


@pytest.mark.parametrize("case", CASES)
def test_headers_name_the_patient_with_the_issuer(
    made: dict[str, list[pydicom.FileDataset]], case: str
) -> None:
    patient = json.loads(tables.folder("fixtures", "cases", case, "patient.json").read_bytes())
    for one in made[case]:
        identifier = patient["identifier"][0]
        issuer = one.IssuerOfPatientIDQualifiersSequence[0]
        assert one.PatientID == identifier["value"]
        assert one.IssuerOfPatientID == "general-hospital"
        assert issuer.UniversalEntityID == identifier["system"]
        family = str(one.PatientName).split("^")[0]
        assert family.casefold() == patient["name"][0]["family"].casefold()


@pytest.mark.parametrize("case", CASES)
def test_the_modules_that_each_modality_needs_are_filled(
    made: dict[str, list[pydicom.FileDataset]], case: str
) -> None:
    """Type 1 attributes of PS3.3 A.3, A.4, A.35 and A.45, as far as a validator asks for them."""
    for one in made[case]:
        assert one.file_meta.MediaStorageSOPInstanceUID == one.SOPInstanceUID
        missing = [keyword for keyword in MODULES[one.Modality] if one.get(keyword) is None]
        assert not missing, (one.Modality, missing)


def test_slices_lie_in_order_and_at_equal_distance(
    made: dict[str, list[pydicom.FileDataset]],
) -> None:
    heights = [float(o.ImagePositionPatient[2]) for o in series(made, "oncology", "Lung 3.0")]
    assert set(np.diff(heights)) == {-8.0}


def test_the_chest_shows_lungs_bone_and_vessels(
    made: dict[str, list[pydicom.FileDataset]],
) -> None:
    image = hounsfield(series(made, "oncology", "Chest abdomen portal venous 5.0")[12])
    assert 0.15 < np.mean((image > -950) & (image < -750)) < 0.35, "lungs"
    assert np.mean(image > 250) > 0.005, "bone"
    assert np.mean((image > 130) & (image < 230)) > 0.01, "blood with contrast"


def test_the_liver_lesion_is_smaller_in_june(
    made: dict[str, list[pydicom.FileDataset]],
) -> None:
    """Segment VI: 34 mm in January, 22 mm in June, dark against the liver."""
    areas = []
    for description in ("Abdomen portal venous 5.0", "Chest abdomen portal venous 5.0"):
        slices = series(made, "oncology", description)
        one = min(slices, key=lambda o: abs(float(o.ImagePositionPatient[2]) + 88))
        pixel = float(one.PixelSpacing[0])
        column, row = (
            round((mm - float(edge)) / pixel)
            for mm, edge in zip((-98, 10), one.ImagePositionPatient, strict=False)
        )
        reach = round(20 / pixel)
        window = hounsfield(one)[row - reach : row + reach, column - reach : column + reach]
        areas.append(float(np.sum(window < 88)) * pixel**2)
    assert areas[0] > 1.5 * areas[1] > 300


def test_the_outside_liver_mr_shows_the_fifth_lesion(
    made: dict[str, list[pydicom.FileDataset]],
) -> None:
    slices = series(made, "oncology", "T1 VIBE fs hepatobiliary 20 min")
    one = min(slices, key=lambda o: abs(float(o.ImagePositionPatient[2]) + 62))
    middle, pixel = one.Rows / 2, float(one.PixelSpacing[0])
    at = one.pixel_array[round(middle - 42 / pixel), round(middle - 62 / pixel)]
    beside = one.pixel_array[round(middle - 22 / pixel), round(middle - 92 / pixel)]
    assert beside > 1.8 * at


def test_compressed_series_decode_to_their_size(
    made: dict[str, list[pydicom.FileDataset]],
) -> None:
    every = [one for held in made.values() for one in held]
    packed = [one for one in every if one.file_meta.TransferSyntaxUID.is_compressed]
    assert {one.file_meta.TransferSyntaxUID.name for one in packed} == {
        "JPEG-LS Lossless Image Compression",
        "JPEG 2000 Image Compression (Lossless Only)",
    }
    assert all(one.pixel_array.shape == (one.Rows, one.Columns) for one in packed[::20])


def test_an_encapsulated_pdf_holds_the_file_of_the_case(
    made: dict[str, list[pydicom.FileDataset]],
) -> None:
    (one,) = series(made, "cardiology", "ECG report")
    file = tables.folder("fixtures", "cases", "cardiology", "files", "ecg.pdf").read_bytes()
    assert one.EncapsulatedDocument[: one.EncapsulatedDocumentLength] == file


def test_a_measured_report_carries_numbers_with_units(
    made: dict[str, list[pydicom.FileDataset]],
) -> None:
    (one,) = series(made, "cardiology", "Echo report")
    group = one.ContentSequence[-1].ContentSequence
    told = {
        item.ConceptNameCodeSequence[0].CodeValue: (
            str(item.MeasuredValueSequence[0].NumericValue),
            item.MeasuredValueSequence[0].MeasurementUnitsCodeSequence[0].CodeValue,
        )
        for item in group
    }
    assert told["18089-3"] == ("0.80", "cm2")
