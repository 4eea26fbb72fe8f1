"""Ledger, slices, attachments: what a pull has seen and how far it has come."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from sqlalchemy import Connection, Row, select, update

from fhir_bridge.case.certificate import Count, Evidence
from fhir_bridge.case.events import Event
from fhir_bridge.case.imaging import InstanceClaim
from fhir_bridge.case.ledger import ATTACHMENT, INSTANCE, LedgerRow, RecordKey, RecordState
from fhir_bridge.case.record import End, HeldAttachment, Sighted
from fhir_bridge.case.slice import Page, Slice
from fhir_bridge.standards.fhir import json
from fhir_bridge.store import schema
from fhir_bridge.store.database import Database, insert
from fhir_bridge.store.events import append
from fhir_bridge.store.originals import Originals

_KEY = ["case_id", "source", "kind", "id", "version"]


class Ledgers:
    """The double entry of every case: rows seen, and their ends."""

    def __init__(self, database: Database, originals: Originals) -> None:
        self._database, self._originals = database, originals

    def rows(self, case_id: str) -> Sequence[LedgerRow]:
        """Every row of a case in the order first seen."""
        table = schema.ledger
        with self._database.read() as connection:
            found = connection.execute(
                select(table).where(table.c.case_id == case_id).order_by(table.c.number)
            )
            return [_row(row) for row in found]

    def see(
        self,
        case_id: str,
        row: LedgerRow,
        *events: Event,
        base: str = "",
        attachments: Sequence[HeldAttachment] = (),
    ) -> None:
        """Note one record outside of a page (a read, a failure), with what it names."""
        with self._database.write() as connection:
            see(connection, case_id, [row], [base])
            _name_attachments(connection, case_id, attachments)
            append(connection, *events)

    def reopen(self, case_id: str, source: str) -> None:
        """Before a new run: what failed is asked for again."""
        table, files = schema.ledger, schema.attachment
        with self._database.write() as connection:
            connection.execute(
                update(table)
                .where(
                    table.c.case_id == case_id,
                    table.c.source == source,
                    table.c.state == RecordState.FAILED.value,
                )
                .values(state=RecordState.PENDING.value)
            )
            connection.execute(
                update(files)
                .where(files.c.case_id == case_id, files.c.source == source, files.c.failure != "")
                .values(failure="", reason="")
            )

    def sighted(self, case_id: str) -> Sequence[Sighted]:
        """
        Every FHIR resource of a case that was received, read again from the original bytes.

        Rows of what never came have no original and are not among them.
        """
        table = schema.ledger
        query = (
            select(table, schema.original.c.sha256)
            .join(schema.original, schema.original.c.id == table.c.original)
            .where(table.c.case_id == case_id, table.c.kind.not_in([ATTACHMENT, INSTANCE]))
            .order_by(table.c.number)
        )
        with self._database.read() as connection:
            found = connection.execute(query).all()
        bodies: dict[str, Any] = {}
        return [self._sighted(row, bodies) for row in found]

    def _sighted(self, row: Row[Any], bodies: dict[str, Any]) -> Sighted:
        if row.sha256 not in bodies:
            bodies[row.sha256] = json.loads(self._originals.read(row.sha256))
        body = bodies[row.sha256]
        resource = body if not row.position else body["entry"][int(row.position)]["resource"]
        return Sighted(_key(row), resource, row.base, row.original, row.position)

    def turn(self, page: Page, *events: Event) -> None:
        """Commit one page: the slice's cursor, the records, their attachments, the events."""
        with self._database.write() as connection:
            _put_slice(connection, page.slice)
            see(connection, page.slice.case_id, page.seen, page.bases)
            _name_attachments(connection, page.slice.case_id, page.attachments)
            append(connection, *events)

    def slices(self, case_id: str, source: str | None = None) -> Sequence[Slice]:
        """The slices of a case, or of one of its sources."""
        table = schema.pull_slice
        query = select(table).where(table.c.case_id == case_id).order_by(table.c.source)
        if source is not None:
            query = query.where(table.c.source == source)
        with self._database.read() as connection:
            return [_slice(row) for row in connection.execute(query)]

    def slice(self, case_id: str, source: str, type_: str) -> Slice | None:
        """One slice, if it was begun."""
        return next((s for s in self.slices(case_id, source) if s.type == type_), None)

    def put_slice(self, slice_: Slice, *events: Event) -> None:
        """Write a slice as it stands."""
        with self._database.write() as connection:
            _put_slice(connection, slice_)
            append(connection, *events)

    def attachments(self, case_id: str, source: str | None = None) -> Sequence[HeldAttachment]:
        """Every attachment that the records of a case name, in a stable order."""
        table = schema.attachment
        query = (
            select(table)
            .where(table.c.case_id == case_id)
            .order_by(table.c.source, table.c.parent_kind, table.c.parent_id, table.c.path)
        )
        if source is not None:
            query = query.where(table.c.source == source)
        with self._database.read() as connection:
            return [_attachment(row) for row in connection.execute(query)]

    def settle(self, case_id: str, attachment: HeldAttachment, *events: Event) -> None:
        """Say what became of an attachment: held, failed, or without content."""
        table = schema.attachment
        failed = bool(attachment.failure)
        row = LedgerRow(
            key=attachment.key,
            state=RecordState.FAILED if failed else RecordState.PENDING,
            original=attachment.original,
            rule="fetch" if failed else "",
            reason=attachment.reason,
            error_code=attachment.failure,
        )
        with self._database.write() as connection:
            connection.execute(
                update(table)
                .where(
                    table.c.case_id == case_id,
                    table.c.source == attachment.parent.source,
                    table.c.parent_kind == attachment.parent.kind,
                    table.c.parent_id == attachment.parent.id,
                    table.c.parent_version == attachment.parent.version,
                    table.c.path == attachment.path,
                )
                .values(**_attachment_values(attachment), done=not failed)
            )
            see(connection, case_id, [row], [""])
            append(connection, *events)

    def unsettled(self, case_id: str, source: str) -> Sequence[HeldAttachment]:
        """Attachments that were named and are neither held nor failed yet."""
        table = schema.attachment
        query = (
            select(table)
            .where(
                table.c.case_id == case_id,
                table.c.source == source,
                table.c.done.is_(False),
                table.c.failure == "",
            )
            .order_by(table.c.parent_kind, table.c.parent_id, table.c.path)
        )
        with self._database.read() as connection:
            return [_attachment(row) for row in connection.execute(query)]

    def claim(
        self, case_id: str, source: str, witness: str, claims: Iterable[InstanceClaim]
    ) -> None:
        """Note which instances a witness lists; asked again, the new list adds to the old."""
        with self._database.write() as connection:
            for claim in claims:
                connection.execute(
                    insert(connection, schema.claim)
                    .values(case_id=case_id, source=source, witness=witness, **asdict(claim))
                    .on_conflict_do_nothing()
                )

    def claims(self, case_id: str, source: str) -> Mapping[str, Sequence[InstanceClaim]]:
        """What each witness lists for a source's images."""
        table = schema.claim
        found: dict[str, list[InstanceClaim]] = {}
        with self._database.read() as connection:
            for row in connection.execute(
                select(table)
                .where(table.c.case_id == case_id, table.c.source == source)
                .order_by(table.c.study_uid, table.c.series_uid, table.c.sop_uid)
            ):
                claim = InstanceClaim(row.study_uid, row.series_uid, row.sop_uid, row.sop_class)
                found.setdefault(row.witness, []).append(claim)
        return found


