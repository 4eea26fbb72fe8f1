"""Opinions as signed, and their deliveries: at most one per opinion version and destination."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, fields
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, select, update

from fhir_bridge.case.case import CaseState
from fhir_bridge.case.delivery import Delivery, DeliveryState, ReadBack, may_follow
from fhir_bridge.case.events import Event, Happened
from fhir_bridge.case.opinion import Author, Cited, Opinion, Section
from fhir_bridge.errors import UsageError, WrongMoment
from fhir_bridge.store import schema
from fhir_bridge.store.cases import move
from fhir_bridge.store.database import Database, insert
from fhir_bridge.store.events import append
from fhir_bridge.store.originals import Originals

_OVER = frozenset({DeliveryState.CONFIRMED, DeliveryState.OPENED, DeliveryState.MANUAL})

Outbox = Callable[[Connection, Delivery], None]


@dataclass(frozen=True, slots=True)
class StoredOpinion:
    """A signed opinion: its content, and the hashes of the FHIR document and the PDF."""

    opinion: Opinion
    document: str
    pdf: str
    signed_by: str
    signed_at: datetime


class Opinions:
    """Signed opinions and the ladder of each delivery."""

    def __init__(self, database: Database, originals: Originals) -> None:
        self._database, self._originals = database, originals

    def sign(
        self,
        signed: StoredOpinion,
        deliveries: Sequence[Delivery],
        *events: Event,
        outbox: Outbox,
    ) -> bool:
        """
        Store the opinion, its deliveries and the outgoing work in one transaction.

        `outbox` enqueues a delivery on the transaction's own connection. False when this version
        was signed already: then nothing changed.
        """
        opinion = signed.opinion
        with self._database.write() as connection:
            new = connection.execute(
                insert(connection, schema.opinion)
                .values(
                    id=opinion.id,
                    case_id=opinion.case_id,
                    version=opinion.version,
                    content=asdict(opinion),
                    document=signed.document,
                    pdf=signed.pdf,
                    signed_by=signed.signed_by,
                    signed_at=signed.signed_at,
                )
                .on_conflict_do_nothing()
            )
            if new.rowcount == 0:
                return False
            for delivery in deliveries:
                connection.execute(
                    schema.delivery.insert().values(**_values(delivery, signed.signed_at))
                )
                outbox(connection, delivery)
            move(connection, opinion.case_id, CaseState.OPINION_SIGNED)
            append(connection, *events)
        return True

    def of_case(self, case_id: str) -> Sequence[StoredOpinion]:
        """Every signed version, newest first."""
        table = schema.opinion
        query = select(table).where(table.c.case_id == case_id).order_by(table.c.version.desc())
        with self._database.read() as connection:
            return [_opinion(row) for row in connection.execute(query)]

    def opinion(self, opinion_id: str) -> StoredOpinion:
        """One signed opinion."""
        with self._database.read() as connection:
            row = connection.execute(
                select(schema.opinion).where(schema.opinion.c.id == opinion_id)
            ).one_or_none()
        if row is None:
            raise UsageError("no such opinion")
        return _opinion(row)

    def read(self, sha256: str) -> bytes:
        """The bytes of a document or PDF that was signed."""
        return self._originals.read(sha256)

    def deliveries(self, case_id: str) -> Sequence[Delivery]:
        """Every delivery of a case."""
        table = schema.delivery
        query = (
            select(table)
            .where(table.c.case_id == case_id)
            .order_by(table.c.version.desc(), table.c.destination)
        )
        with self._database.read() as connection:
            return [_delivery(row) for row in connection.execute(query)]

    def get(self, delivery_id: str) -> Delivery:
        """One delivery as it stands."""
        with self._database.read() as connection:
            return _get(connection, delivery_id)

    def moved_at(self, delivery_id: str) -> datetime:
        """When a delivery last moved."""
        table = schema.delivery
        with self._database.read() as connection:
            at = connection.execute(
                select(table.c.moved_at).where(table.c.id == delivery_id)
            ).scalar()
        if not isinstance(at, datetime):
            raise UsageError("no such delivery")
        return at

    def move(
        self, delivery_id: str, state: DeliveryState, *, at: datetime, **changed: Any
    ) -> Delivery:
        """
        One step on the ladder, committed with its event; raises WrongMoment for a step that the
        ladder does not have. `changed` are other fields of Delivery.
        """
        with self._database.write() as connection:
            before = _get(connection, delivery_id, lock=True)
            if not may_follow(before.state, state):
                raise WrongMoment(f"{before.state.value} is not followed by {state.value}")
            values = {"state": state.value, "moved_at": at} | changed
            if isinstance(values.get("read_back"), ReadBack):
                values["read_back"] = values["read_back"].value
            connection.execute(
                update(schema.delivery).where(schema.delivery.c.id == delivery_id).values(**values)
            )
            facts = {"delivery": delivery_id, "state": state.value, "to": before.destination}
            append(connection, Event(Happened.DELIVERY_MOVED, before.case_id, "bridge", at, facts))
            if state is DeliveryState.CONFIRMED and _all_confirmed(connection, before):
                move(connection, before.case_id, CaseState.DELIVERED)
            return _get(connection, delivery_id)

    def resend(self, delivery_id: str, *events: Event, at: datetime, outbox: Outbox) -> None:
        """
        Take up a delivery again that waits for a person or whose work was given up.

        What has begun is never begun anew: the steps look into the chart before anything leaves.
        Raises WrongMoment for one that is confirmed or goes by paper.
        """
        with self._database.write() as connection:
            before = _get(connection, delivery_id, lock=True)
            if before.state in _OVER:
                raise WrongMoment(f"the delivery is {before.state.value}")
            values: dict[str, Any] = {"attempts": min(before.attempts, 1), "reason": ""}
            if before.state is DeliveryState.HELD:
                values |= {"state": DeliveryState.QUEUED.value, "moved_at": at}
            connection.execute(
                update(schema.delivery).where(schema.delivery.c.id == delivery_id).values(**values)
            )
            outbox(connection, before)
            append(connection, *events)


def _all_confirmed(connection: Connection, one: Delivery) -> bool:
    """Whether every chart that this opinion version goes to shows it."""
    table = schema.delivery
    states = connection.execute(
        select(table.c.state).where(
            table.c.opinion_id == one.opinion_id, table.c.version == one.version
        )
    ).scalars()
    return set(states) <= {DeliveryState.CONFIRMED.value, DeliveryState.OPENED.value}


def _get(connection: Connection, delivery_id: str, *, lock: bool = False) -> Delivery:
    """`lock`: of two workers that take the same rung one waits, and then sees what became of it."""
    query = select(schema.delivery).where(schema.delivery.c.id == delivery_id)
    row = connection.execute(query.with_for_update() if lock else query).one_or_none()
    if row is None:
        raise UsageError("no such delivery")
    return _delivery(row)


def _values(delivery: Delivery, at: datetime) -> dict[str, Any]:
    return {
        **asdict(delivery),
        "state": delivery.state.value,
        "read_back": delivery.read_back.value if delivery.read_back else "",
        "moved_at": at,
    }


def _delivery(row: Row[Any]) -> Delivery:
    values = {field.name: getattr(row, field.name) for field in fields(Delivery)}
    read_back = ReadBack(row.read_back) if row.read_back else None
    return Delivery(**{**values, "state": DeliveryState(row.state), "read_back": read_back})


def _opinion(row: Row[Any]) -> StoredOpinion:
    content = dict(row.content)
    opinion = Opinion(
        **{
            **content,
            "author": Author(**content["author"]),
            "sections": tuple(Section(**section) for section in content["sections"]),
            "cited": tuple(Cited(**cited) for cited in content["cited"]),
        }
    )
    return StoredOpinion(opinion, row.document, row.pdf, row.signed_by, row.signed_at)
