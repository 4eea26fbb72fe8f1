"""Events: appended in the transaction of the change they tell of, read by SSE and audit."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, Row, func, select

from fhir_bridge.case.events import Event, Happened
from fhir_bridge.store import schema
from fhir_bridge.store.database import Database

_NEW = schema.event.insert()


def append(connection: Connection, *events: Event) -> None:
    """Write events inside the caller's transaction."""
    if events:
        connection.execute(_NEW, [_values(event) for event in events])


def _values(event: Event) -> dict[str, Any]:
    return {
        "name": event.name.value,
        "case_id": event.case_id,
        "actor": event.actor,
        "at": event.at,
        "facts": dict(event.facts),
    }


class Events:
    """Reading what happened, in order."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def tell(self, *events: Event) -> None:
        """Append events that change no other row (reads, refusals)."""
        with self._database.write() as connection:
            append(connection, *events)

    def after(
        self, number: int, *, case_id: str | None = None, limit: int = 500
    ) -> Sequence[Event]:
        """Events with a higher number, oldest first; of one case when it is given."""
        table = schema.event
        query = select(table).where(table.c.number > number).order_by(table.c.number).limit(limit)
        if case_id is not None:
            query = query.where(table.c.case_id == case_id)
        with self._database.read() as connection:
            return [_event(row) for row in connection.execute(query)]

    def newest(self) -> int:
        """The number of the newest event; 0 when nothing has happened."""
        with self._database.read() as connection:
            return connection.execute(select(func.max(schema.event.c.number))).scalar() or 0


def _event(row: Row[Any]) -> Event:
    return Event(
        name=Happened(row.name),
        case_id=row.case_id,
        actor=row.actor,
        at=row.at,
        facts=row.facts,
        number=row.number,
    )
