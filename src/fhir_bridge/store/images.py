"""Images: the rows of DICOM instances, whose bytes lie among the originals."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import asdict, replace
from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import Connection, Row, select, update

from fhir_bridge.case.case import Case, CaseState
from fhir_bridge.case.events import Event, Happened
from fhir_bridge.case.imaging import Instance
from fhir_bridge.case.ledger import INSTANCE, LedgerRow, RecordKey, RecordState
from fhir_bridge.case.original import Original
from fhir_bridge.store import schema
from fhir_bridge.store.cases import Cases, read_person
from fhir_bridge.store.database import Database, lock
from fhir_bridge.store.events import append
from fhir_bridge.store.ledger_rows import see
from fhir_bridge.store.originals import BlobWriter, Originals, original_values


class Stored(StrEnum):
    """What the store made of an instance."""

    NEW = "new"
    DUPLICATE = "duplicate"
    CONFLICT = "conflict"


class Images:
    """What we hold of studies; an instance's original, row, ledger row and event are one commit."""

    def __init__(self, database: Database, originals: Originals, cases: Cases) -> None:
        self._database, self._originals, self._cases = database, originals, cases

    def writer(self, *, max_bytes: int) -> BlobWriter:
        """A new Part 10 file on its way to the store."""
        return self._originals.writer(max_bytes=max_bytes)

    def store_instance(self, original: Original, instance: Instance, *, at: datetime) -> str:
        """
        Make an instance durable. Duplicate: same SOP Instance UID and same data set, one row in
        each case that has it. Conflict: same UID with other bytes, both kept, the newcomer
        quarantined.
        """
        table = schema.instance
        with self._database.write() as connection:
            lock(connection, f"instance {instance.sop_uid}")
            twins = connection.execute(
                select(table.c.source, table.c.dataset_sha256, table.c.case_id).where(
                    table.c.sop_uid == instance.sop_uid
                )
            ).all()
            same = [t for t in twins if t.dataset_sha256 == instance.dataset_sha256]
            of_cases = {t.case_id for t in same if t.source == instance.source}
            if _is_known(instance, of_cases):
                self._sight_again(connection, instance, of_cases)
                return Stored.DUPLICATE
            conflict = bool(twins) and not same
            if conflict:
                reason = "another image with the same number and other content is already here"
                instance = replace(instance, quarantined=instance.quarantined or reason)
            self._insert(connection, original, instance, at)
            return Stored.CONFLICT if conflict else Stored.NEW

    def _insert(
        self, connection: Connection, original: Original, instance: Instance, at: datetime
    ) -> None:
        connection.execute(schema.original.insert().values(**original_values(original)))
        connection.execute(schema.instance.insert().values(**_values(instance), stored_at=at))
        if instance.case_id is not None:
            see(connection, instance.case_id, [ledger_row(instance)], [""])
        name = Happened.INSTANCE_RECEIVED if instance.pushed else Happened.INSTANCE_STORED
        facts: dict[str, str | int] = {"source": instance.source, "size": instance.size}
        append(connection, Event(name, instance.case_id, instance.source, at, facts))

    def _sight_again(
        self, connection: Connection, instance: Instance, of_cases: Collection[str | None]
    ) -> None:
        if instance.case_id is not None and instance.case_id not in of_cases:
            _assign(connection, instance.study_uid, instance.case_id)
            return
        seen = of_cases if instance.case_id is None else {instance.case_id}
        for case_id in sorted(filter(None, seen)):
            see(connection, case_id, [ledger_row(instance)], [""])

    def of_case(self, case_id: str) -> Sequence[Instance]:
        """Every instance of a case, by study, series and SOP Instance UID."""
        return self._select(schema.instance.c.case_id == case_id)

    def of_study(self, study_uid: str) -> Sequence[Instance]:
        """Every instance of a study, whatever its case."""
        return self._select(schema.instance.c.study_uid == study_uid)

    def unassigned(self) -> Sequence[Instance]:
        """What arrived and belongs to no case yet."""
        return self._select(schema.instance.c.case_id.is_(None))

    def held(self, case_id: str, source: str) -> frozenset[str]:
        """SOP Instance UIDs of a case that came from a source."""
        table = schema.instance
        query = select(table.c.sop_uid).where(table.c.case_id == case_id, table.c.source == source)
        with self._database.read() as connection:
            return frozenset(connection.execute(query).scalars())

    def assign(self, study_uid: str, case_id: str, *events: Event) -> int:
        """Give a study that waits in Unassigned to a case; returns how many instances."""
        with self._database.write() as connection:
            moved = _assign(connection, study_uid, case_id)
            append(connection, *events)
        return moved

    def candidates(self, study_uid: str, accession: str) -> Sequence[Case]:
        """Open cases that an arrival might belong to: those of its study first, then all open."""
        known = {i.case_id for i in self.of_study(study_uid) if i.case_id}
        del accession  # matched by the caller against the cases' own evidence
        open_cases = [c for c in self._cases.all() if c.state is not CaseState.DELIVERED]
        return sorted(open_cases, key=lambda case: case.id not in known)

    def case_of_study(self, study_uid: str) -> str | None:
        """The case that a study is tied to: by an instance that we hold, or by a source's claim."""
        held = next((i.case_id for i in self.of_study(study_uid) if i.case_id), None)
        if held is not None:
            return held
        table = schema.claim
        with self._database.read() as connection:
            return connection.execute(
                select(table.c.case_id).where(table.c.study_uid == study_uid).limit(1)
            ).scalar()

    def case_of_accession(self, source: str, accession: str) -> str | None:
        """The one case that has images with this accession number from this source."""
        table = schema.instance
        query = (
            select(table.c.case_id)
            .where(table.c.source == source, table.c.accession == accession)
            .where(table.c.case_id.is_not(None))
            .distinct()
        )
        with self._database.read() as connection:
            found = list(connection.execute(query).scalars())
        return found[0] if len(found) == 1 else None

    def _select(self, where: Any) -> Sequence[Instance]:
        table = schema.instance
        query = (
            select(table).where(where).order_by(table.c.study_uid, table.c.series_uid)
        ).order_by(table.c.sop_uid, table.c.number)
        with self._database.read() as connection:
            return [_instance(row) for row in connection.execute(query)]


