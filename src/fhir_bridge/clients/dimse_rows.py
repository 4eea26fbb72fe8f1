"""What a PACS is asked and what it answers: identifiers, rows and the report of a retrieve."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from pydicom.dataset import Dataset

from fhir_bridge import tables
from fhir_bridge.case.imaging import InstanceClaim, StudyClaim
from fhir_bridge.errors import AssociationRejected
from fhir_bridge.standards.dicom import words

MOST_UIDS = 200
UNABLE = 0xC000


@dataclass(frozen=True, slots=True)
class MoveReport:
    """
    What a PACS says at the end of a C-MOVE or C-GET; none of it is proof (PS3.4 C.4.2).

    `status` is four hex digits, `words` what the nurse reads, `failed_uids` its own list of what
    did not go. Counters that it leaves out are 0.
    """

    status: str
    words: str = ""
    completed: int = 0
    failed: int = 0
    warning: int = 0
    remaining: int = 0
    failed_uids: tuple[str, ...] = ()

    def plus(self, other: MoveReport) -> MoveReport:
        """Both taken together; the first status that is no success stands."""
        worse = self if self.status != "0000" else other
        return MoveReport(
            worse.status, worse.words, self.completed + other.completed,
            self.failed + other.failed, self.warning + other.warning,
            self.remaining + other.remaining, self.failed_uids + other.failed_uids,
        )  # fmt: skip


def report(answers: Iterable[tuple[Dataset, Dataset | None]], service: str) -> MoveReport:
    """The last answer of a C-MOVE or C-GET; raises AssociationRejected when there was none."""
    last, listed = Dataset(), None
    for status, identifier in answers:
        last, listed = status, identifier or listed
    code = status_code(last)
    return MoveReport(
        status=f"{code:04X}",
        words=nurse_words(service, code),
        completed=_count(last, "NumberOfCompletedSuboperations"),
        failed=_count(last, "NumberOfFailedSuboperations"),
        warning=_count(last, "NumberOfWarningSuboperations"),
        remaining=_count(last, "NumberOfRemainingSuboperations"),
        failed_uids=() if listed is None else texts(listed, "FailedSOPInstanceUIDList"),
    )


def status_code(status: Dataset) -> int:
    """The status of an answer; raises AssociationRejected for the answer that never came."""
    if "Status" not in status:
        raise AssociationRejected("the association was lost, or the peer was silent for too long")
    return int(status.Status)


def nurse_words(service: str, code: int) -> str:
    """What a status means; one that the table does not have counts as "unable to process"."""
    known = words.statuses()
    row = known.get((service, code)) or known.get((service, UNABLE))
    return row.nurse_sees if row else ""


def _count(status: Dataset, keyword: str) -> int:
    value = status.get(keyword)
    return int(value) if value is not None else 0


def identifiers(study_uid: str, only: Collection[InstanceClaim]) -> list[Dataset]:
    """The study, or its instances by series, so many at a time that a UI element holds them."""
    if not only:
        return [identifier("STUDY", {"StudyInstanceUID": study_uid})]
    by_series: dict[str, list[str]] = defaultdict(list)
    for claim in only:
        by_series[claim.series_uid].append(claim.sop_uid)
    return [
        identifier(
            "IMAGE",
            {
                "StudyInstanceUID": study_uid,
                "SeriesInstanceUID": series,
                "SOPInstanceUID": uids[start : start + MOST_UIDS],
            },
        )
        for series, uids in by_series.items()
        for start in range(0, len(uids), MOST_UIDS)
    ]


def identifier(level: str, keys: Mapping[str, str | list[str]]) -> Dataset:
    """A query at one level (STUDY, SERIES, IMAGE): keys that match, and empty ones to return."""
    query = Dataset()
    query.QueryRetrieveLevel = level
    for keyword, value in keys.items():
        if not str(value).isascii():
            query.SpecificCharacterSet = "ISO_IR 192"
        setattr(query, keyword, value)
    return query


def question(level: str, keys: Mapping[str, str]) -> Dataset:
    """A C-FIND query: the given keys, and what query-keys.csv wants returned at the level."""
    wanted = {
        row["keyword"]: ""
        for row in tables.rows("dicom", "query-keys.csv")
        if row["level"] == level.lower() and row["return"] == "yes"
    }
    return identifier(level, {**wanted, **keys})


def study(row: Dataset) -> StudyClaim:
    """A row of a C-FIND at study level."""
    count = text(row, "NumberOfStudyRelatedInstances")
    return StudyClaim(
        study_uid=text(row, "StudyInstanceUID"),
        accession=text(row, "AccessionNumber"),
        description=text(row, "StudyDescription"),
        date=text(row, "StudyDate"),
        modalities=texts(row, "ModalitiesInStudy"),
        instances=int(count) if count.isdecimal() else None,
    )


def texts(row: Dataset, keyword: str) -> tuple[str, ...]:
    """The values of an element; one that cannot be decoded counts as absent."""
    try:
        value = row.get(keyword)
    except Exception:  # noqa: BLE001 (pydicom decodes here, and bytes of others raise anything)
        return ()
    values = [value] if isinstance(value, str | int) or value is None else list(value)
    return tuple(str(v).strip(" \0") for v in values if v not in {None, ""})


def text(row: Dataset, keyword: str) -> str:
    """The whole value of an element as text, empty when it is absent."""
    # PS3.5 6.4: a value with a backslash is several; the whole of it is compared, never a part.
    return "\\".join(texts(row, keyword))
