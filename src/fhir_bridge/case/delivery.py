"""Delivered means read back from the chart: the ladder of an opinion's way (TRUTH 5)."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class DeliveryState(StrEnum):
    """The rungs; `confirmed` alone may be printed as delivered."""

    DRAFTED = "drafted"
    SIGNED = "signed"
    QUEUED = "queued"
    SENT = "sent"
    ACCEPTED = "accepted"
    READ_BACK = "read-back"
    CONFIRMED = "confirmed"
    OPENED = "opened"
    REFUSED = "refused"
    UNKNOWN = "unknown"
    HELD = "held"
    MANUAL = "manual"


S = DeliveryState
_NEXT: dict[DeliveryState, frozenset[DeliveryState]] = {
    S.DRAFTED: frozenset({S.SIGNED}),
    S.SIGNED: frozenset({S.QUEUED}),
    S.QUEUED: frozenset({S.SENT, S.HELD, S.MANUAL}),
    S.SENT: frozenset({S.ACCEPTED, S.REFUSED, S.UNKNOWN}),
    S.UNKNOWN: frozenset({S.ACCEPTED, S.QUEUED, S.HELD}),
    S.REFUSED: frozenset({S.QUEUED, S.HELD, S.MANUAL}),
    S.ACCEPTED: frozenset({S.READ_BACK, S.HELD}),
    S.READ_BACK: frozenset({S.CONFIRMED, S.HELD}),
    S.CONFIRMED: frozenset({S.OPENED}),
    S.OPENED: frozenset(),
    S.HELD: frozenset({S.QUEUED, S.MANUAL, S.ACCEPTED}),
    S.MANUAL: frozenset({S.CONFIRMED}),
}


class ReadBack(StrEnum):
    """How what the chart gives back compares with what was signed."""

    EQUAL = "equal"
    REWRITTEN = "rewritten"
    DIFFERENT = "different"


@dataclass(frozen=True, slots=True)
class Delivery:
    """
    One opinion version on its way to one treating provider.

    `identifier` is the urn that idempotency rests on, `location` the id the server gave,
    `attempts` the number of times bytes left, `difference` what was rewritten. `reason` is one
    sentence for the nurse.
    """

    id: str
    case_id: str
    opinion_id: str
    version: int
    destination: str
    identifier: str
    state: DeliveryState = DeliveryState.QUEUED
    attempts: int = 0
    location: str = ""
    read_back: ReadBack | None = None
    difference: str = ""
    reason: str = ""


def may_follow(now: DeliveryState, then: DeliveryState) -> bool:
    """Whether the ladder allows this step."""
    return then in _NEXT[now]
