"""Cases, the treating providers they draw on, and who the patient is at each (pins)."""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Any

from sqlalchemy import Column, Connection, Row, select, update

from fhir_bridge.case.case import (
    Auth,
    Case,
    CaseState,
    DimseNode,
    Papers,
    Pin,
    PinState,
    TreatingProvider,
)
from fhir_bridge.case.events import Event
from fhir_bridge.case.identity import Identifier, Person
from fhir_bridge.errors import CaseUnknown, UsageError
from fhir_bridge.standards.fhir.person import person
from fhir_bridge.store import schema
from fhir_bridge.store.database import Database, insert
from fhir_bridge.store.events import append

Outbox = Callable[[Connection], None]


class Providers:
    """The treating providers that this bridge knows."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, provider: TreatingProvider, *, at: datetime) -> None:
        """Add a provider, or change the one with the same id."""
        values: dict[str, Any] = {
            "name": provider.name,
            "fhir": provider.fhir,
            "auth": provider.auth.value,
            "client_id": provider.client_id,
            "secret": provider.secret or None,
            "dimse": str(provider.dimse or ""),
            "dicomweb": provider.dicomweb,
            "allowed_origins": list(provider.allowed_origins),
            "issuers": dict(provider.issuers),
            "vendor": provider.vendor,
            "bulk": provider.bulk,
            "file_origins": list(provider.file_origins),
            "papers": {name: text for name, text in asdict(provider.papers).items() if text},
            "sealed": {k: base64.b64encode(v).decode() for k, v in provider.sealed.items()},
        }
        with self._database.write() as connection:
            connection.execute(
                insert(connection, schema.provider)
                .values(id=provider.id, added_at=at, **values)
                .on_conflict_do_update(index_elements=["id"], set_=values)
            )

    def get(self, id_: str) -> TreatingProvider:
        """The provider with this id; raises UsageError when there is none."""
        with self._database.read() as connection:
            row = connection.execute(
                select(schema.provider).where(schema.provider.c.id == id_)
            ).one_or_none()
        if row is None:
            raise UsageError("no such provider: see `fhir-bridge provider list`")
        return _provider(row)

    def all(self) -> Sequence[TreatingProvider]:
        """Every provider, by name."""
        with self._database.read() as connection:
            found = connection.execute(select(schema.provider).order_by(schema.provider.c.name))
            return [_provider(row) for row in found]


class Cases:
    """Cases and their sources. Each change commits its event with it."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def open(self, case: Case, *events: Event) -> None:
        """Insert a new case with its sources."""
        with self._database.write() as connection:
            connection.execute(
                schema.case.insert().values(
                    id=case.id,
                    patient=dict(case.patient),
                    specialty=case.specialty,
                    question=case.question,
                    state=case.state.value,
                    opened_at=case.opened_at,
                    record_version=case.record_version,
                    facts=dict(case.facts),
                )
            )
            for position, provider in enumerate(case.providers):
                connection.execute(
                    schema.source.insert().values(
                        case_id=case.id,
                        provider_id=provider,
                        position=position,
                        pin_state=PinState.OPEN.value,
                        candidates=[],
                    )
                )
            append(connection, *events)

    def get(self, case_id: str) -> Case:
        """The case; raises CaseUnknown."""
        with self._database.read() as connection:
            row = connection.execute(
                select(schema.case).where(schema.case.c.id == case_id)
            ).one_or_none()
            if row is None:
                raise CaseUnknown
            return _case(row, _sources(connection, case_id))

    def all(self) -> Sequence[Case]:
        """Every case, newest first."""
        table = schema.case
        with self._database.read() as connection:
            found = connection.execute(select(table).order_by(table.c.opened_at.desc())).all()
            return [_case(row, _sources(connection, row.id)) for row in found]

    def move(
        self,
        case_id: str,
        state: CaseState,
        *events: Event,
        facts: Mapping[str, str] | None = None,
        outbox: Outbox | None = None,
    ) -> None:
        """
        Set the state (and facts) of a case together with the events that say why.

        `outbox` enqueues the work that follows on the transaction's own connection.
        """
        with self._database.write() as connection:
            move(connection, case_id, state, facts=facts)
            append(connection, *events)
            if outbox is not None:
                outbox(connection)

    def pins(self, case_id: str) -> Sequence[Pin]:
        """Who the patient is at each source of the case, in the order of the sources."""
        table = schema.source
        with self._database.read() as connection:
            found = connection.execute(
                select(table).where(table.c.case_id == case_id).order_by(table.c.position)
            )
            return [_pin(row) for row in found]

    def pin(self, pin: Pin, *events: Event) -> None:
        """Settle, ask or refuse who the patient is at a source."""
        self._change_source(
            pin.case_id,
            pin.source,
            {
                "pin_state": pin.state.value,
                "patient_id": pin.patient_id,
                "decided_by": pin.decided_by,
                "reason": pin.reason,
                "candidates": [asdict(candidate) for candidate in pin.candidates],
            },
            events,
        )

    def step(
        self, case_id: str, source: str, step: str, *events: Event, error: str = "", at: datetime
    ) -> None:
        """Note what a source is doing now, for the nurse."""
        values = {"step": step, "error_code": error, "since": at, "waits_until": None}
        self._change_source(case_id, source, values, events)

    def waits(self, case_id: str, source: str, until: datetime) -> None:
        """Note until when the hospital has us rest."""
        self._change_source(case_id, source, {"waits_until": until}, ())

    def tell(self, case_id: str, source: str, word: str, *events: Event) -> None:
        """What a person wants of the pull of a source: `pause`, `cancel`, or nothing any more."""
        self._change_source(case_id, source, {"told": word}, events)

    def told(self, case_id: str, source: str) -> str:
        """What a person told the pull of a source, or empty."""
        return str(self._source(case_id, source, schema.source.c.told) or "")

    def waits_until(self, case_id: str, source: str) -> datetime | None:
        """Until when the hospital has us rest, if it does."""
        found = self._source(case_id, source, schema.source.c.waits_until)
        return found if isinstance(found, datetime) else None

    def _source(self, case_id: str, source: str, column: Column[Any]) -> Any:
        table = schema.source
        query = select(column).where(table.c.case_id == case_id, table.c.provider_id == source)
        with self._database.read() as connection:
            return connection.execute(query).scalar_one_or_none()

    def steps(self, case_id: str) -> Mapping[str, tuple[str, str, datetime | None]]:
        """Per source: the step, the error code, since when."""
        table = schema.source
        with self._database.read() as connection:
            found = connection.execute(select(table).where(table.c.case_id == case_id))
            return {row.provider_id: (row.step, row.error_code, row.since) for row in found}

    def _change_source(
        self, case_id: str, source: str, values: Mapping[str, Any], events: Sequence[Event]
    ) -> None:
        table = schema.source
        with self._database.write() as connection:
            changed = connection.execute(
                update(table)
                .where(table.c.case_id == case_id, table.c.provider_id == source)
                .values(**values)
            )
            if changed.rowcount == 0:
                raise UsageError("the case has no such provider")
            append(connection, *events)


