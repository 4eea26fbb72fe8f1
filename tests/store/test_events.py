"""Events: numbered without end, told only when what they tell of is committed."""

from __future__ import annotations

from dataclasses import replace

import pytest

from fhir_bridge.case.events import Event, Happened
from fhir_bridge.errors import StoreError
from fhir_bridge.store.events import append


@pytest.fixture
def read(at) -> Event:
    return Event(Happened.CASE_READ, "c1", "nurse", at, {"purpose": "review", "count": 3})


def test_numbers_grow_and_are_never_given_twice(store, read, case):
    for _ in range(3):
        store.events.tell(read)
    with store.database.write() as connection:
        connection.exec_driver_sql("DELETE FROM fb_event")
    store.events.tell(read)
    assert [event.number for event in store.events.after(0)] == [4]
    assert store.events.newest() == 4


def test_an_event_comes_back_as_it_was_told(store, read):
    store.events.tell(read)
    assert list(store.events.after(0)) == [replace(read, number=1)]


def test_a_reader_goes_on_where_it_was(store, read):
    elsewhere = replace(read, case_id="c2")
    store.events.tell(read, elsewhere, read)
    assert [e.number for e in store.events.after(1)] == [2, 3]
    assert [e.number for e in store.events.after(0, case_id="c1")] == [1, 3]
    assert [e.number for e in store.events.after(0, limit=1)] == [1]
    assert list(store.events.after(3)) == []


def test_an_event_of_a_change_that_failed_was_never_told(store, read):
    def change() -> None:
        with store.database.write() as connection:
            append(connection, read)
            raise StoreError("power cut")

    with pytest.raises(StoreError):
        change()
    assert store.events.newest() == 0


def test_nothing_has_happened_at_first(store):
    assert store.events.newest() == 0
