"""How ledger rows lie in their table, and the statements that write them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from functools import cache
from typing import Any

from sqlalchemy import Connection, Row, Update, bindparam, case, update
from sqlalchemy.dialects import postgresql, sqlite

from fhir_bridge.case.ledger import LedgerRow, RecordKey, RecordState
from fhir_bridge.case.record import End, HeldAttachment
from fhir_bridge.store import schema
from fhir_bridge.store.pull_rows import attachment_values

_KEY = ["case_id", "source", "kind", "id", "version"]


def see(
    connection: Connection, case_id: str, rows: Sequence[LedgerRow], bases: Sequence[str]
) -> None:
    """
    Insert rows; a key that is known already gains a sighting, and a failed one may recover.

    The first original stays; a record that failed at first gets the one that carries it at last.
    """
    if not rows:
        return
    values = [
        {**_values(row), "case_id": case_id, "base": base}
        for row, base in zip(rows, bases, strict=True)
    ]
    connection.execute(_sighting(connection.dialect.name), values)


@cache
def _sighting(dialect: str) -> sqlite.Insert | postgresql.Insert:
    """The statement of `see`: the same for every row, so it is made once."""
    table = schema.ledger
    new = sqlite.insert(table) if dialect == "sqlite" else postgresql.insert(table)
    came, again = table.c.original != "", new.excluded
    return new.on_conflict_do_update(
        index_elements=_KEY,
        set_={
            "sightings": table.c.sightings + 1,
            "attempts": table.c.attempts + again.attempts,
            "state": again.state,
            "error_code": again.error_code,
            "reason": again.reason,
            "rule": again.rule,
            "original": case((came, table.c.original), else_=again.original),
            "position": case((came, table.c.position), else_=again.position),
            "base": case((came, table.c.base), else_=again.base),
        },
    )


def end(connection: Connection, case_id: str, ends: Mapping[RecordKey, End]) -> None:
    """Write the ends of records inside the caller's transaction."""
    for key, how in ends.items():
        connection.execute(
            update(schema.ledger)
            .where(_is(case_id, key))
            .values(**{**asdict(how), "state": how.state.value})
        )


def settle(connection: Connection, case_id: str, attachment: HeldAttachment) -> int:
    """Every record that names the file by this key gets it; returns how many had it not yet."""
    key, values = attachment.key, attachment_values(attachment)
    named = {"in_case": case_id, "of": key.source, "known_as": key.id, "in_version": key.version}
    ended = {name: values[name] for name in _SETTLED}
    done = {"done": not attachment.failure}
    return connection.execute(_settling(), {**named, **ended, **done}).rowcount


_SETTLED = ("sha256", "size", "content_type", "original", "failure", "reason", "warnings")


@cache
def _settling() -> Update:
    """The statement of `settle`."""
    table = schema.attachment
    return (
        update(table)
        .where(
            table.c.case_id == bindparam("in_case"),
            table.c.source == bindparam("of"),
            table.c.key_id == bindparam("known_as"),
            table.c.key_version == bindparam("in_version"),
            table.c.done.is_(False),
        )
        .values({name: bindparam(name) for name in (*_SETTLED, "done")})
    )


def _values(row: LedgerRow) -> dict[str, Any]:
    key = row.key
    return {
        "source": key.source,
        "kind": key.kind,
        "id": key.id,
        "version": key.version,
        "state": row.state.value,
        "original": row.original,
        "position": row.position,
        "rule": row.rule,
        "reason": row.reason,
        "target": row.target,
        "entry": row.entry,
        "error_code": row.error_code,
        "attempts": row.attempts,
        "sightings": row.sightings,
    }


def _is(case_id: str, key: RecordKey) -> Any:
    table = schema.ledger
    return (
        (table.c.case_id == case_id)
        & (table.c.source == key.source)
        & (table.c.kind == key.kind)
        & (table.c.id == key.id)
        & (table.c.version == key.version)
    )


def read_key(row: Row[Any]) -> RecordKey:
    """The key of a row."""
    return RecordKey(row.source, row.kind, row.id, row.version)


def read_row(row: Row[Any]) -> LedgerRow:
    """A ledger row from its row."""
    return LedgerRow(
        key=read_key(row),
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
