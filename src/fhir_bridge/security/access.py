"""The one door to a case: every reader and changer of a case comes through here."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Protocol

from fhir_bridge.case.case import Case
from fhir_bridge.case.events import Event, Happened
from fhir_bridge.errors import NotAllowed


class Role(StrEnum):
    """What a principal is; one may hold several."""

    CASE_MANAGER = "case-manager"
    SPECIALIST = "specialist"
    OPERATOR = "operator"
    BRIDGE = "bridge"


class Purpose(StrEnum):
    """Why a case is opened."""

    COLLECT = "collect"
    REVIEW = "review"
    OPINION = "opinion"


@dataclass(frozen=True, slots=True)
class Actor:
    """Who acts: a name for audit (no patient data) and roles."""

    name: str
    roles: frozenset[Role]


_MAY = {
    Purpose.COLLECT: {Role.CASE_MANAGER, Role.BRIDGE},
    Purpose.REVIEW: {Role.CASE_MANAGER, Role.SPECIALIST, Role.BRIDGE},
    Purpose.OPINION: {Role.CASE_MANAGER, Role.SPECIALIST, Role.BRIDGE},
}
VISIT = timedelta(minutes=5)
LOCAL = Actor("local", frozenset({Role.CASE_MANAGER, Role.SPECIALIST, Role.OPERATOR}))
BRIDGE = Actor("bridge", frozenset({Role.BRIDGE}))


class CaseShelf(Protocol):
    """Where cases are."""

    def get(self, case_id: str) -> Case:
        """The case; raises CaseUnknown."""


class Diary(Protocol):
    """Where events are told."""

    def tell(self, *events: Event) -> None:
        """Append events."""


class Access:
    """Opens cases for people and systems, and notes that it did."""

    def __init__(self, cases: CaseShelf, diary: Diary, now: Callable[[], datetime]) -> None:
        self._cases, self._diary, self._now = cases, diary, now
        self._noted: dict[tuple[str, str, Purpose], datetime] = {}

    def open_case(self, actor: Actor, case_id: str, purpose: Purpose) -> Case:
        """The case, if this actor may open it for this purpose; raises CaseUnknown, NotAllowed."""
        if not _MAY[purpose] & actor.roles:
            raise NotAllowed(f"{purpose.value} is not for {actor.name}")
        case = self._cases.get(case_id)
        if Role.BRIDGE not in actor.roles:
            self._note(actor, case_id, purpose)
        return case

    def _note(self, actor: Actor, case_id: str, purpose: Purpose) -> None:
        """A page that keeps itself fresh reads the case every second: that is one visit."""
        now, visit = self._now(), (actor.name, case_id, purpose)
        before = self._noted.get(visit)
        if before is None or now - before > VISIT:
            self._noted[visit] = now
            facts = {"purpose": purpose.value}
            self._diary.tell(Event(Happened.CASE_READ, case_id, actor.name, now, facts))
