"""The Receiver: an image is acknowledged only after its bytes and its row are durable."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from types import MappingProxyType, TracebackType
from typing import Protocol, Self

from fhir_bridge.case.case import Case
from fhir_bridge.case.identity import Identifier, Person
from fhir_bridge.case.imaging import Arrival, Instance
from fhir_bridge.case.original import Blob, Original
from fhir_bridge.errors import Hostile, StorageRefused, Unreadable
from fhir_bridge.pipeline.receive.match import Assignment, Ties, assign
from fhir_bridge.standards.dicom import part10, scan
from fhir_bridge.standards.dicom.walk import Finding

MAX_INSTANCE_BYTES = 4 * 1024**3 - 1
NEW, DUPLICATE, CONFLICT = "new", "duplicate", "conflict"
_CONFLICT = "another image with the same number and other content is already here"
_MISMATCH = "the image names itself differently from how it was announced"
_WORDS: Mapping[Finding, str] = MappingProxyType(
    {
        Finding.TRUNCATED: "the image is cut off",
        Finding.BROKEN: "the image is damaged: its lengths contradict each other",
        Finding.PIXELS_SHORT: "the image has fewer pixels than it says",
        Finding.TOO_DEEP: "the image is nested too deeply to be opened safely",
        Finding.TOO_MANY: "the image has too many elements to be opened safely",
        Finding.BOMB: "the image unpacks to far more than it says",
        Finding.NO_PIXELS: "the image has no pixels",
        Finding.ILLEGAL_UID: "the image has an identifier that DICOM does not allow",
    }
)


class BlobWriter(Protocol):
    """A body on its way to the store; leaving the block without `commit` leaves nothing."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
        /,
    ) -> None: ...

    def write(self, chunk: bytes, /) -> None:
        """Append; raises TooLarge beyond the cap and StorageFull when the disk is full."""
        ...

    def commit(self) -> Blob:
        """Durable when it returns: file synced, renamed to its hash, folder synced."""
        ...


class Shelf(Protocol):
    """Where images go; the store satisfies it."""

    def writer(self, *, max_bytes: int) -> BlobWriter:
        """A new Part 10 file."""
        ...

    def store_instance(self, original: Original, instance: Instance, *, at: datetime) -> str:
        """
        Original, instance, ledger row and event in one transaction.

        Returns `new`; `duplicate` for the same SOP Instance UID and data set (one row stays); or
        `conflict` for the same UID with other bytes: both stay, the newcomer is quarantined.
        """
        ...


class OpenCases(Protocol):
    """What the cases know of an arrival; the store satisfies it."""

    def candidates(self, study_uid: str, accession: str) -> Sequence[Case]:
        """Every open case that it might belong to."""
        ...

    def case_of_study(self, study_uid: str) -> str | None:
        """The case that a study is tied to."""
        ...

    def case_of_accession(self, source: str, accession: str) -> str | None:
        """The one case that has an accession number from this source."""
        ...


@dataclass(frozen=True, slots=True)
class _Taken:
    """What the stream told while it went to the store."""

    blob: Blob
    dataset_sha256: str
    transfer_syntax: str
    bare: bool
    header: scan.Header


