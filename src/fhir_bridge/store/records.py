"""Case records: immutable versions of what the specialist opens, and who released them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Row, select, update

from fhir_bridge.case.case import CaseState
from fhir_bridge.case.events import Event
from fhir_bridge.case.ledger import RecordKey
from fhir_bridge.case.record import CaseRecord, End, Unresolved
from fhir_bridge.errors import NotReady
from fhir_bridge.store import schema
from fhir_bridge.store.cases import move
from fhir_bridge.store.database import Database, insert
from fhir_bridge.store.events import append
from fhir_bridge.store.ledger_rows import end
from fhir_bridge.store.originals import Originals


@dataclass(frozen=True, slots=True)
class StoredRecord:
    """A version of a case record; the bytes are in the store under `sha256`."""

    case_id: str
    version: int
    sha256: str
    entries: int
    made_at: datetime
    released_by: str = ""
    released_reason: str = ""
    unresolved: tuple[Unresolved, ...] = ()


class Records:
    """The versions of case records."""

    def __init__(self, database: Database, originals: Originals) -> None:
        self._database, self._originals = database, originals

    def add(
        self,
        record: CaseRecord,
        ends: Mapping[RecordKey, End],
        unresolved: Sequence[Unresolved],
        *events: Event,
        at: datetime,
    ) -> StoredRecord:
        """
        Store a version with the ends of its ledger in one transaction.

        The same document again is no new version; another document under a number that exists
        replaces nothing: the caller gives the next number.
        """
        self._originals.put(record.document)
        values = {
            "sha256": record.sha256,
            "entries": len(record.entries),
            "made_at": at,
            "unresolved": [asdict(reference) for reference in unresolved],
        }
        with self._database.write() as connection:
            connection.execute(
                insert(connection, schema.record)
                .values(case_id=record.case_id, version=record.version, **values)
                .on_conflict_do_nothing()
            )
            end(connection, record.case_id, ends)
            move(connection, record.case_id, CaseState.ASSEMBLED, record_version=record.version)
            append(connection, *events)
        return self.get(record.case_id, record.version)

    def get(self, case_id: str, version: int | None = None) -> StoredRecord:
        """A version, or the newest; raises NotReady when there is none."""
        table = schema.record
        query = select(table).where(table.c.case_id == case_id)
        if version is not None:
            query = query.where(table.c.version == version)
        with self._database.read() as connection:
            row = connection.execute(query.order_by(table.c.version.desc()).limit(1)).one_or_none()
        if row is None:
            raise NotReady("there is no case record yet: pull first")
        return _record(row)

    def document(self, record: StoredRecord) -> bytes:
        """The exact bytes of a version."""
        return self._originals.read(record.sha256)

    def release(self, record: StoredRecord, *events: Event, by: str, reason: str = "") -> None:
        """Let the specialist open this version."""
        table = schema.record
        with self._database.write() as connection:
            connection.execute(
                update(table)
                .where(table.c.case_id == record.case_id, table.c.version == record.version)
                .values(released_by=by, released_reason=reason)
            )
            move(connection, record.case_id, CaseState.RELEASED)
            append(connection, *events)


def _record(row: Row[Any]) -> StoredRecord:
    return StoredRecord(
        case_id=row.case_id,
        version=row.version,
        sha256=row.sha256,
        entries=row.entries,
        made_at=row.made_at,
        released_by=row.released_by,
        released_reason=row.released_reason,
        unresolved=tuple(Unresolved(**reference) for reference in row.unresolved),
    )
