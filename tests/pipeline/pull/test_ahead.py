"""One page ahead: asked for once, handed over once, and never in the place of another page."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from fhir_bridge.errors import PageExpired
from fhir_bridge.pipeline.pull import collecting, pages, plan
from fhir_bridge.pipeline.pull.ahead import Ahead

from . import fake_ehr


class _Pages:
    """Answers with the address it was asked for, and notes it."""

    base = fake_ehr.BASE

    def __init__(self) -> None:
        self.asked: list[str] = []

    def follow(self, url: str, *, previous: str) -> Any:
        self.asked.append(url)
        if url == "gone":
            raise PageExpired("HTTP 410")
        return f"{url} after {previous}"


@pytest.fixture
def pool():
    with ThreadPoolExecutor(2) as pool:
        yield pool


def test_a_page_that_was_expected_is_asked_for_once(pool):
    hospital = _Pages()
    ahead = Ahead(hospital, pool)
    ahead.expect("2", "one")
    assert ahead.coming
    assert ahead.follow("2", previous="one") == "2 after one"
    assert not ahead.coming
    assert hospital.asked == ["2"]


def test_another_page_than_the_expected_one_is_asked_for_itself(pool):
    hospital = _Pages()
    ahead = Ahead(hospital, pool)
    ahead.expect("2", "one")
    assert ahead.follow("3", previous="two") == "3 after two"
    assert ahead.follow("2", previous="one") == "2 after one"
    assert sorted(hospital.asked) == ["2", "2", "3"]


def test_what_goes_wrong_on_the_way_is_raised_where_the_page_is_wanted(pool):
    ahead = Ahead(_Pages(), pool)
    ahead.expect("gone", "one")
    with pytest.raises(PageExpired):
        ahead.follow("gone", previous="one")


def _chart(store: Any, case: Any) -> Any:
    documents = [fake_ehr.document(f"d{number}") for number in range(7)]
    ehr = fake_ehr.FakeEhr(store, case.id, [fake_ehr.patient(), *documents], page=2)
    source = fake_ehr.source_of(store, case, ehr)
    plan.begin(source, ehr, 1)
    return source, ehr


def test_the_next_page_is_told_of_before_this_one_is_committed(store, case):
    source, ehr = _chart(store, case)
    told = []

    def expect(url: str, previous: str) -> None:
        now = store.ledgers.slice(case.id, source.id, "DocumentReference")
        told.append((url, previous, now.pages))

    while pages.turn(source, ehr, "DocumentReference", expect):
        now = store.ledgers.slice(case.id, source.id, "DocumentReference")
        assert told[-1] == (now.cursor, now.previous, now.pages - 1)
    assert len(told) == 3, "four pages, and the last one has none after it"


def test_a_chain_asks_for_each_page_once(store, case):
    source, ehr = _chart(store, case)
    while collecting.collect(source, ehr, seconds=0.001).more:
        pass
    assert len(ehr.asked) == len(set(ehr.asked))
