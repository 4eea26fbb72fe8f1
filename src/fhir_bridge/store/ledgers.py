"""Ledger, slices, attachments: what a pull has seen and how far it has come."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from sqlalchemy import Connection, Row, and_, bindparam, exists, func, or_, select, update

from fhir_bridge.case.events import Event
from fhir_bridge.case.imaging import InstanceClaim
from fhir_bridge.case.ledger import (
    ATTACHMENT,
    GONE,
    INSTANCE,
    READ_ENTRY,
    LedgerRow,
    RecordKey,
    RecordState,
)
from fhir_bridge.case.record import HeldAttachment, Sighted
from fhir_bridge.case.slice import Page, Slice
from fhir_bridge.standards.fhir import salvage
from fhir_bridge.store import schema
from fhir_bridge.store.database import Database, insert
from fhir_bridge.store.events import append
from fhir_bridge.store.ledger_rows import read_key, read_row, see, settle
from fhir_bridge.store.originals import Originals
from fhir_bridge.store.pull_rows import (
    MANY,
    batches,
    bring_back,
    put_attachments,
    put_listed,
    put_slice,
    put_targets,
    read_attachment,
    read_slice,
    set_aside,
)

# Rows whose original is not, or not any more, a record to read.
_NO_RECORD = (READ_ENTRY, GONE)

# Asked for every page: building a statement costs more than running it.
_LISTED = select(schema.listed.c.id).where(
    *(schema.listed.c[name] == bindparam(name) for name in ("case_id", "source", "type", "run")),
    schema.listed.c.id.in_(bindparam("ids", expanding=True)),
)
_SLICE = select(schema.pull_slice).where(
    *(schema.pull_slice.c[name] == bindparam(name) for name in ("case_id", "source", "type"))
)


class Ledgers:
    """The double entry of every case: rows seen, and their ends."""

    def __init__(self, database: Database, originals: Originals) -> None:
        self._database, self._originals = database, originals
        self._together = originals.together

    def rows(self, case_id: str) -> Sequence[LedgerRow]:
        """Every row of a case in the order first seen."""
        table = schema.ledger
        with self._database.read() as connection:
            found = connection.execute(
                select(table).where(table.c.case_id == case_id).order_by(table.c.number)
            )
            return [read_row(row) for row in found]

    def see(
        self,
        case_id: str,
        row: LedgerRow,
        *events: Event,
        base: str = "",
        attachments: Sequence[HeldAttachment] = (),
        targets: Collection[tuple[str, str]] = (),
    ) -> None:
        """Note one record outside of a page (a read, a failure), with what it names."""

        def write(connection: Connection) -> None:
            see(connection, case_id, [row], [base])
            put_attachments(connection, case_id, attachments)
            put_targets(connection, case_id, row.key.source, targets)
            append(connection, *events)

        self._together.write(write)

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
                    table.c.rule != READ_ENTRY,
                    table.c.position == "",
                )
                .values(state=RecordState.PENDING.value)
            )
            connection.execute(
                update(files)
                .where(files.c.case_id == case_id, files.c.source == source, files.c.failure != "")
                .values(failure="", reason="")
            )

    def sighted(self, case_id: str, only: Collection[RecordKey] | None = None) -> Sequence[Sighted]:
        """
        The FHIR resources of a case that were received, read again from the original bytes: every
        one, or just those of `only`.

        Rows of what never came have no original and are not among them.
        """
        table = schema.ledger
        query = (
            select(table, schema.original.c.sha256)
            .join(schema.original, schema.original.c.id == table.c.original)
            .where(table.c.case_id == case_id, table.c.kind.not_in([ATTACHMENT, INSTANCE]))
            .where(table.c.rule.not_in(_NO_RECORD))
            .order_by(table.c.number)
        )
        if only is not None and len(only) <= MANY:
            query = query.where(table.c.id.in_({key.id for key in only}))
        with self._database.read() as connection:
            found = connection.execute(query).all()
        bodies: dict[str, Any] = {}
        return [
            self._sighted(row, bodies) for row in found if only is None or read_key(row) in only
        ]

    def keys(self, case_id: str, source: str, kind: str) -> Sequence[RecordKey]:
        """The records of one kind that a source sent, in the order first seen."""
        table = schema.ledger
        query = (
            select(table)
            .where(table.c.case_id == case_id, table.c.source == source, table.c.kind == kind)
            .where(table.c.original != "", table.c.rule.not_in(_NO_RECORD))
            .order_by(table.c.number)
        )
        with self._database.read() as connection:
            return [read_key(row) for row in connection.execute(query)]

    def reads(self, case_id: str, source: str) -> int:
        """How many records of a source were asked for one by one."""
        table = schema.ledger
        query = (
            select(func.count())
            .where(table.c.case_id == case_id, table.c.source == source, table.c.position == "")
            .where(table.c.kind.not_in([ATTACHMENT, INSTANCE]))
        )
        with self._database.read() as connection:
            return connection.execute(query).scalar_one()

    def failed_reads(self, case_id: str) -> Mapping[str, int]:
        """By source, how many records that others refer to could not be read."""
        table = schema.ledger
        query = (
            select(table.c.source, func.count())
            .where(table.c.case_id == case_id, table.c.state == RecordState.FAILED.value)
            .where(table.c.kind.not_in([ATTACHMENT, INSTANCE]), table.c.original == "")
            .where(table.c.position == "")
            .group_by(table.c.source)
        )
        with self._database.read() as connection:
            return {str(row[0]): int(row[1]) for row in connection.execute(query)}

    def unread(
        self, case_id: str, source: str, *, limit: int | None = None
    ) -> Sequence[tuple[str, str]]:
        """
        (type, id) of what the records of a source refer to and what was never asked for: all, or
        the first `limit`.

        What failed in an earlier run and was reopened is asked for again.
        """
        named, table = schema.target, schema.ledger
        asked = exists().where(
            table.c.case_id == named.c.case_id,
            table.c.source == named.c.source,
            table.c.kind == named.c.kind,
            table.c.id == named.c.id,
            or_(table.c.original != "", table.c.state != RecordState.PENDING.value),
        )
        query = (
            select(named.c.kind, named.c.id)
            .where(named.c.case_id == case_id, named.c.source == source, ~asked)
            .order_by(named.c.kind, named.c.id)
            .limit(limit)
        )
        with self._database.read() as connection:
            return [(row.kind, row.id) for row in connection.execute(query)]

    def _sighted(self, row: Row[Any], bodies: dict[str, Any]) -> Sighted:
        if row.sha256 not in bodies:
            bodies[row.sha256] = salvage.load(self._originals.read(row.sha256))
        body = bodies[row.sha256]
        resource = body if not row.position else _of_entry(body["entry"][int(row.position)])
        return Sighted(read_key(row), resource, row.base, row.original, row.position)

    def begin(self, slices: Sequence[Slice], targets: Collection[tuple[str, str]] = ()) -> None:
        """Commit slices that begin, with what their questions refer to, all at once."""

        def write(connection: Connection) -> None:
            for one in slices:
                put_slice(connection, one)
                put_targets(connection, one.case_id, one.source, targets)

        self._together.write(write)

    def turn(self, page: Page, *events: Event) -> None:
        """Commit one page: the slice's cursor, the records, what they name, the events."""
        at = page.slice

        def write(connection: Connection) -> None:
            put_slice(connection, at)
            put_listed(connection, at, page.listed)
            see(connection, at.case_id, page.seen, page.bases)
            if at.run > 1:
                bring_back(connection, at, {r.key.id for r in page.seen if r.key.kind == at.kind})
                set_aside(connection, at, page.gone)
            put_attachments(connection, at.case_id, page.attachments)
            put_targets(connection, at.case_id, at.source, page.targets)
            append(connection, *events)

        self._together.write(write)

    def unlisted(self, slice_: Slice, ids: Collection[str]) -> frozenset[str]:
        """Those of these ids that no page of this slice and run has listed yet."""
        new = set(ids)
        if not new:
            return frozenset()
        place = {name: getattr(slice_, name) for name in ("case_id", "source", "type", "run")}
        with self._database.read() as connection:
            for some in batches(sorted(ids)):
                known = connection.execute(_LISTED, {**place, "ids": list(some)})
                new.difference_update(known.scalars())
        return frozenset(new)

    def earlier(self, slice_: Slice) -> frozenset[str]:
        """
        The ids that this slice listed in earlier runs and not in this one, as far as there is a
        record behind them that is not known to be gone.
        """
        table, rows = schema.listed, schema.ledger
        place = (
            table.c.case_id == slice_.case_id,
            table.c.source == slice_.source,
            table.c.type == slice_.type,
        )
        held = exists().where(
            rows.c.case_id == table.c.case_id,
            rows.c.source == table.c.source,
            rows.c.kind == slice_.kind,
            rows.c.id == table.c.id,
            rows.c.original != "",
            rows.c.rule.not_in(_NO_RECORD),
        )
        before = select(table.c.id).where(*place, table.c.run < slice_.run, held)
        now = select(table.c.id).where(*place, table.c.run == slice_.run)
        with self._database.read() as connection:
            return frozenset(connection.execute(before.except_(now)).scalars())

    def slices(self, case_id: str, source: str | None = None) -> Sequence[Slice]:
        """The slices of a case, or of one of its sources; a witness's notes are none."""
        table = schema.pull_slice
        query = select(table).where(table.c.case_id == case_id, ~table.c.type.contains("~"))
        query = query.order_by(table.c.source)
        if source is not None:
            query = query.where(table.c.source == source)
        with self._database.read() as connection:
            return [read_slice(row) for row in connection.execute(query)]

    def slice(self, case_id: str, source: str, type_: str) -> Slice | None:
        """One slice, if it was begun."""
        place = {"case_id": case_id, "source": source, "type": type_}
        with self._database.read() as connection:
            row = connection.execute(_SLICE, place).one_or_none()
        return None if row is None else read_slice(row)

    def attachments(self, case_id: str, source: str | None = None) -> Sequence[HeldAttachment]:
        """
        Every attachment that the records of a case name, in a stable order; without those of
        records that are gone at their source.
        """
        table, rows = schema.attachment, schema.ledger
        gone = exists().where(
            rows.c.case_id == table.c.case_id,
            rows.c.source == table.c.source,
            rows.c.kind == table.c.parent_kind,
            rows.c.id == table.c.parent_id,
            rows.c.version == table.c.parent_version,
            rows.c.rule == GONE,
        )
        query = (
            select(table)
            .where(table.c.case_id == case_id, ~gone)
            .order_by(table.c.source, table.c.parent_kind, table.c.parent_id, table.c.path)
        )
        if source is not None:
            query = query.where(table.c.source == source)
        with self._database.read() as connection:
            return [read_attachment(row) for row in connection.execute(query)]

    def settle(self, case_id: str, attachment: HeldAttachment, *events: Event) -> None:
        """
        Say what became of an attachment: held, failed, or without content.

        It holds for every record that names the same file, also for those that came meanwhile.
        """
        failed = bool(attachment.failure)
        row = LedgerRow(
            key=attachment.key,
            state=RecordState.FAILED if failed else RecordState.PENDING,
            original=attachment.original,
            rule="fetch" if failed else "",
            reason=attachment.reason,
            error_code=attachment.failure,
            attempts=1 if failed else 0,
        )

        def write(connection: Connection) -> None:
            found = settle(connection, case_id, attachment)
            see(connection, case_id, [row] * found, [""] * found)
            append(connection, *events)

        self._together.write(write)

    def unsettled(
        self, case_id: str, source: str, *, keys: int | None = None
    ) -> Sequence[HeldAttachment]:
        """
        Attachments that were named and are neither held nor failed yet: all of them, or all that
        share one of the first `keys` keys.
        """
        table = schema.attachment
        open_ = and_(
            table.c.case_id == case_id,
            table.c.source == source,
            table.c.done.is_(False),
            table.c.failure == "",
        )
        query = select(table).where(open_)
        if keys is not None:
            of_keys = select(table.c.key_id).where(open_).distinct().order_by(table.c.key_id)
            query = query.where(table.c.key_id.in_(of_keys.limit(keys)))
        query = query.order_by(table.c.parent_kind, table.c.parent_id, table.c.path)
        with self._database.read() as connection:
            return [read_attachment(row) for row in connection.execute(query)]

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


def _of_entry(entry: Any) -> Any:
    # Seen in the field, and taken for what it is when it came: the bare resource as the entry.
    return entry if "resourceType" in entry else entry["resource"]
