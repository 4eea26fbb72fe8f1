"""Group commit: one transaction for many, and each caller hears of its own fault alone."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import insert, select

from fhir_bridge.errors import StoreError
from fhir_bridge.store import schema
from fhir_bridge.store.together import Together


def _row(id_):
    def work(connection):
        connection.execute(
            insert(schema.target).values(case_id="c", source="s", kind="Patient", id=id_)
        )

    return work


def _ids(store):
    with store.database.read() as connection:
        return set(connection.execute(select(schema.target.c.id)).scalars())


@pytest.fixture
def commits(store, monkeypatch):
    """How many transactions were made."""
    made, write = [], store.database.write

    def counted():
        made.append(1)
        return write()

    monkeypatch.setattr(store.database, "write", counted)
    return made


def _at_once(together, works):
    """Everything that comes while the first is in its transaction; what each was told."""
    inside, go_on = threading.Event(), threading.Event()

    def slow(connection):
        inside.set()
        go_on.wait(20)

    def told(work):
        try:
            together.write(work)
        except Exception as error:  # noqa: BLE001 (what was told is what is looked at)
            return error
        return None

    with ThreadPoolExecutor(len(works) + 1) as pool:
        first = pool.submit(together.write, slow)
        inside.wait(20)
        rest = [pool.submit(told, work) for work in works]
        while len(together._waiting) < len(works):
            threading.Event().wait(0.005)
        go_on.set()
        first.result()
        return [one.result() for one in rest]


def test_what_comes_during_a_commit_is_committed_together(store, commits):
    works = [_row(f"p{number}") for number in range(8)]
    assert _at_once(Together(store.database), works) == [None] * 8
    assert _ids(store) == {f"p{number}" for number in range(8)}
    assert len(commits) == 2


def test_a_fault_of_one_is_told_to_it_alone_and_its_rows_are_taken_back(store):
    def broken(connection):
        _row("half")(connection)
        raise KeyError("x")

    good, bad, also_good = _at_once(Together(store.database), [_row("a"), broken, _row("b")])
    assert (good, also_good) == (None, None)
    assert isinstance(bad, KeyError)
    assert _ids(store) == {"a", "b"}


def test_a_fault_of_the_commit_is_told_to_all_and_the_next_ones_go_on(store, monkeypatch):
    together, write = Together(store.database), store.database.write

    def full():
        raise StoreError("I/O")

    works = [_row("a"), lambda _: monkeypatch.setattr(store.database, "write", full)]
    assert _at_once(together, works) == [None, None]
    with pytest.raises(StoreError):
        together.write(_row("b"))
    monkeypatch.setattr(store.database, "write", write)
    together.write(_row("c"))
    assert _ids(store) == {"a", "c"}


def test_many_threads_lose_nothing(store):
    together = Together(store.database)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda number: together.write(_row(f"p{number}")), range(100)))
    assert len(_ids(store)) == 100
