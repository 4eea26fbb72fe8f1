"""Bulk exports as they stand: the job, its files, and the bytes that were fetched."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any

from sqlalchemy import Connection, Row, delete, select, update

from fhir_bridge.case.export import Export, ExportFile, Stage
from fhir_bridge.errors import StoreError
from fhir_bridge.store import schema
from fhir_bridge.store.database import Database, insert
from fhir_bridge.store.originals import Originals

CHUNK_BYTES = 1024 * 1024


class Exports:
    """The export jobs of every case; one source has at most one."""

    def __init__(self, database: Database, originals: Originals) -> None:
        self._database, self._originals = database, originals

    def begin(self, export: Export) -> None:
        """A new job, without files; the one before it is forgotten."""
        with self._database.write() as connection:
            connection.execute(delete(schema.export_file).where(_at(schema.export_file, export)))
            _put(connection, export)

    def put(self, export: Export, files: Sequence[ExportFile] = ()) -> None:
        """How a job stands, and the files that its newest manifest names."""
        place = {"case_id": export.case_id, "source": export.source}
        rows = [{**place, **asdict(file)} for file in files]
        with self._database.write() as connection:
            _put(connection, export)
            if rows:
                connection.execute(
                    insert(connection, schema.export_file).on_conflict_do_nothing(), rows
                )

    def get(self, case_id: str, source: str) -> Export | None:
        """The job of a source, if there was one."""
        table = schema.export
        query = select(table).where(table.c.case_id == case_id, table.c.source == source)
        with self._database.read() as connection:
            row = connection.execute(query).one_or_none()
        return None if row is None else _export(row)

    def next_file(self, export: Export) -> ExportFile | None:
        """The first file that is neither read to its end nor given up."""
        table = schema.export_file
        query = select(table).where(_at(table, export), table.c.done.is_(False))
        with self._database.read() as connection:
            row = connection.execute(query.order_by(table.c.number).limit(1)).one_or_none()
        return None if row is None else _file(row)

    def files(self, export: Export) -> Sequence[ExportFile]:
        """Every file of a job, in the order of its manifests."""
        table = schema.export_file
        query = select(table).where(_at(table, export)).order_by(table.c.number)
        with self._database.read() as connection:
            return [_file(row) for row in connection.execute(query)]

    def note(self, export: Export, file: ExportFile) -> None:
        """How one file stands."""
        table = schema.export_file
        with self._database.write() as connection:
            connection.execute(
                update(table)
                .where(_at(table, export), table.c.number == file.number)
                .values(**asdict(file))
            )

    def read(self, sha256: str, offset: int = 0) -> Iterator[bytes]:
        """A stored body from a byte on, in chunks; raises StoreError when it is gone."""
        try:
            with self._originals.path(sha256).open("rb") as body:
                body.seek(offset)
                while chunk := body.read(CHUNK_BYTES):
                    yield chunk
        except OSError as error:
            raise StoreError(f"an exported file cannot be read ({type(error).__name__})") from None


def _put(connection: Connection, export: Export) -> None:
    values = asdict(export) | {
        "types": list(export.types),
        "paths": list(export.paths),
        "stage": export.stage.value,
    }
    connection.execute(
        insert(connection, schema.export)
        .values(**values)
        .on_conflict_do_update(index_elements=["case_id", "source"], set_=values)
    )


def _at(table: Any, export: Export) -> Any:
    return (table.c.case_id == export.case_id) & (table.c.source == export.source)


def _export(row: Row[Any]) -> Export:
    values = dict(row._mapping)  # noqa: SLF001 (documented by SQLAlchemy)
    lists = {"types": tuple(row.types), "paths": tuple(row.paths)}
    return Export(**{**values, **lists, "stage": Stage(row.stage)})


def _file(row: Row[Any]) -> ExportFile:
    values = dict(row._mapping)  # noqa: SLF001 (documented by SQLAlchemy)
    return ExportFile(**{k: v for k, v in values.items() if k not in {"case_id", "source"}})
