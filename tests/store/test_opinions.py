"""Signed opinions: once, with their deliveries and outgoing work; a ladder without shortcuts."""

from __future__ import annotations

from dataclasses import replace

import pytest

from fhir_bridge.case.case import CaseState
from fhir_bridge.case.delivery import Delivery, DeliveryState, ReadBack
from fhir_bridge.case.events import Event, Happened
from fhir_bridge.case.opinion import Author, Cited, Opinion, Section
from fhir_bridge.errors import StoreError, UsageError, WrongMoment
from fhir_bridge.store.opinions import StoredOpinion

S = DeliveryState
OPINION = Opinion(
    id="op1",
    case_id="c1",
    version=1,
    title="Second opinion",
    author=Author("Dr. A. Example", "neurosurgery", "Programme"),
    date="2026-03-02",
    sections=(Section("Opinion", "Operate, not *now*."),),
    cited=(Cited("urn:uuid:1", "CT", "2", "ab"),),
    record_sha256="cd",
)


def _delivery(destination: str) -> Delivery:
    return Delivery(f"d-{destination}", "c1", "op1", 1, destination, f"urn:uuid:{destination}")


@pytest.fixture
def sign(store, case, at):
    """Signs OPINION for both hospitals; returns whether it was new, and what went out."""

    def signed(opinion: Opinion = OPINION, outbox=None):
        out: list[str] = []
        stored = StoredOpinion(opinion, "doc", "pdf", "nurse", at)
        new = store.opinions.sign(
            stored,
            [replace(_delivery(d), opinion_id=opinion.id) for d in case.providers],
            Event(Happened.OPINION_SIGNED, "c1", "nurse", at),
            outbox=outbox or (lambda _, delivery: out.append(delivery.id)),
        )
        return new, out

    return signed


def test_an_opinion_comes_back_as_it_was_signed(store, sign):
    assert sign() == (True, ["d-st-anne", "d-general"])
    (stored,) = store.opinions.of_case("c1")
    assert stored.opinion == OPINION
    assert store.opinions.opinion("op1") == stored
    assert store.cases.get("c1").state is CaseState.OPINION_SIGNED


def test_a_second_click_signs_and_sends_nothing(store, sign):
    sign()
    before = store.events.newest()
    assert sign() == (False, [])
    assert len(store.opinions.deliveries("c1")) == 2
    assert store.events.newest() == before


def test_another_opinion_under_the_same_version_is_not_taken(store, sign):
    sign()
    assert sign(replace(OPINION, id="op2"))[0] is False
    assert [s.opinion.id for s in store.opinions.of_case("c1")] == ["op1"]


def test_when_the_work_cannot_be_queued_nothing_is_signed(store, sign):
    def fails(*_: object) -> None:
        raise StoreError("no queue")

    with pytest.raises(StoreError):
        sign(outbox=fails)
    assert list(store.opinions.of_case("c1")) == []
    assert list(store.opinions.deliveries("c1")) == []
    assert store.cases.get("c1").state is CaseState.OPEN
    assert store.events.newest() == 0


def _climb(store, delivery: str, at, *states: S, **changed: object) -> Delivery:
    for state in states:
        moved = store.opinions.move(delivery, state, at=at, **changed)
    return moved


def test_each_rung_is_committed_with_its_event(store, sign, at):
    sign()
    before = store.events.newest()
    moved = store.opinions.move("d-general", S.SENT, at=at, attempts=1)
    assert (moved.state, moved.attempts) == (S.SENT, 1)
    (event,) = store.events.after(before)
    assert event.facts == {"delivery": "d-general", "state": "sent", "to": "general"}
    assert store.opinions.moved_at("d-general") == at


@pytest.mark.parametrize("state", [S.ACCEPTED, S.READ_BACK, S.CONFIRMED, S.DRAFTED, S.QUEUED])
def test_a_step_that_the_ladder_does_not_have_is_refused(store, sign, at, state):
    sign()
    before = store.events.newest()
    with pytest.raises(WrongMoment):
        store.opinions.move("d-general", state, at=at, location="DocumentReference/1")
    assert store.opinions.get("d-general") == replace(_delivery("general"), state=S.QUEUED)
    assert store.events.newest() == before


def test_what_was_read_back_comes_back(store, sign, at):
    sign()
    _climb(store, "d-general", at, S.SENT, S.ACCEPTED)
    moved = store.opinions.move(
        "d-general", S.READ_BACK, at=at, read_back=ReadBack.REWRITTEN, difference="title"
    )
    assert (moved.read_back, moved.difference) == (ReadBack.REWRITTEN, "title")
    assert store.opinions.get("d-general") == moved


def test_a_case_is_delivered_only_when_every_chart_shows_the_opinion(store, sign, at):
    sign()
    way = (S.SENT, S.ACCEPTED, S.READ_BACK, S.CONFIRMED)
    _climb(store, "d-general", at, *way)
    assert store.cases.get("c1").state is CaseState.OPINION_SIGNED
    _climb(store, "d-st-anne", at, *way)
    assert store.cases.get("c1").state is CaseState.DELIVERED


def test_what_is_not_there_is_the_callers_slip(store, at):
    with pytest.raises(UsageError):
        store.opinions.get("d9")
    with pytest.raises(UsageError):
        store.opinions.moved_at("d9")
    with pytest.raises(UsageError):
        store.opinions.opinion("op9")
    with pytest.raises(UsageError):
        store.opinions.move("d9", S.SENT, at=at)
