"""Studies and instances, only in the DICOM sense: what we hold of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from fhir_bridge.case.identity import Person
from fhir_bridge.case.original import How


@dataclass(frozen=True, slots=True)
class Instance:
    """
    One stored DICOM instance. `sha256` addresses the Part 10 file in the store and
    `dataset_sha256` is the hash of the data set bytes as they were sent.

    `header` is what the image itself says about the patient. `pushed` tells that they sent it
    unasked. `quarantined` says why it may not be shown, and is empty when it may.
    """

    source: str
    study_uid: str
    series_uid: str
    sop_uid: str
    sop_class: str
    transfer_syntax: str
    sha256: str
    dataset_sha256: str
    size: int
    original: str
    accession: str = ""
    issuer: str = ""
    modality: str = ""
    header: Person = field(default_factory=Person)
    case_id: str | None = None
    pushed: bool = False
    quarantined: str = ""


@dataclass(frozen=True, slots=True)
class StudyClaim:
    """A study that a source lists: from QIDO-RS, C-FIND or an ImagingStudy resource."""

    study_uid: str
    accession: str = ""
    description: str = ""
    date: str = ""
    modalities: tuple[str, ...] = ()
    instances: int | None = None


@dataclass(frozen=True, slots=True)
class InstanceClaim:
    """An instance that a source lists."""

    study_uid: str
    series_uid: str
    sop_uid: str
    sop_class: str = ""


@dataclass(frozen=True, slots=True)
class Arrival:
    """
    One instance on its way in, before anything is durable.

    `chunks` are the bytes in order: a whole Part 10 file when `part10`, otherwise a bare data set
    (DIMSE) in `transfer_syntax`. `sop_class` and `sop_uid` are what the command said, empty where
    the way in has no command. `request` is the line for the original's row.
    """

    source: str
    how: How
    chunks: Iterable[bytes]
    part10: bool
    transfer_syntax: str = ""
    sop_class: str = ""
    sop_uid: str = ""
    request: str = ""
    case_id: str | None = None
    pushed: bool = False
    facts: Mapping[str, str] = field(default_factory=dict)
