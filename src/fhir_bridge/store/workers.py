"""Worker slots: who is alive, and whose work may be taken over."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta

from sqlalchemy import delete, select, update

from fhir_bridge.store import schema
from fhir_bridge.store.database import Database, insert

LONG_AGO = datetime(2000, 1, 1, tzinfo=UTC)


class Workers:
    """Slots with a heartbeat. A slot name is the executor id of the job engine."""

    def __init__(self, database: Database, *, lease: timedelta) -> None:
        self._database, self._lease = database, lease

    def beat(self, slot: str, *, at: datetime, serving: str = "") -> None:
        """Say that this slot is alive; `serving` is the address of its web server, if any."""
        with self._database.write() as connection:
            connection.execute(
                insert(connection, schema.worker)
                .values(slot=slot, beat=at, serving=serving)
                .on_conflict_do_update(
                    index_elements=["slot"], set_={"beat": at, "serving": serving}
                )
            )

    def leave(self, slot: str) -> None:
        """
        At an orderly end: dead from now on.

        The row stays, because work may be left under its name: a survivor takes that at once, or
        the next worker in this slot does.
        """
        table = schema.worker
        with self._database.write() as connection:
            connection.execute(
                update(table).where(table.c.slot == slot).values(beat=LONG_AGO, serving="")
            )

    def alive(self, *, at: datetime) -> Sequence[str]:
        """Slots with a fresh heartbeat."""
        table = schema.worker
        query = select(table.c.slot).where(table.c.beat >= at - self._lease)
        with self._database.read() as connection:
            return list(connection.execute(query.order_by(table.c.slot)).scalars())

    def serving(self, *, at: datetime) -> Mapping[str, str]:
        """Slot -> the address of its web server, of those with a fresh heartbeat."""
        table = schema.worker
        query = select(table.c.slot, table.c.serving).where(
            table.c.beat >= at - self._lease, table.c.serving != ""
        )
        with self._database.read() as connection:
            return {row.slot: row.serving for row in connection.execute(query)}

    def dead(self, *, at: datetime) -> Sequence[str]:
        """Slots whose lease has run out."""
        table = schema.worker
        with self._database.read() as connection:
            found = connection.execute(select(table.c.slot).where(table.c.beat < at - self._lease))
            return list(found.scalars())

    def bury(self, slot: str, *, at: datetime) -> bool:
        """Remove a slot if it is still dead; True for the one survivor that did."""
        table = schema.worker
        with self._database.write() as connection:
            gone = connection.execute(
                delete(table).where(table.c.slot == slot, table.c.beat < at - self._lease)
            )
            return gone.rowcount == 1

    def still_mine(self, slot: str, *, at: datetime) -> bool:
        """Whether the last good heartbeat is younger than half the lease (self-fencing)."""
        table = schema.worker
        with self._database.read() as connection:
            beat = connection.execute(select(table.c.beat).where(table.c.slot == slot)).scalar()
        return beat is not None and at - beat < self._lease / 2

    def count_takeover(self, slot: str) -> None:
        """Note a takeover by this slot."""
        table = schema.worker
        with self._database.write() as connection:
            connection.execute(
                update(table).where(table.c.slot == slot).values(takeovers=table.c.takeovers + 1)
            )