def see(
    connection: Connection, case_id: str, rows: Sequence[LedgerRow], bases: Sequence[str]
) -> None:
    """Insert rows; a key that is known already gains a sighting, and a failed one may recover."""
    table = schema.ledger
    for row, base in zip(rows, bases, strict=True):
        values = {**_values(row), "case_id": case_id, "base": base}
        statement = insert(connection, table).values(**values)
        connection.execute(
            statement.on_conflict_do_update(
                index_elements=_KEY,
                set_={
                    "sightings": table.c.sightings + 1,
                    "attempts": table.c.attempts + row.attempts,
                    "state": row.state.value,
                    "error_code": row.error_code,
                    "reason": row.reason,
                    "rule": row.rule,
                },
            )
        )


def end(connection: Connection, case_id: str, ends: Mapping[RecordKey, End]) -> None:
    """Write the ends of records inside the caller's transaction."""
    for key, how in ends.items():
        connection.execute(
            update(schema.ledger)
            .where(_is(case_id, key))
            .values(**{**asdict(how), "state": how.state.value})
        )


def _values(row: LedgerRow) -> dict[str, Any]:
    values = asdict(row)
    return {**values.pop("key"), **values, "state": row.state.value}


def _is(case_id: str, key: RecordKey) -> Any:
    table = schema.ledger
    return (
        (table.c.case_id == case_id)
        & (table.c.source == key.source)
        & (table.c.kind == key.kind)
        & (table.c.id == key.id)
        & (table.c.version == key.version)
    )