def _is_known(instance: Instance, of_cases: Collection[str | None]) -> bool:
    """
    Whether there is nothing to insert: its case has the image, or it waits in Unassigned, or it
    came unasked and some case has it. A second case of the same patient gets a row of its own.
    """
    if instance.case_id is None:
        return bool(of_cases)
    return instance.case_id in of_cases or None in of_cases


def ledger_row(instance: Instance) -> LedgerRow:
    """The ledger row of an instance; quarantined ones end there until a person decides."""
    key = RecordKey(instance.source, INSTANCE, instance.sop_uid, instance.dataset_sha256)
    state = RecordState.QUARANTINED if instance.quarantined else RecordState.PENDING
    rule = "arrival-check" if instance.quarantined else ""
    return LedgerRow(key, state, original=instance.original, rule=rule, reason=instance.quarantined)


def _assign(connection: Connection, study_uid: str, case_id: str) -> int:
    table = schema.instance
    waiting = (table.c.study_uid == study_uid) & table.c.case_id.is_(None)
    found = [_instance(row) for row in connection.execute(select(table).where(waiting))]
    connection.execute(update(table).where(waiting).values(case_id=case_id))
    rows = [ledger_row(replace(instance, case_id=case_id)) for instance in found]
    see(connection, case_id, rows, [""] * len(rows))
    return len(found)


def _values(instance: Instance) -> dict[str, Any]:
    return asdict(instance)


def _instance(row: Row[Any]) -> Instance:
    names = Instance.__dataclass_fields__
    values = {name: getattr(row, name) for name in names}
    return Instance(**{**values, "header": read_person(row.header)})
