"""Endpoints: what was learned of each provider's system, and when it may be asked again."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, select

from fhir_bridge.case.profile import Standing
from fhir_bridge.store import schema
from fhir_bridge.store.database import Database, insert, lock


class Endpoints:
    """One row per provider, shared by every process (clients.manners.Memory)."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def standing(self, id_: str) -> Standing:
        """Everything that is remembered; an unknown endpoint has nothing against it."""
        with self._database.read() as connection:
            return _standing(connection, id_)

    def facts(self, id_: str) -> Mapping[str, Any]:
        """What was learned."""
        return self.standing(id_).facts

    def learn(self, id_: str, *, at: datetime, **facts: object) -> None:
        """Add facts, which are JSON values; a name known already gets its new value."""
        with self._database.write() as connection:
            lock(connection, f"endpoint {id_}")
            known = _standing(connection, id_).facts
            _put(connection, id_, facts={**known, **facts}, updated_at=at)

    def failed(self, id_: str, *, at: datetime, next_attempt_at: datetime) -> None:
        """One more failure in a row; nobody tries before `next_attempt_at`."""
        with self._database.write() as connection:
            lock(connection, f"endpoint {id_}")
            failures = _standing(connection, id_).failures + 1
            _put(
                connection, id_,
                failures=failures, next_attempt_at=next_attempt_at, updated_at=at,
            )  # fmt: skip

    def rests(self, id_: str, *, at: datetime, next_attempt_at: datetime) -> None:
        """It asked us to wait, which is no failure."""
        with self._database.write() as connection:
            _put(connection, id_, next_attempt_at=next_attempt_at, updated_at=at)

    def succeeded(self, id_: str, *, at: datetime) -> None:
        """It answers: nothing stands against it any more."""
        with self._database.write() as connection:
            _put(connection, id_, failures=0, next_attempt_at=None, updated_at=at)


def _standing(connection: Connection, id_: str) -> Standing:
    table = schema.endpoint
    row = connection.execute(select(table).where(table.c.provider_id == id_)).one_or_none()
    if row is None:
        return Standing()
    return Standing(row.facts, row.failures, row.next_attempt_at, row.updated_at)


def _put(connection: Connection, id_: str, **columns: object) -> None:
    fresh = {"facts": {}, "failures": 0, **columns}
    connection.execute(
        insert(connection, schema.endpoint)
        .values(provider_id=id_, **fresh)
        .on_conflict_do_update(index_elements=["provider_id"], set_=columns)
    )