def _key(row: Row[Any]) -> RecordKey:
    return RecordKey(row.source, row.kind, row.id, row.version)


def _row(row: Row[Any]) -> LedgerRow:
    return LedgerRow(
        key=_key(row),
        state=RecordState(row.state),
        original=row.original,
        position=row.position,
        rule=row.rule,
        reason=row.reason,
        target=row.target,
        entry=row.entry,
        error_code=row.error_code,
        attempts=row.attempts,
        sightings=row.sightings,
    )


def _put_slice(connection: Connection, slice_: Slice) -> None:
    values = {
        "run": slice_.run,
        "question": [list(pair) for pair in slice_.question],
        "cursor": slice_.cursor,
        "pages": slice_.pages,
        "ended": slice_.ended,
        "evidence": asdict(slice_.evidence),
        "visited": list(slice_.visited),
    }
    connection.execute(
        insert(connection, schema.pull_slice)
        .values(case_id=slice_.case_id, source=slice_.source, type=slice_.type, **values)
        .on_conflict_do_update(index_elements=["case_id", "source", "type"], set_=values)
    )


def _slice(row: Row[Any]) -> Slice:
    facts = dict(row.evidence)
    counts = tuple(Count(**count) for count in facts.pop("counts"))
    return Slice(
        case_id=row.case_id,
        source=row.source,
        type=row.type,
        run=row.run,
        question=tuple((name, value) for name, value in row.question),
        cursor=row.cursor,
        pages=row.pages,
        ended=row.ended,
        evidence=Evidence(counts=counts, **facts),
        visited=tuple(row.visited),
    )


def _name_attachments(
    connection: Connection, case_id: str, attachments: Sequence[HeldAttachment]
) -> None:
    for attachment in attachments:
        connection.execute(
            insert(connection, schema.attachment)
            .values(
                case_id=case_id,
                source=attachment.parent.source,
                parent_kind=attachment.parent.kind,
                parent_id=attachment.parent.id,
                parent_version=attachment.parent.version,
                path=attachment.path,
                **_attachment_values(attachment),
            )
            .on_conflict_do_nothing()
        )


def _attachment_values(attachment: HeldAttachment) -> dict[str, Any]:
    return {
        "key_id": attachment.key.id,
        "key_version": attachment.key.version,
        "url": attachment.url,
        "sha256": attachment.sha256,
        "size": attachment.size,
        "content_type": attachment.content_type,
        "declared": attachment.declared,
        "failure": attachment.failure,
        "reason": attachment.reason,
        "original": attachment.original,
        "warnings": list(attachment.warnings),
    }


def _attachment(row: Row[Any]) -> HeldAttachment:
    return HeldAttachment(
        key=RecordKey(row.source, ATTACHMENT, row.key_id, row.key_version),
        parent=RecordKey(row.source, row.parent_kind, row.parent_id, row.parent_version),
        path=row.path,
        url=row.url,
        sha256=row.sha256,
        size=row.size,
        content_type=row.content_type,
        declared=row.declared,
        failure=row.failure,
        reason=row.reason,
        original=row.original,
        warnings=tuple(row.warnings),
    )
