"""Signing keys and logins as they lie in the database: sealed or hashed, never in clear."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import delete, select, update

from fhir_bridge.store import schema
from fhir_bridge.store.database import KEYS_LOCK, Database, alone, insert


class Keys:
    """Sealed private keys of this bridge."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def all(self) -> Sequence[tuple[str, str, bytes]]:
        """(kid, alg, sealed private key), oldest first."""
        table = schema.signing_key
        query = select(table.c.kid, table.c.alg, table.c.sealed).order_by(table.c.made_at)
        with self._database.read() as connection:
            return [(row.kid, row.alg, row.sealed) for row in connection.execute(query)]

    def add_first(self, keys: Sequence[tuple[str, str, bytes]], *, at: datetime) -> None:
        """Store a first set of keys, unless another process was quicker."""
        table = schema.signing_key
        with self._database.write() as connection:
            alone(connection, KEYS_LOCK)
            if connection.execute(select(table.c.kid)).first() is None:
                for kid, alg, sealed in keys:
                    connection.execute(
                        insert(connection, table).values(
                            kid=kid, alg=alg, sealed=sealed, made_at=at
                        )
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
