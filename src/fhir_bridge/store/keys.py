"""Signing keys and logins as they lie in the database: sealed or hashed, never in clear."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, delete, select, update

from fhir_bridge.case.signing import SealedKey
from fhir_bridge.store import schema
from fhir_bridge.store.database import KEYS_LOCK, Database, alone, insert


class Keys:
    """Sealed private keys of this bridge."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def all(self) -> Sequence[SealedKey]:
        """Every key, oldest first."""
        table = schema.signing_key
        with self._database.read() as connection:
            found = connection.execute(select(table).order_by(table.c.made_at, table.c.alg.desc()))
            return [_key(row) for row in found]

    def add_first(self, keys: Sequence[SealedKey]) -> None:
        """Store a first set of keys, unless another process was quicker."""
        with self._database.write() as connection:
            alone(connection, KEYS_LOCK)
            if connection.execute(select(schema.signing_key.c.kid)).first() is None:
                _add(connection, keys)

    def succeed(
        self, keys: Sequence[SealedKey], *, at: datetime, retires_at: datetime, gone_at: datetime
    ) -> bool:
        """
        Store successors and end the keys that have no end yet, at once or not at all.

        False when a key still waits at `at` for its first signature: a rotation is under way.
        """
        table = schema.signing_key
        with self._database.write() as connection:
            alone(connection, KEYS_LOCK)
            waiting = select(table.c.kid).where(table.c.signs_from > at)
            # A leak does not wait: who signs from now on may overtake a rotation.
            if retires_at > at and connection.execute(waiting).first() is not None:
                return False
            ended = {"retires_at": retires_at, "gone_at": gone_at}
            open_end = table.c.gone_at.is_(None) | (table.c.gone_at > gone_at)
            connection.execute(update(table).where(open_end).values(**ended))
            _add(connection, keys)
        return True


def _add(connection: Connection, keys: Sequence[SealedKey]) -> None:
    for key in keys:
        connection.execute(
            insert(connection, schema.signing_key).values(
                kid=key.kid,
                alg=key.alg,
                sealed=key.sealed,
                made_at=key.announced_at,
                signs_from=key.signs_from,
            )
        )


def _key(row: Row[Any]) -> SealedKey:
    return SealedKey(
        kid=row.kid,
        alg=row.alg,
        sealed=row.sealed,
        announced_at=row.made_at,
        signs_from=row.signs_from or row.made_at,
        retires_at=row.retires_at,
        gone_at=row.gone_at,
    )


class Logins:
    """One-time links and sessions, by the SHA-256 of their token."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, token_sha256: str, kind: str, *, at: datetime, until: datetime) -> None:
        """Note a link (`link`) or a session (`session`)."""
        with self._database.write() as connection:
            connection.execute(
                schema.login.insert().values(
                    token_sha256=token_sha256, kind=kind, made_at=at, expires_at=until
                )
            )

    def spend(self, token_sha256: str, *, at: datetime) -> bool:
        """Use a one-time link: True exactly once, and not after its end."""
        table = schema.login
        with self._database.write() as connection:
            spent = connection.execute(
                update(table)
                .where(
                    table.c.token_sha256 == token_sha256,
                    table.c.kind == "link",
                    table.c.used.is_(False),
                    table.c.expires_at > at,
                )
                .values(used=True)
            )
            return spent.rowcount == 1

    def valid(self, token_sha256: str, *, at: datetime) -> bool:
        """Whether a session is known and not over."""
        table = schema.login
        query = select(table.c.kind).where(
            table.c.token_sha256 == token_sha256,
            table.c.kind == "session",
            table.c.expires_at > at,
        )
        with self._database.read() as connection:
            return connection.execute(query).first() is not None

    def end(self, token_sha256: str) -> None:
        """End a session."""
        table = schema.login
        with self._database.write() as connection:
            connection.execute(delete(table).where(table.c.token_sha256 == token_sha256))
