"""The desk: an opinion is signed once, cites what was read, and goes out with its signature."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from fhir_bridge.case.case import CaseState
from fhir_bridge.case.delivery import DeliveryState
from fhir_bridge.case.events import Happened
from fhir_bridge.errors import NotAllowed, UsageError, WrongMoment
from fhir_bridge.security.access import LOCAL, Access, Actor, Role
from fhir_bridge.steps.assembling import Assembling
from fhir_bridge.steps.opinions import TEMPLATE, OpinionDesk, patient_line

TEXT = """---
title: Second opinion
author: A. Example
qualification: Neurosurgeon
organisation: Programme
date: 2026-03-02
---

## Summary of the records

Three letters were read.

## Opinion

Operate, but not now.

## Recommendations

- Repeat the MR in three months.
"""


@dataclass(slots=True)
class Queue:
    """Satisfies Queue: what was put there, and on which connection."""

    put: list[str] = field(default_factory=list)
    waited: list[str] = field(default_factory=list)

    def deliver_in(self, connection: Any, delivery_id: str, again: str = "") -> None:
        assert connection.in_transaction()
        self.put.append(delivery_id)

    def result(self, workflow_id: str) -> dict[str, Any]:
        self.waited.append(workflow_id)
        return {}


@pytest.fixture
def queue():
    return Queue()


@pytest.fixture
def desk(store, hospitals, queue, fake):
    access = Access(store.cases, store.events, lambda: fake.NOW)
    return OpinionDesk(
        store, access, hospitals, queue, lambda: fake.NOW, "Programme", alive=lambda: True
    )


@pytest.fixture
def released(pull, hospitals, store, case, fake):
    """The case with a record that the specialist may read."""
    hospitals.chart = fake.FakeEhr(store, case.id, [fake.patient(), fake.document("d1")])
    pull()
    Assembling(store, lambda: fake.NOW).assemble(case.id)
    return case


def test_a_signed_opinion_goes_out_in_the_same_transaction(desk, queue, store, released):
    id_ = desk.finish_opinion(LOCAL, released.id, TEXT)
    (delivery,) = store.opinions.deliveries(released.id)
    assert queue.put == [delivery.id]
    assert (delivery.opinion_id, delivery.state) == (id_, DeliveryState.QUEUED)
    stored = store.opinions.opinion(id_)
    assert stored.signed_by == "local"
    assert store.opinions.read(stored.pdf).startswith(b"%PDF-")
    assert b"Operate, but not now." in store.opinions.read(stored.document)
    assert store.cases.get(released.id).state is CaseState.OPINION_SIGNED
    assert store.events.after(0, case_id=released.id)[-1].name is Happened.OPINION_SIGNED


def test_a_second_click_signs_nothing_and_sends_nothing(desk, queue, store, released):
    first = desk.finish_opinion(LOCAL, released.id, TEXT)
    assert desk.finish_opinion(LOCAL, released.id, TEXT) == first
    assert len(queue.put) == len(store.opinions.of_case(released.id)) == 1


def test_another_text_is_the_next_version_and_replaces_the_first(desk, store, released):
    first = desk.finish_opinion(LOCAL, released.id, TEXT)
    second = desk.finish_opinion(LOCAL, released.id, TEXT.replace("but not", "and do it"))
    versions = [s.opinion.version for s in store.opinions.of_case(released.id)]
    assert (versions, first != second) == ([2, 1], True)
    document = store.opinions.read(store.opinions.opinion(second).document)
    assert b'"replaces"' in document
    assert [d.version for d in store.opinions.deliveries(released.id)] == [2, 1]


def test_the_opinion_pins_the_record_that_was_read(desk, store, released):
    id_ = desk.finish_opinion(LOCAL, released.id, TEXT)
    assert (
        store.opinions.opinion(id_).opinion.record_sha256 == store.records.get(released.id).sha256
    )


def test_what_is_not_released_cannot_be_signed(desk, queue, case):
    with pytest.raises(WrongMoment):
        desk.finish_opinion(LOCAL, case.id, TEXT)
    assert queue.put == []


def test_a_text_that_cannot_be_signed_says_where(desk, queue, released):
    with pytest.raises(UsageError):
        desk.finish_opinion(LOCAL, released.id, TEXT.replace("author: A. Example", "author:"))
    assert queue.put == []


def test_who_may_not_write_opinions_may_not_sign_one(desk, queue, released):
    with pytest.raises(NotAllowed):
        desk.finish_opinion(Actor("x", frozenset({Role.OPERATOR})), released.id, TEXT)
    assert queue.put == []


def test_a_draft_is_kept_and_a_preview_signs_nothing(desk, queue, store, released):
    assert desk.draft(released.id) == TEMPLATE
    desk.prepare(released.id, TEXT)
    assert desk.draft(released.id) == TEXT
    assert desk.preview_pdf(LOCAL, released.id, TEXT).startswith(b"%PDF-")
    assert (queue.put, list(store.opinions.of_case(released.id))) == ([], [])
    assert store.cases.get(released.id).state is CaseState.RELEASED


def test_a_hospital_without_an_electronic_way_in_is_a_persons_task(
    desk, hospitals, store, released
):
    desk.finish_opinion(LOCAL, released.id, TEXT)
    (delivery,) = store.opinions.deliveries(released.id)
    hospitals.chart = None
    for _ in range(2):
        assert desk.advance(delivery.id) == {"done": True, "state": "manual", "wait": 0}
    assert store.opinions.get(delivery.id).reason


def test_a_worker_that_may_have_been_replaced_sends_nothing(desk, hospitals, store, released):
    desk.finish_opinion(LOCAL, released.id, TEXT)
    (delivery,) = store.opinions.deliveries(released.id)
    before = list(hospitals.asked)
    waits = replace(desk, alive=lambda: False).advance(delivery.id)
    assert (waits["done"], waits["state"]) == (False, "queued")
    assert hospitals.asked == before


def test_nothing_is_sent_again_where_nothing_was_signed(desk, released):
    with pytest.raises(UsageError):
        desk.resend(LOCAL, released.id, "st-anne")


def test_waiting_is_for_the_newest_version_only(desk, queue, store, released):
    desk.finish_opinion(LOCAL, released.id, TEXT)
    desk.finish_opinion(LOCAL, released.id, TEXT.replace("but not", "and do it"))
    desk.wait(released.id)
    assert queue.waited == [f"deliver:{store.opinions.deliveries(released.id)[0].id}"]


def test_the_identity_line_is_the_same_everywhere(case):
    assert patient_line(case) == "DOE, Jane · born 1961-03-14 · female · MRN 00123"
    bare = replace(
        case, person=replace(case.person, given="", birth_date="", sex="", identifiers=())
    )
    assert patient_line(bare) == "DOE"
