"""How slices, and what the records of a pull name, lie in their rows."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import asdict
from functools import cache
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, and_, or_, select, update
from sqlalchemy.dialects import postgresql, sqlite

from fhir_bridge.case.certificate import Count, Evidence
from fhir_bridge.case.ledger import ATTACHMENT, GONE, RecordKey, RecordState
from fhir_bridge.case.record import HeldAttachment
from fhir_bridge.case.slice import Slice
from fhir_bridge.store import schema
from fhir_bridge.store.database import put_new

# Databases bound the number of parameters of one statement, and a page may hold any number.
MANY = 500
NOT_THERE = "the hospital does not have it any more"


def put_slice(connection: Connection, slice_: Slice) -> None:
    """Write a slice as it stands."""
    values = {
        "run": slice_.run,
        "question": [list(pair) for pair in slice_.question],
        "cursor": slice_.cursor,
        "pages": slice_.pages,
        "ended": slice_.ended,
        "evidence": asdict(slice_.evidence),
        "visited": list(slice_.visited),
        "previous": slice_.previous,
        "restarts": slice_.restarts,
        "began": slice_.began,
        "full_at": slice_.full_at,
        "since": slice_.since,
    }
    key = {"case_id": slice_.case_id, "source": slice_.source, "type": slice_.type}
    connection.execute(_standing(connection.dialect.name), {**key, **values})


@cache
def _standing(dialect: str) -> sqlite.Insert | postgresql.Insert:
    """The statement of `put_slice`: the same for every slice, so it is made once."""
    table = schema.pull_slice
    new = sqlite.insert(table) if dialect == "sqlite" else postgresql.insert(table)
    keys = [column.name for column in table.primary_key]
    changed = {c.name: new.excluded[c.name] for c in table.columns if c.name not in keys}
    return new.on_conflict_do_update(index_elements=keys, set_=changed)


def read_slice(row: Row[Any]) -> Slice:
    """A slice from its row."""
    facts = dict(row.evidence)
    counts = tuple(Count(**count) for count in facts.pop("counts"))
    findings = tuple(facts.pop("findings", ()))
    return Slice(
        case_id=row.case_id,
        source=row.source,
        type=row.type,
        run=row.run,
        question=tuple((name, value) for name, value in row.question),
        cursor=row.cursor,
        pages=row.pages,
        ended=row.ended,
        evidence=Evidence(counts=counts, findings=findings, **facts),
        visited=tuple(row.visited),
        previous=row.previous,
        restarts=row.restarts,
        began=row.began,
        full_at=row.full_at,
        since=row.since,
    )


def put_attachments(
    connection: Connection, case_id: str, attachments: Sequence[HeldAttachment]
) -> None:
    """Note the attachments that records name; known ones stay as they are."""
    rows = [
        {
            "case_id": case_id,
            "source": attachment.parent.source,
            "parent_kind": attachment.parent.kind,
            "parent_id": attachment.parent.id,
            "parent_version": attachment.parent.version,
            "path": attachment.path,
            **attachment_values(attachment),
        }
        for attachment in attachments
    ]
    put_new(connection, schema.attachment, rows)


def attachment_values(attachment: HeldAttachment) -> dict[str, Any]:
    """The columns of an attachment apart from its place."""
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


def read_attachment(row: Row[Any]) -> HeldAttachment:
    """An attachment from its row."""
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


def put_listed(connection: Connection, slice_: Slice, ids: Collection[str]) -> None:
    """Note which ids a page of a slice listed; known ones stay."""
    place: dict[str, str | int] = {
        "case_id": slice_.case_id,
        "source": slice_.source,
        "type": slice_.type,
        "run": slice_.run,
    }
    put_new(connection, schema.listed, [{**place, "id": id_} for id_ in sorted(ids)])


def put_targets(
    connection: Connection, case_id: str, source: str, targets: Collection[tuple[str, str]]
) -> None:
    """Note which records, as (type, id), received ones refer to; known ones stay."""
    place = {"case_id": case_id, "source": source}
    rows = [{**place, "kind": kind, "id": id_} for kind, id_ in sorted(targets)]
    put_new(connection, schema.target, rows)


def set_aside(connection: Connection, slice_: Slice, ids: Collection[str]) -> None:
    """Every version of records that are gone at their source waits for a person, with its files."""
    ended = {"state": RecordState.QUARANTINED.value, "rule": GONE, "reason": NOT_THERE}
    ended |= {"target": "", "entry": ""}
    for some in batches(sorted(ids)):
        theirs = _records_and_files(slice_, some)
        connection.execute(update(schema.ledger).where(theirs).values(**ended))


def bring_back(connection: Connection, slice_: Slice, ids: Collection[str]) -> None:
    """What was gone and is there again is settled anew, with its older versions and its files."""
    again = {"state": RecordState.PENDING.value, "rule": "", "reason": ""}
    for some in batches(sorted(ids)):
        theirs = and_(_records_and_files(slice_, some), schema.ledger.c.rule == GONE)
        connection.execute(update(schema.ledger).where(theirs).values(**again))


def _records_and_files(slice_: Slice, ids: Sequence[str]) -> ColumnElement[bool]:
    """The ledger rows of these records of the slice's type, and of the attachments they name."""
    table, files = schema.ledger, schema.attachment
    named = select(files.c.key_id).where(
        files.c.case_id == slice_.case_id,
        files.c.source == slice_.source,
        files.c.parent_kind == slice_.kind,
        files.c.parent_id.in_(ids),
    )
    own = and_(table.c.kind == slice_.kind, table.c.id.in_(ids))
    return and_(
        table.c.case_id == slice_.case_id,
        table.c.source == slice_.source,
        or_(own, and_(table.c.kind == ATTACHMENT, table.c.id.in_(named))),
    )


def batches(values: Sequence[str]) -> Iterator[Sequence[str]]:
    """So many at a time as one statement takes."""
    return (values[start : start + MANY] for start in range(0, len(values), MANY))