def move(
    connection: Connection,
    case_id: str,
    state: CaseState,
    *,
    facts: Mapping[str, str] | None = None,
    record_version: int | None = None,
) -> None:
    """Change a case inside the caller's transaction."""
    table = schema.case
    # Locked, because facts are read, changed and written: PostgreSQL would lose one of two.
    query = select(table).where(table.c.id == case_id).with_for_update()
    row = connection.execute(query).one_or_none()
    if row is None:
        raise CaseUnknown
    values: dict[str, Any] = {"state": state.value, "facts": {**row.facts, **(facts or {})}}
    if record_version is not None:
        values["record_version"] = record_version
    connection.execute(update(table).where(table.c.id == case_id).values(**values))


def _sources(connection: Connection, case_id: str) -> tuple[str, ...]:
    table = schema.source
    found = connection.execute(
        select(table.c.provider_id).where(table.c.case_id == case_id).order_by(table.c.position)
    )
    return tuple(found.scalars())


def _case(row: Row[Any], providers: tuple[str, ...]) -> Case:
    return Case(
        id=row.id,
        patient=row.patient,
        person=person(row.patient),
        specialty=row.specialty,
        question=row.question,
        providers=providers,
        opened_at=row.opened_at,
        state=CaseState(row.state),
        record_version=row.record_version,
        facts=row.facts,
    )


def _provider(row: Row[Any]) -> TreatingProvider:
    return TreatingProvider(
        id=row.id,
        name=row.name,
        fhir=row.fhir,
        auth=Auth(row.auth),
        client_id=row.client_id,
        secret=row.secret or b"",
        dimse=parse_node(row.dimse),
        dicomweb=row.dicomweb,
        allowed_origins=tuple(row.allowed_origins),
        issuers=row.issuers,
        vendor=row.vendor,
        bulk=row.bulk,
        file_origins=tuple(row.file_origins),
        papers=Papers(**row.papers),
        sealed={name: base64.b64decode(text) for name, text in row.sealed.items()},
    )


def parse_node(text: str) -> DimseNode | None:
    """`AET@HOST:PORT` as a node, or None when it is empty; raises UsageError."""
    if not text:
        return None
    aet, _, address = text.partition("@")
    host, _, port = address.rpartition(":")
    if not (0 < len(aet) <= 16 and host and port.isdigit() and 0 < int(port) < 65536):
        raise UsageError("a DICOM node is written AET@HOST:PORT, with an AE title of at most 16")
    return DimseNode(aet, host, int(port))


def _pin(row: Row[Any]) -> Pin:
    return Pin(
        case_id=row.case_id,
        source=row.provider_id,
        state=PinState(row.pin_state),
        patient_id=row.patient_id,
        decided_by=row.decided_by,
        reason=row.reason,
        candidates=tuple(read_person(candidate) for candidate in row.candidates),
    )


def read_person(facts: Mapping[str, Any]) -> Person:
    """A Person from its stored facts."""
    identifiers = tuple(Identifier(**identifier) for identifier in facts["identifiers"])
    return Person(**{**facts, "identifiers": identifiers})
