"""Worker slots: who is alive, and whose work may be taken over."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from sqlalchemy import delete, select, update

from fhir_bridge.store import schema
from fhir_bridge.store.database import Database, insert


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
        """Give the slot back at an orderly end."""
        with self._database.write() as connection:
            connection.execute(delete(schema.worker).where(schema.worker.c.slot == slot))

    def alive(self, *, at: datetime) -> Sequence[str]:
        """Slots with a fresh heartbeat."""
        table = schema.worker
        query = select(table.c.slot).where(table.c.beat >= at - self._lease)
        with self._database.read() as connection:
            return list(connection.execute(query.order_by(table.c.slot)).scalars())

    def serving(self, *, at: datetime) -> str:
        """The address of a living web server on this store; empty when none runs."""
        table = schema.worker
        query = select(table.c.serving).where(
            table.c.beat >= at - self._lease, table.c.serving != ""
        )
        with self._database.read() as connection:
            return connection.execute(query.limit(1)).scalar() or ""

    def dead(self, *, at: datetime) -> Sequence[str]:
        """Slots whose lease has run out."""
        table = schema.worker
        with self._database.read() as connection:
            found = connection.execute(select(table.c.slot).where(table.c.beat < at - self._lease))
            return list(found.scalars())

    def bury(self, slot: str, *, at: datetime) -> bool:
        """Remove a slot if it is still dead; True for the one survivor that takes its work."""
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
