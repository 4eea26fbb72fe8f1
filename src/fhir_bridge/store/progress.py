"""Progress of pulls, read as sums and counts from the rows: cheap, however much has come."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, FromClause, Row, Select, and_, case, exists, func, or_, select

from fhir_bridge.case.certificate import Count, Evidence, said
from fhir_bridge.case.ledger import RecordState
from fhir_bridge.case.progress import WINDOW, Listing, Pace, Progress
from fhir_bridge.case.slice import IMAGES
from fhir_bridge.store import schema
from fhir_bridge.store.database import Database


class ProgressRows:
    """How far each source of a case is; no row of the ledger is loaded."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def of_case(self, case_id: str, *, now: datetime) -> Sequence[Progress]:
        """Every source in the case's order; none for a case that is not known."""
        with self._database.read() as connection:
            sources = connection.execute(_sources(case_id)).all()
            slices = _grouped(connection.execute(_slices(case_id)).all())
            counts = [
                _rows(connection, query)
                for query in (
                    _referred(case_id),
                    _unread(case_id),
                    _files(case_id),
                    _listed_images(case_id),
                    _held_images(case_id),
                    _arrived(case_id, _began(sources), now),
                )
            ]
        return [
            _progress(
                row,
                slices.get(row.provider_id, ()),
                {k: v for found in counts for k, v in found.get(row.provider_id, {}).items()},
                now,
            )
            for row in sources
        ]


def _progress(
    row: Row[Any], slices: Sequence[Row[Any]], counts: Mapping[str, Any], now: datetime
) -> Progress:
    run, images = int(row.facts.get("run", "0")), counts.get("images", 0)
    listed = any(one.type == IMAGES and one.run == run for one in slices)
    first = counts.get("first")
    return Progress(
        source=row.provider_id,
        step=row.step,
        since=row.since,
        error=row.error_code,
        told=row.told,
        waits_until=row.waits_until,
        lists=_lists(slices),
        referred=counts.get("referred", 0),
        referred_left=counts.get("unread", 0),
        files=counts.get("named", 0),
        settled=counts.get("settled", 0),
        images=images,
        held=min(counts.get("held", 0), images),
        images_follow=bool(row.dimse or row.dicomweb) and not listed,
        requests=counts.get("requests", 0),
        bytes=int(counts.get("size", 0)),
        pace=Pace(counts["lately"], (now - first).total_seconds()) if first else Pace(),
    )


def _lists(slices: Sequence[Row[Any]]) -> tuple[Listing, ...]:
    """The searches that are asked; images have counts of their own."""
    found = []
    for row in slices:
        facts = row.evidence
        if row.type == IMAGES or facts.get("not_asked"):
            continue
        counts = tuple(Count(**count) for count in facts["counts"])
        number = said(Evidence(obtained=facts["obtained"], counts=counts))
        found.append(Listing(row.ended, facts["obtained"], number, facts.get("page_size", 0)))
    return tuple(found)


def _began(sources: Sequence[Row[Any]]) -> datetime | None:
    """When the collection of the case began, if it did."""
    began = sources[0].facts.get("began", "") if sources else ""
    return datetime.fromisoformat(began) if began else None


def _sources(case_id: str) -> Select[Any]:
    source, provider = schema.source, schema.provider
    return (
        select(source, provider.c.dimse, provider.c.dicomweb, schema.case.c.facts)
        .join(provider, provider.c.id == source.c.provider_id)
        .join(schema.case, schema.case.c.id == source.c.case_id)
        .where(source.c.case_id == case_id)
        .order_by(source.c.position)
    )


def _slices(case_id: str) -> Select[Any]:
    """Without the marks of the pages, which are many."""
    table = schema.pull_slice
    return select(
        table.c.source, table.c.type, table.c.run, table.c.ended, table.c.evidence
    ).where(table.c.case_id == case_id)  # fmt: skip


def _referred(case_id: str) -> Select[Any]:
    table = schema.target
    return _count(table, func.count(), "referred").where(table.c.case_id == case_id)


def _unread(case_id: str) -> Select[Any]:
    """What is referred to and was never asked for (as store.ledgers.unread)."""
    named, table = schema.target, schema.ledger
    asked = exists().where(
        table.c.case_id == named.c.case_id,
        table.c.source == named.c.source,
        table.c.kind == named.c.kind,
        table.c.id == named.c.id,
        or_(table.c.original != "", table.c.state != RecordState.PENDING.value),
    )
    return _count(named, func.count(), "unread").where(named.c.case_id == case_id, ~asked)


def _files(case_id: str) -> Select[Any]:
    table = schema.attachment
    open_ = and_(table.c.done.is_(False), table.c.failure == "")
    settled = func.sum(case((open_, 0), else_=1))
    return (
        select(table.c.source, func.count().label("named"), settled.label("settled"))
        .where(table.c.case_id == case_id)
        .group_by(table.c.source)
    )


def _listed_images(case_id: str) -> Select[Any]:
    """By the witness that lists most."""
    table = schema.claim
    lists = (
        select(table.c.source, func.count().label("number"))
        .where(table.c.case_id == case_id)
        .group_by(table.c.source, table.c.witness)
        .subquery()
    )
    return _count(lists, func.max(lists.c.number), "images")


def _held_images(case_id: str) -> Select[Any]:
    table = schema.instance
    number = func.count(table.c.sop_uid.distinct())
    return _count(table, number, "held").where(table.c.case_id == case_id)


def _arrived(case_id: str, began: datetime | None, now: datetime) -> Select[Any]:
    """Since the collection began: how much came, and how much of it lately."""
    table = schema.original
    lately = table.c.received_at >= now - WINDOW
    query = (
        select(
            table.c.source,
            func.count().label("requests"),
            func.sum(table.c.size).label("size"),
            func.sum(case((lately, 1), else_=0)).label("lately"),
            func.min(case((lately, table.c.received_at))).label("first"),
        )
        .where(table.c.case_id == case_id)
        .group_by(table.c.source)
    )
    return query if began is None else query.where(table.c.received_at >= began)


def _count(table: FromClause, number: Any, name: str) -> Select[Any]:
    return select(table.c.source, number.label(name)).group_by(table.c.source)


def _rows(connection: Connection, query: Select[Any]) -> Mapping[str, dict[Any, Any]]:
    """By source, what a query says by name."""
    return {str(row["source"]): dict(row) for row in connection.execute(query).mappings()}


def _grouped(rows: Sequence[Row[Any]]) -> Mapping[str, Sequence[Row[Any]]]:
    found: dict[str, list[Row[Any]]] = {}
    for row in rows:
        found.setdefault(row.source, []).append(row)
    return found
