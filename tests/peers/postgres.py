"""A PostgreSQL cluster of the tests' own, and one database a test."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import uuid
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg
from psycopg import sql

from .peer import LOOPBACK, PeerFailed, free_port, need, running

if TYPE_CHECKING:
    from collections.abc import Iterator

USER = "postgres"


@dataclass(frozen=True, slots=True)
class Postgres:
    """A running cluster that trusts whoever connects from loopback; fsync is on, as in life."""

    port: int
    user: str = USER
    host: str = LOOPBACK

    def createdb(self) -> str:
        """A new empty database; returns its SQLAlchemy URL."""
        name = f"test_{uuid.uuid4().hex}"
        self.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        return f"postgresql+psycopg://{self.user}@{self.host}:{self.port}/{name}"

    def dropdb(self, url: str) -> None:
        """Drop a database that createdb made, ending whoever is still connected."""
        name = sql.Identifier(url.rpartition("/")[2])
        self.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(name))

    def execute(self, statement: sql.Composed) -> None:
        """Run one statement in the administration database, outside a transaction."""
        with psycopg.connect(self._admin(), autocommit=True) as connection:
            connection.execute(statement)

    def accepts(self) -> bool:
        """Whether a connection succeeds now."""
        try:
            psycopg.connect(self._admin(), connect_timeout=2).close()
        except psycopg.OperationalError:
            return False
        return True

    def _admin(self) -> str:
        return f"host={self.host} port={self.port} user={self.user} dbname=postgres"


@contextmanager
def serving() -> Iterator[Postgres]:
    """Make a cluster in a fresh folder, run it on a free port, and remove it afterwards."""
    programs = _programs()
    need("postgresql", programs / "initdb", programs / "postgres")
    # Not pytest's folder: that is closed to the account that PostgreSQL runs as.
    folder = Path(tempfile.mkdtemp(prefix="fhir-bridge-postgres-"))
    try:
        _initialize(programs, folder)
        server = Postgres(free_port())
        argv = _as_user() + _command(programs, server, folder)
        # SIGINT is PostgreSQL's fast shutdown: it does not wait for clients to leave.
        with running(
            argv,
            folder / "postgres.log",
            ready=server.accepts,
            cwd=folder,
            ended_by=signal.SIGINT,
        ):
            yield server
    finally:
        shutil.rmtree(folder)


def _programs() -> Path:
    """The newest PostgreSQL that Debian installed, or wherever `initdb` is."""
    found = sorted(
        Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: int(path.parent.name)
    )
    return found[-1] if found else Path(shutil.which("initdb") or "/missing/initdb").parent


def _as_user() -> list[str]:
    """PostgreSQL refuses to run as root: then it runs as the account that Debian made for it."""
    if os.geteuid() != 0:
        return []
    return ["setpriv", f"--reuid={USER}", f"--regid={USER}", "--clear-groups"]


def _initialize(programs: Path, folder: Path) -> None:
    if os.geteuid() == 0:
        account = pwd.getpwnam(USER)
        os.chown(folder, account.pw_uid, account.pw_gid)
    argv = [*_as_user(), str(programs / "initdb"), "-D", str(folder / "cluster"), "-U", USER]
    argv += ["--auth=trust", "--encoding=UTF8", "--locale=C.UTF-8", "--no-sync"]
    ended = subprocess.run(argv, check=False, capture_output=True, cwd=folder, timeout=60)
    if ended.returncode:
        raise PeerFailed(f"initdb ended with {ended.returncode}: {ended.stderr[-2000:]!r}")


def _command(programs: Path, server: Postgres, folder: Path) -> list[str]:
    settings = {
        "listen_addresses": server.host,
        "port": str(server.port),
        "unix_socket_directories": str(folder),
        "fsync": "on",
        "synchronous_commit": "on",
    }
    words = [word for key, value in settings.items() for word in ("-c", f"{key}={value}")]
    return [str(programs / "postgres"), "-D", str(folder / "cluster"), *words]
