"""The source's own count: asked for the whole question, and believed only while it may be."""

from __future__ import annotations

from dataclasses import replace

import pytest

from fhir_bridge.case.certificate import Count, Evidence, Grade, grade
from fhir_bridge.case.slice import Slice
from fhir_bridge.errors import ProviderRefused
from fhir_bridge.pipeline.pull.counting import COUNT, TOTAL, counted, recount

from .fake_ehr import FakeEhr, document, source_of

DOCUMENTS = "DocumentReference"


@pytest.fixture
def three(store, case):
    return FakeEhr(store, case.id, [document(f"d{n}") for n in range(3)])


def slice_of(case, **evidence):
    question = (("patient", "p1"), ("_count", "100"), ("_lastUpdated", "ge2026-01-01T00:00:00Z"))
    return Slice(
        case.id, "st-anne", DOCUMENTS, question=question, since="_lastUpdated", ended=True,
        evidence=Evidence(**evidence),
    )  # fmt: skip


def test_an_increment_is_counted_by_the_whole_question(case, three):
    evidence = counted(three, slice_of(case, obtained=3))
    assert three.asked == [f"search {DOCUMENTS} {{'patient': 'p1', '_summary': 'count'}}"]
    assert evidence.counts == (Count(COUNT, 3, after=True),)
    assert grade(evidence) is Grade.CONSISTENT


def test_a_count_below_what_came_is_written_down_and_not_believed(case, three):
    three.counts = 2
    evidence = counted(three, slice_of(case, obtained=3))
    assert [count.trusted for count in evidence.counts] == [False]
    assert "total-too-low" in evidence.findings


def test_a_page_in_place_of_a_count_is_as_good_as_the_totals_of_the_pages(case, three):
    three.counts = "ignored"
    honest = counted(three, slice_of(case, obtained=3))
    assert [count.trusted for count in honest.counts] == [True]
    lied = (Count(TOTAL, 2, trusted=False),)
    doubted = counted(three, slice_of(case, obtained=3, counts=lied))
    assert [count.trusted for count in doubted.counts] == [False, False]


def test_no_answer_is_no_witness_and_no_failure(store, case, three):
    three.counts = "refused"
    with pytest.raises(ProviderRefused):
        counted(three, slice_of(case, obtained=3))
    source = source_of(store, case, three)
    recount(source, three, DOCUMENTS)
    assert store.ledgers.slice(case.id, "st-anne", DOCUMENTS) is None


def test_what_agrees_already_is_not_asked_again(store, case, three, monkeypatch):
    agreed = slice_of(case, obtained=3, counts=(Count(COUNT, 3, after=True),))
    source = source_of(store, case, three)
    monkeypatch.setattr(type(store.ledgers), "slice", lambda *_: agreed)
    recount(source, three, DOCUMENTS)
    monkeypatch.setattr(
        type(store.ledgers), "slice",
        lambda *_: replace(agreed, evidence=Evidence(refused="no")),
    )  # fmt: skip
    recount(source, three, DOCUMENTS)
    assert three.asked == []
