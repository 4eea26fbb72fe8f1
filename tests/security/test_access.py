"""One door to a case: who may, and that it was noted (invariant audit_total, for reads)."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from fhir_bridge.case.case import Case
from fhir_bridge.case.events import Happened
from fhir_bridge.case.identity import Person
from fhir_bridge.errors import CaseUnknown, NotAllowed
from fhir_bridge.security.access import BRIDGE, LOCAL, VISIT, Access, Actor, Purpose, Role

NOW = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
CASE = Case("c1", {}, Person(), "neurology", "?", ("st-anne",), NOW)


class Shelf:
    def get(self, case_id):
        if case_id != "c1":
            raise CaseUnknown
        return CASE


class Diary:
    def __init__(self) -> None:
        self.told = []

    def tell(self, *events):
        self.told += events


@pytest.fixture
def diary():
    return Diary()


@pytest.fixture
def access(diary):
    return Access(Shelf(), diary, lambda: NOW)


MAY = {
    Role.CASE_MANAGER: set(Purpose),
    Role.SPECIALIST: set(Purpose) - {Purpose.COLLECT},
    Role.OPERATOR: set(),
    Role.BRIDGE: set(Purpose),
}


@pytest.mark.parametrize("role", Role)
@pytest.mark.parametrize("purpose", Purpose)
def test_who_may_do_what(access, diary, role, purpose):
    actor = Actor("somebody", frozenset({role}))
    if purpose in MAY[role]:
        assert access.open_case(actor, "c1", purpose) == CASE
        return
    with pytest.raises(NotAllowed):
        access.open_case(actor, "c1", purpose)
    assert diary.told == []


def test_somebody_without_a_role_may_nothing(access):
    for purpose in Purpose:
        with pytest.raises(NotAllowed):
            access.open_case(Actor("nobody", frozenset()), "c1", purpose)


def test_every_opening_by_a_person_is_noted_with_its_purpose(access, diary):
    access.open_case(LOCAL, "c1", Purpose.REVIEW)
    (event,) = diary.told
    assert (event.name, event.case_id, event.actor) == (Happened.CASE_READ, "c1", "local")
    assert event.facts == {"purpose": "review"}


def test_a_page_that_keeps_itself_fresh_is_one_visit(diary):
    now = [NOW]
    access = Access(Shelf(), diary, lambda: now[0])
    for seconds in (0, 1, 2):
        now[0] = NOW + timedelta(seconds=seconds)
        access.open_case(LOCAL, "c1", Purpose.REVIEW)
    assert len(diary.told) == 1
    access.open_case(LOCAL, "c1", Purpose.OPINION)
    now[0] += 2 * VISIT
    access.open_case(LOCAL, "c1", Purpose.REVIEW)
    assert [e.facts["purpose"] for e in diary.told] == ["review", "opinion", "review"]


def test_the_bridges_own_steps_are_noted_by_what_they_change(access, diary):
    access.open_case(BRIDGE, "c1", Purpose.COLLECT)
    assert diary.told == []


def test_a_case_that_is_not_there_is_not_told_from_one_that_is_not_theirs(access, diary):
    """Who may not do it at all learns nothing about which cases exist."""
    outsider = Actor("outsider", frozenset({Role.OPERATOR}))
    for case_id in ("c1", "c9"):
        with pytest.raises(NotAllowed):
            access.open_case(outsider, case_id, Purpose.REVIEW)
    with pytest.raises(CaseUnknown):
        access.open_case(LOCAL, "c9", Purpose.REVIEW)
    assert diary.told == []
