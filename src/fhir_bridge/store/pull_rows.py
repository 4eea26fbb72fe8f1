"""How slices, and what the records of a pull name, lie in their rows."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from sqlalchemy import Connection, Row, Table

from fhir_bridge.case.certificate import Count, Evidence
from fhir_bridge.case.ledger import ATTACHMENT, RecordKey
from fhir_bridge.case.record import HeldAttachment
from fhir_bridge.case.slice import Slice
from fhir_bridge.store import schema
from fhir_bridge.store.database import insert


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
    }
    connection.execute(
        insert(connection, schema.pull_slice)
        .values(case_id=slice_.case_id, source=slice_.source, type=slice_.type, **values)
        .on_conflict_do_update(index_elements=["case_id", "source", "type"], set_=values)
    )


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
    _put_new(connection, schema.attachment, rows)


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
    _put_new(connection, schema.listed, [{**place, "id": id_} for id_ in sorted(ids)])


def put_targets(
    connection: Connection, case_id: str, source: str, targets: Collection[tuple[str, str]]
) -> None:
    """Note which records, as (type, id), received ones refer to; known ones stay."""
    place = {"case_id": case_id, "source": source}
    rows = [{**place, "kind": kind, "id": id_} for kind, id_ in sorted(targets)]
    _put_new(connection, schema.target, rows)


def _put_new(connection: Connection, table: Table, rows: Sequence[Mapping[str, Any]]) -> None:
    if rows:
        connection.execute(insert(connection, table).on_conflict_do_nothing(), rows)
