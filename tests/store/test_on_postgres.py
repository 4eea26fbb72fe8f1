"""The same store on PostgreSQL: what it refuses by itself (U+0000), and two workers at once."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta

import pytest

from fhir_bridge.case.ledger import LedgerRow, RecordKey, RecordState
from fhir_bridge.case.signing import SealedKey
from fhir_bridge.case.slice import Page, Slice
from fhir_bridge.store import schema
from fhir_bridge.store.images import Stored
from fhir_bridge.store.shelves import Store

from ..peers.conftest import postgres_cluster, postgres_url
from .test_images import ONE
from .test_schema import ODD, _filler

__all__ = ["postgres_cluster", "postgres_url"]  # the fixtures of the peers
KEY = RecordKey("st-anne", "DocumentReference", "a\x00b", "1")


@pytest.fixture
def store(postgres_url, tmp_path):
    made = Store.open(postgres_url, tmp_path, lease=timedelta(seconds=15))
    yield made
    made.close()


def test_odd_text_survives_in_every_text_column(store):
    unbound = [t for t in schema.metadata.sorted_tables if not t.foreign_keys]
    for table in unbound:
        for value in ODD:
            row = {column.name: _filler(column, value) for column in table.columns}
            with store.database.write() as connection:
                connection.execute(table.insert().values(**row))
                found = connection.execute(table.select()).one()
                assert {name: getattr(found, name) for name in row} == row
                connection.execute(table.delete())


def test_the_ledger_means_the_same(store, case):
    ledgers = store.ledgers
    ledgers.see("c1", LedgerRow(KEY, RecordState.FAILED, error_code="FB-2001", attempts=1))
    rows = (LedgerRow(KEY, original="o1", position="0"),) * 2
    page = Page(
        Slice("c1", "st-anne", KEY.kind),
        seen=rows,
        bases=("b", "b"),
        listed=frozenset({KEY.id}),
        targets=frozenset({("Practitioner", "x")}),
    )
    for _ in range(2):
        ledgers.turn(page)
    (row,) = ledgers.rows("c1")
    assert (row.state, row.sightings, row.original) == (RecordState.PENDING, 5, "o1")
    assert ledgers.unlisted(page.slice, {KEY.id, "new"}) == {"new"}
    assert list(ledgers.unread("c1", "st-anne")) == [("Practitioner", "x")]


def test_an_image_that_two_senders_bring_at_once_is_one_row(store, case, keep, at):
    original = keep(b"x", "spare")

    def put(number: int) -> str:
        mine = replace(original, id=f"i{number}")
        return store.images.store_instance(mine, replace(ONE, original=mine.id), at=at)

    with ThreadPoolExecutor(4) as pool:
        ends = [pool.submit(put, number) for number in range(4)]
        found = [end.exception() or end.result() for end in ends]
    # One that lost the race at the very last moment is told to send again, and then is known.
    assert found.count(Stored.NEW) == 1
    assert put(9) == Stored.DUPLICATE
    assert len(store.images.of_case("c1")) == 1


def test_four_workers_that_start_at_once_make_one_set_of_keys(store, at):
    def add(number: int) -> None:
        algorithms = {f"k{number}": "RS384", f"e{number}": "ES384"}
        store.keys.add_first(
            [SealedKey(kid, alg, kid.encode(), at, at) for kid, alg in algorithms.items()]
        )

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(add, range(4)))
    assert len(store.keys.all()) == 2


def test_four_that_open_an_empty_database_at_once_make_one_schema(postgres_url, tmp_path):
    def opened(_: int) -> int:
        made = Store.open(postgres_url, tmp_path, lease=timedelta(seconds=15))
        newest = made.events.newest()
        made.close()
        return newest

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(opened, range(4))) == [0] * 4
