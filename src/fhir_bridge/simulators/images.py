"""The PACS archive: an index over Part 10 files, as the studies, series and images it lists."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydicom import Dataset, dcmread
from pydicom.datadict import dictionary_VR, tag_for_keyword
from pydicom.dataelem import DataElement

_BULK = ("PixelData", "EncapsulatedDocument")
_STUDY_KEYS = (
    "SpecificCharacterSet", "StudyDate", "StudyTime", "AccessionNumber", "ReferringPhysicianName",
    "PatientName", "PatientID", "IssuerOfPatientID", "PatientBirthDate", "PatientSex",
    "StudyInstanceUID", "StudyID", "StudyDescription",
)  # fmt: skip
_SERIES_KEYS = (
    "StudyInstanceUID", "SeriesInstanceUID", "Modality", "SeriesNumber", "SeriesDescription",
    "BodyPartExamined", "SeriesDate", "SeriesTime", "PerformedProcedureStepStartDate",
)  # fmt: skip
_IMAGE_KEYS = (
    "StudyInstanceUID", "SeriesInstanceUID", "SOPClassUID", "SOPInstanceUID", "InstanceNumber",
    "Rows", "Columns", "BitsAllocated", "NumberOfFrames",
)  # fmt: skip
LEVELS = ("STUDY", "SERIES", "IMAGE")


@dataclass(frozen=True, slots=True)
class Instance:
    """One stored file; `header` is its data set without pixels or embedded documents."""

    path: Path
    header: Dataset
    study: str
    series: str
    uid: str
    sop_class: str
    syntax: str


def open_instance(path: Path) -> Instance:
    """Index one Part 10 file (PS3.10)."""
    header = dcmread(path, stop_before_pixels=True)
    for keyword in _BULK:
        if keyword in header:
            del header[keyword]
    return Instance(
        path,
        header,
        str(header.StudyInstanceUID),
        str(header.SeriesInstanceUID),
        str(header.SOPInstanceUID),
        str(header.SOPClassUID),
        str(header.file_meta.TransferSyntaxUID),
    )


class Archive:
    """What the PACS holds: `listed` is found by queries, `pushable` only leaves by C-STORE."""

    def __init__(self, paths: Iterable[Path], pushed: Collection[str] = ()) -> None:
        everything = [open_instance(path) for path in sorted(paths)]
        self.listed = tuple(one for one in everything if one.study not in pushed)
        self.pushable = tuple(one for one in everything if one.study in pushed)
        self._rows: dict[str, tuple[Dataset, ...]] = {
            level: tuple(_level_rows(level, self.listed)) for level in LEVELS
        }

    @property
    def everything(self) -> tuple[Instance, ...]:
        """Listed and pushable alike."""
        return self.listed + self.pushable

    def find(self, level: str, wanted: Mapping[str, str]) -> list[Dataset]:
        """
        The rows of a level (`LEVELS`) that match every key, by keyword (PS3.4 C.2.2.2).

        Rows of a lower level carry the attributes of the levels above.
        """
        return [row for row in self._rows[level] if matches(row, wanted)]

    def stored(self, wanted: Mapping[str, str]) -> list[Instance]:
        """The listed instances whose headers match these keys, by keyword; UIDs may be lists."""
        return [one for one in self.listed if matches(one.header, wanted)]


def _level_rows(level: str, instances: Sequence[Instance]) -> Iterator[Dataset]:
    uid_of = {"STUDY": "study", "SERIES": "series", "IMAGE": "uid"}[level]
    groups: dict[str, list[Instance]] = {}
    for one in instances:
        groups.setdefault(getattr(one, uid_of), []).append(one)
    studies: dict[str, list[Instance]] = {}
    for one in instances:
        studies.setdefault(one.study, []).append(one)
    for members in groups.values():
        yield _row(level, members, studies[members[0].study])


def _row(level: str, members: Sequence[Instance], study: Sequence[Instance]) -> Dataset:
    row = _picked(members[0].header, _STUDY_KEYS)
    row.SpecificCharacterSet = "ISO_IR 192"
    row.ModalitiesInStudy = sorted({str(one.header.Modality) for one in study})
    row.SOPClassesInStudy = sorted({one.sop_class for one in study})
    row.NumberOfStudyRelatedSeries = len({one.series for one in study})
    row.NumberOfStudyRelatedInstances = len(study)
    if level == "STUDY":
        return row
    row.update(_picked(members[0].header, _SERIES_KEYS))
    row.NumberOfSeriesRelatedInstances = sum(one.series == members[0].series for one in study)
    if level == "IMAGE":
        row.update(_picked(members[0].header, _IMAGE_KEYS))
        row.AvailableTransferSyntaxUID = members[0].syntax
    return row


def _picked(header: Dataset, keywords: Sequence[str]) -> Dataset:
    """The named attributes, text as Unicode so that it can be sent in UTF-8."""
    row = Dataset()
    for keyword in keywords:
        if keyword in header:
            element = header[keyword]
            value = str(element.value) if element.VR == "PN" else element.value
            row.add(DataElement(element.tag, element.VR, value))
    return row


def matches(row: Dataset, wanted: Mapping[str, str]) -> bool:
    """Whether a data set matches every key; an empty key is universal (PS3.4 C.2.2.2.3)."""
    return all(_matches_one(row, keyword, value) for keyword, value in wanted.items() if value)


def _matches_one(row: Dataset, keyword: str, wanted: str) -> bool:
    if tag_for_keyword(keyword) is None or keyword not in row:
        return False
    vr = dictionary_VR(keyword)
    have = _texts(row[keyword].value)
    if vr == "UI":
        return bool(set(have) & set(re.split(r"[\\,]", wanted)))
    if vr in ("DA", "TM", "DT") and "-" in wanted:
        first, _, last = wanted.partition("-")
        return any((not first or first <= one) and (not last or one <= last) for one in have)
    if vr == "PN":
        return any(fnmatch.fnmatchcase(one.casefold(), _pattern(wanted.casefold())) for one in have)
    return any(fnmatch.fnmatchcase(one, _pattern(wanted)) for one in have)


def _pattern(wanted: str) -> str:
    # Only * and ? are wild cards in DICOM (PS3.4 C.2.2.2.4); [ is a letter.
    return wanted.replace("[", "[[]")


def _texts(value: Any) -> list[str]:
    if value is None:
        return []
    many = isinstance(value, Sequence) and not isinstance(value, str | bytes)
    return [str(one) for one in value] if many else [str(value)]