class Receiver:
    """
    Takes in one instance at a time; many threads may call it.

    `keep` inserts the row of an original that is no instance. `systems` maps what a source writes
    as IssuerOfPatientID to the identifier system of the cases; unlisted issuers stay as they are.
    """

    def __init__(
        self,
        shelf: Shelf,
        cases: OpenCases,
        *,
        keep: Callable[[Original], object],
        clock: Callable[[], datetime],
        new_id: Callable[[], str],
        systems: Mapping[str, str] = MappingProxyType({}),
        max_bytes: int = MAX_INSTANCE_BYTES,
    ) -> None:
        self._shelf, self._cases, self._keep = shelf, cases, keep
        self._clock, self._new_id = clock, new_id
        self._systems, self._max_bytes = systems, max_bytes

    def accept(self, arrival: Arrival) -> Instance:
        """
        Store an arrival and return its instance; only then may anybody be told that it is here.

        The bytes stay as sent: a Part 10 file as it is, a bare data set behind a File Meta of our
        own. A returned instance may be quarantined (another patient, a conflict): kept, not shown.
        Bytes are kept and an error raised when the sender must know: StorageRefused (it names
        itself differently from the command or study), Unreadable (cut off, damaged, no identity),
        Hostile. TooLarge and StorageFull leave nothing.
        """
        taken = self._take(arrival)
        header, original = taken.header, self._original(arrival, taken)
        if not (header.sop_uid and header.study_uid and header.series_uid and header.sop_class):
            self._keep(original)
            raise _refusal(header.findings, "no identity: a UID is missing")
        instance = self._instance(arrival, taken, original)
        mismatch = _mismatch(arrival, header)
        refused = tuple(f for f in header.findings if f in scan.REFUSED)
        instance = replace(instance, quarantined=_reason(instance, header, mismatch=mismatch))
        instance = self._store(original, instance)
        if refused:
            raise _refusal(refused, ", ".join(refused))
        if mismatch:
            raise StorageRefused("the data set is not the instance that was announced")
        return instance

    def _take(self, arrival: Arrival) -> _Taken:
        splitter = part10.Splitter()
        digest, scanner = hashlib.sha256(), None
        syntax = arrival.transfer_syntax
        with self._shelf.writer(max_bytes=self._max_bytes) as writer:
            if not arrival.part10:
                writer.write(_meta(arrival))
            for dataset in _datasets(arrival, splitter, writer):
                if scanner is None:
                    declared = splitter.meta.transfer_syntax if splitter.meta else ""
                    syntax = declared or syntax
                    scanner = scan.Scanner(transfer_syntax=syntax)
                digest.update(dataset)
                scanner.feed(dataset)
            blob = writer.commit()
        header = (scanner or scan.Scanner(transfer_syntax=syntax)).finish()
        return _Taken(blob, digest.hexdigest(), syntax, splitter.bare, header)

    def _original(self, arrival: Arrival, taken: _Taken) -> Original:
        findings = [*taken.header.findings, *([Finding.NO_META] if taken.bare else [])]
        facts = {
            **arrival.facts,
            "transfer_syntax": taken.transfer_syntax,
            "dataset_sha256": taken.dataset_sha256,
        }
        if findings:
            facts["findings"] = " ".join(findings)
        return Original(
            id=self._new_id(),
            source=arrival.source,
            how=arrival.how,
            request=arrival.request,
            sha256=taken.blob.sha256,
            size=taken.blob.size,
            received_at=self._clock(),
            case_id=arrival.case_id,
            content_type="application/dicom",
            facts=facts,
            truncated=Finding.TRUNCATED in findings,
        )

    def _instance(self, arrival: Arrival, taken: _Taken, original: Original) -> Instance:
        header = taken.header
        found = self._person(header)
        decided = self._assign(arrival, header, found)
        return Instance(
            source=arrival.source,
            study_uid=header.study_uid,
            series_uid=header.series_uid,
            sop_uid=header.sop_uid,
            sop_class=header.sop_class,
            transfer_syntax=taken.transfer_syntax,
            sha256=taken.blob.sha256,
            dataset_sha256=taken.dataset_sha256,
            size=taken.blob.size,
            original=original.id,
            accession=header.accession,
            issuer=header.issuer,
            modality=header.modality,
            header=found,
            case_id=decided.case_id,
            pushed=arrival.pushed,
            quarantined=decided.quarantined,
        )

    def _person(self, header: scan.Header) -> Person:
        found = scan.person(header)
        known = tuple(
            Identifier(self._systems.get(i.system, i.system), i.value) for i in found.identifiers
        )
        return replace(found, identifiers=known)

    def _assign(self, arrival: Arrival, header: scan.Header, found: Person) -> Assignment:
        accession = header.accession
        by_number = self._cases.case_of_accession(arrival.source, accession) if accession else None
        ties = Ties(arrival.case_id, self._cases.case_of_study(header.study_uid), by_number)
        candidates = self._cases.candidates(header.study_uid, accession)
        return assign(found, ties=ties, open_cases=candidates)

    def _store(self, original: Original, instance: Instance) -> Instance:
        original = replace(original, case_id=instance.case_id)
        stored = self._shelf.store_instance(original, instance, at=original.received_at)
        if stored == CONFLICT and not instance.quarantined:
            return replace(instance, quarantined=_CONFLICT)
        return instance


def _meta(arrival: Arrival) -> bytes:
    return part10.file_meta(
        sop_class=arrival.sop_class,
        sop_uid=arrival.sop_uid,
        transfer_syntax=arrival.transfer_syntax,
    )


def _datasets(arrival: Arrival, splitter: part10.Splitter, writer: BlobWriter) -> Iterator[bytes]:
    """Every chunk goes to the store as it came; what belongs to the data set comes out."""
    chunks: Iterable[bytes] = arrival.chunks
    for chunk in chunks:
        writer.write(chunk)
        dataset = splitter.feed(chunk) if arrival.part10 else chunk
        if dataset:
            yield dataset
    if arrival.part10 and (rest := splitter.finish()):
        yield rest


def _mismatch(arrival: Arrival, header: scan.Header) -> bool:
    """Whether the command, or the study that the request names, says something else."""
    study = arrival.facts.get("study_uid", "")
    pairs = (
        (arrival.sop_uid, header.sop_uid),
        (arrival.sop_class, header.sop_class),
        (study, header.study_uid),
    )
    return any(said and said.rstrip("\x00 ") != found for said, found in pairs)


def _reason(instance: Instance, header: scan.Header, *, mismatch: bool) -> str:
    """Why an instance waits for a person: the gravest reason, empty when it may be shown."""
    if instance.quarantined:
        return instance.quarantined
    if mismatch:
        return _MISMATCH
    return next((_WORDS[f] for f in header.findings if f in scan.SET_ASIDE), "")


def _refusal(findings: Iterable[Finding], detail: str) -> Unreadable | Hostile:
    return Hostile(detail) if scan.HOSTILE.intersection(findings) else Unreadable(detail)
