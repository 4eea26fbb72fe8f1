"""Originals: one blob per distinct body, named by its SHA-256; one row per arrival."""

from __future__ import annotations

import errno
import hashlib
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from tempfile import mkstemp
from types import TracebackType
from typing import Any, Self, cast

from sqlalchemy import Connection, Row, select

from fhir_bridge.case.original import Blob, How, Original
from fhir_bridge.errors import StorageFull, StoreError, TooLarge
from fhir_bridge.store import schema
from fhir_bridge.store.database import Database, put_new
from fhir_bridge.store.together import Together

PIECE = 256 * 1024
_FULL = {errno.ENOSPC, errno.EDQUOT}
_COLUMNS = tuple(column.name for column in schema.original.columns)


class BlobWriter:
    """
    A body on its way to the store: write, then commit. Leaving without commit leaves nothing.

    After `commit` the bytes are durable: file synced, renamed to its hash, folder synced.
    `known` are the folders whose own names are known to be durable.
    """

    def __init__(self, folder: Path, max_bytes: int, known: set[Path]) -> None:
        self._folder, self._max_bytes, self._size = folder, max_bytes, 0
        self._known, self._moved = known, False
        self._hash = hashlib.sha256()
        try:
            self._file, self._name = mkstemp(dir=folder / "incoming")
        except OSError as error:
            raise _storage_error(error) from error

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            with suppress(OSError):  # a full disk shows here once more, and was told already
                os.close(self._file)
        finally:
            if not self._moved:
                Path(self._name).unlink(missing_ok=True)

    def write(self, chunk: bytes | bytearray | memoryview) -> None:
        """Append; raises TooLarge beyond the cap and StorageFull when the disk is full."""
        self._size += len(chunk)
        if self._size > self._max_bytes:
            raise TooLarge(f"more than {self._max_bytes} bytes")
        self._hash.update(chunk)
        left = memoryview(chunk)
        try:
            while left:
                left = left[os.write(self._file, left) :]
        except OSError as error:
            raise _storage_error(error) from error

    def commit(self) -> Blob:
        """Make it durable and return its address; the same bytes twice are stored once."""
        digest = self._hash.hexdigest()
        target = address(self._folder, digest)
        try:
            os.fdatasync(self._file)
            if not target.exists():
                if target.parent not in self._known:
                    target.parent.mkdir(parents=True, exist_ok=True)
                Path(self._name).rename(target)
                self._moved = True
            # Also when another was quicker: its name may not be on the disk yet.
            _sync_branch(target.parent, self._known)
        except OSError as error:
            raise _storage_error(error) from error
        return Blob(digest, self._size)


def address(folder: Path, digest: str) -> Path:
    """
    Where a body lies: by its hash, no name from outside.

    One level of folders, because a new folder costs as much as a body: its name is synced too.
    """
    return folder / digest[:2] / digest


def _earlier(folder: Path, digest: str) -> Path:
    """Where a body lay in the stores of earlier versions: two levels of folders."""
    return folder / digest[:2] / digest[2:4] / digest


def _sync_branch(folder: Path, known: set[Path]) -> None:
    """Sync a folder, and the one above unless it is known to hold its name for good."""
    _sync(folder)
    if folder not in known:
        _sync(folder.parent)
        known.add(folder)


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _storage_error(error: OSError) -> StoreError:
    name = errno.errorcode.get(error.errno or 0, "I/O")
    return StorageFull(name) if error.errno in _FULL else StoreError(name)


class Originals:
    """The store of bodies and of the rows that say how each came."""

    def __init__(self, database: Database, folder: Path) -> None:
        self._database, self._folder = database, folder
        self.together = Together(database)
        self._known: set[Path] = set()
        (folder / "incoming").mkdir(parents=True, exist_ok=True)

    def writer(self, *, max_bytes: int) -> BlobWriter:
        """A new body; see BlobWriter."""
        return BlobWriter(self._folder, max_bytes, self._known)

    def put(self, body: bytes) -> Blob:
        """Store a body that is already in memory."""
        with self.writer(max_bytes=len(body)) as writer:
            writer.write(body)
            return writer.commit()

    def keep(self, original: Original) -> Original:
        """Insert the row of an arrival whose blob is committed; the same id twice is one row."""

        def row(connection: Connection) -> None:
            put_new(connection, schema.original, [original_values(original)])

        self.together.write(row)
        return original

    def path(self, sha256: str) -> Path:
        """The file of a body, for streaming; its content never changes."""
        place = address(self._folder, sha256)
        return place if place.exists() else _earlier(self._folder, sha256)

    def read(self, sha256: str) -> bytes:
        """A whole body; raises StoreError when it is gone or no longer what it was."""
        try:
            body = self.path(sha256).read_bytes()
        except FileNotFoundError:
            raise StoreError("an original is missing from the store") from None
        except OSError as error:
            raise _storage_error(error) from error
        if hashlib.sha256(body).hexdigest() != sha256:
            raise StoreError("an original no longer has its hash")
        return body

    def head(self, sha256: str, size: int) -> bytes:
        """The first `size` bytes of a body; raises StoreError."""
        return next(self.pieces(sha256, size), b"")

    def pieces(self, sha256: str, size: int = PIECE) -> Iterator[bytes]:
        """A body bit by bit, as it lies there; raises StoreError when it is gone."""
        try:
            with self.path(sha256).open("rb", buffering=0) as file:
                while piece := file.read(size):
                    yield piece
        except FileNotFoundError:
            raise StoreError("an original is missing from the store") from None
        except OSError as error:
            raise _storage_error(error) from error

    def get(self, id_: str) -> Original | None:
        """The row of one arrival."""
        with self._database.read() as connection:
            row = connection.execute(
                select(schema.original).where(schema.original.c.id == id_)
            ).one_or_none()
        return None if row is None else _original(row)

    def of_case(self, case_id: str) -> Sequence[Original]:
        """Every arrival of a case, oldest first."""
        table = schema.original
        with self._database.read() as connection:
            found = connection.execute(
                select(table).where(table.c.case_id == case_id).order_by(table.c.received_at)
            ).all()
        return [_original(row) for row in found]

    def sweep(self) -> int:
        """
        Remove what a killed process left half-written; returns how many files.

        Other workers may be writing beside us: only files untouched for an hour are left over.
        """
        old = time.time() - 3600  # file times are the machine's own clock
        incoming = (self._folder / "incoming").iterdir()
        left = [path for path in incoming if path.is_file() and path.stat().st_mtime < old]
        for path in left:
            path.unlink(missing_ok=True)
        return len(left)


def original_values(original: Original) -> dict[str, Any]:
    """The columns of an original's row."""
    return {name: getattr(original, name) for name in _COLUMNS} | {
        "headers": dict(original.headers),
        "facts": dict(original.facts),
        "how": original.how.value,
    }


def _original(row: Row[Any]) -> Original:
    values = cast("dict[str, Any]", dict(row._mapping))  # noqa: SLF001 (documented by SQLAlchemy)
    return Original(**{**values, "how": How(values["how"])})
