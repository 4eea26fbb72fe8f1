"""The engine and its transactions: SQLite (WAL, FULL, BEGIN IMMEDIATE) or PostgreSQL."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import cache
from pathlib import Path
from threading import Lock
from typing import Any

from alembic import command
from alembic.config import Config
from sqlalchemy import Connection, Engine, create_engine, event, func, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, OperationalError, SQLAlchemyError
from sqlalchemy.pool import ConnectionPoolEntry
from sqlalchemy.sql.schema import Table

from fhir_bridge.errors import ConfigurationError, StorageFull, StoreError

_READS = "fhir_bridge_reads"
_KNOWS_SUBSEC = (3, 42, 0)
_PRAGMAS = (
    "journal_mode=wal", "synchronous=full", "busy_timeout=30000", "foreign_keys=on",
    # 32 MB: every checkpoint writes the same pages of the indexes again, and syncs them.
    "wal_autocheckpoint=8000",
)  # fmt: skip
MIGRATION_LOCK, KEYS_LOCK = 0x6642_0001, 0x6642_0002


def make_engine(url: str) -> Engine:
    """
    The one engine of a process; the job engine is handed the same.

    SQLite begins every transaction with BEGIN IMMEDIATE: with pysqlite's own rule a SELECT stands
    outside the transaction and read-modify-write loses updates (measured: 123 of 200).
    """
    try:
        dialect = make_url(url).get_backend_name()
    except ArgumentError:
        raise ConfigurationError("FHIR_BRIDGE_DATABASE_URL is not a database URL") from None
    if dialect == "sqlite":
        # A connection beyond the pool's size is made anew each time, with all its pragmas.
        engine = create_engine(
            url, hide_parameters=True, pool_size=20, pool_use_lifo=True,
            connect_args={"timeout": 30},
        )  # fmt: skip
        event.listen(engine, "connect", _sqlite_connect)
        event.listen(engine, "begin", _sqlite_begin)
        return engine
    if dialect == "postgresql":
        return create_engine(url, hide_parameters=True, pool_pre_ping=True, pool_size=20)
    raise ConfigurationError(f"FHIR_BRIDGE_DATABASE_URL: {dialect} is not supported")


def make_job_engine(url: str) -> Engine | None:
    """
    The job engine's own connections on SQLite; None where it makes them well enough itself.

    It begins its transactions by hand, so it cannot share ours. SQLite before 3.42 (Debian 12)
    lacks `unixepoch('subsec')`, which it uses on Python 3.12 and later.
    """
    if make_url(url).get_backend_name() != "sqlite":
        return None
    engine = create_engine(url, hide_parameters=True, connect_args={"timeout": 30})
    event.listen(engine, "connect", _job_connect)
    return engine


def _job_connect(connection: Any, entry: ConnectionPoolEntry) -> None:
    _sqlite_connect(connection, entry)
    connection.isolation_level = "IMMEDIATE"


def _sqlite_connect(connection: Any, _entry: ConnectionPoolEntry) -> None:
    connection.isolation_level = None
    for pragma in _PRAGMAS:
        connection.execute(f"pragma {pragma}")
    if sqlite3.sqlite_version_info < _KNOWS_SUBSEC:
        connection.create_function("unixepoch", -1, _unixepoch)


def _sqlite_begin(connection: Connection) -> None:
    reads = connection.get_execution_options().get(_READS, False)
    connection.exec_driver_sql("BEGIN" if reads else "BEGIN IMMEDIATE")


def _unixepoch(*modifiers: str) -> float:
    """SQLite 3.42's `unixepoch()` of now: whole seconds, or with 'subsec' milliseconds too."""
    now = time.time()
    return round(now, 3) if "subsec" in modifiers else int(now)


class Database:
    """Transactions over one engine: returning commits, raising rolls back."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self._reading = engine.execution_options(**{_READS: True})
        # SQLite lets who finds it busy sleep, for longer each time; here they take turns at once.
        lone = engine.dialect.name == "sqlite"
        self._turn: AbstractContextManager[object] = Lock() if lone else nullcontext()

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """A transaction; a database fault becomes StoreError without parameters."""
        try:
            with self._turn, self.engine.begin() as connection:
                yield connection
        except SQLAlchemyError as error:
            raise _fault(error) from error

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """A transaction that only reads: on SQLite it stands in no writer's way."""
        try:
            with self._reading.begin() as connection:
                yield connection
        except SQLAlchemyError as error:
            raise _fault(error) from error

    def migrate(self) -> None:
        """Bring the schema to the newest version; safe when several processes start at once."""
        config = Config()
        config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
        try:
            with self.engine.begin() as connection:
                alone(connection, MIGRATION_LOCK)
                config.attributes["connection"] = connection
                command.upgrade(config, "head")
        except OperationalError as error:
            raise ConfigurationError(
                f"the database cannot be opened ({type(error.orig).__name__})"
            ) from None


def alone(connection: Connection, lock: int) -> None:
    """From here to the end of the transaction no other process is at the same place."""
    # On SQLite every transaction that writes is alone from its beginning.
    if connection.dialect.name == "postgresql":
        connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({lock})")


def _fault(error: SQLAlchemyError) -> StoreError:
    cause = getattr(error, "orig", None)
    # SQLITE_FULL's primary code, and PostgreSQL's disk_full.
    full = (getattr(cause, "sqlite_errorcode", None) or 0) & 0xFF == sqlite3.SQLITE_FULL
    if full or getattr(cause, "sqlstate", None) == "53100":
        return StorageFull(type(error).__name__)
    return StoreError(type(error).__name__)


def lock(connection: Connection, name: str) -> None:
    """
    Let nobody else decide about this name until the transaction ends.

    SQLite has one writer at a time anyway; on PostgreSQL two would not see each other's rows.
    """
    if connection.dialect.name == "postgresql":
        connection.execute(select(func.pg_advisory_xact_lock(func.hashtextextended(name, 0))))


def insert(connection: Connection, table: Table) -> sqlite.Insert | postgresql.Insert:
    """An INSERT that knows ON CONFLICT on either database."""
    return sqlite.insert(table) if connection.dialect.name == "sqlite" else postgresql.insert(table)


def put_new(connection: Connection, table: Table, rows: Sequence[Mapping[str, Any]]) -> None:
    """Insert rows; those whose key is there already stay as they are."""
    if rows:
        connection.execute(_new(connection.dialect.name, table), rows)


@cache
def _new(dialect: str, table: Table) -> sqlite.Insert | postgresql.Insert:
    # Made once: building a statement costs more than running it.
    new = sqlite.insert(table) if dialect == "sqlite" else postgresql.insert(table)
    return new.on_conflict_do_nothing()
