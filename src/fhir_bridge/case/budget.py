"""How long a source that is away or busy is tried again: minutes at first, to the deadline."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from fhir_bridge.case.calendar import SATURDAY, business_days_after

BUSINESS_DAYS = 10
FIRST_REST = timedelta(minutes=1)
LONGEST_REST = timedelta(hours=4)


@dataclass(frozen=True, slots=True)
class NextAttempt:
    """
    When a source is tried again, in UTC; `seconds` from now. At the deadline it is `given_up`,
    with the reason in the nurse's words, and the other two say nothing more.
    """

    at: datetime
    seconds: float = 0.0
    given_up: bool = False
    reason: str = ""


def deadline(started: datetime) -> datetime:
    """
    The end of a collection that began at `started`: the same time, 10 business days later.

    >>> deadline(datetime.fromisoformat("2026-11-20T14:30+00:00")).isoformat()
    '2026-12-04T14:30:00+00:00'
    """
    return datetime.combine(business_days_after(started.date(), BUSINESS_DAYS), started.timetz())


def next_attempt(
    started: datetime, now: datetime, failures: int, *, asked_seconds: float = 0.0
) -> NextAttempt:
    """
    After that many failures in a row (at least 1): a minute, twice as long each time, at most 4
    hours, and not before the source itself asked for (`asked_seconds`). The last attempt is made
    at the deadline; after it the source is given up.
    """
    end = deadline(started)
    if now >= end:
        times = "once" if failures == 1 else f"{failures} times in a row"
        reason = f"not to be had in {BUSINESS_DAYS} business days, tried {times}"
        return NextAttempt(now, given_up=True, reason=reason)
    rest = max(_rest(failures), timedelta(seconds=max(asked_seconds, 0.0)))
    at = min(now + rest, end)
    return NextAttempt(at, (at - now).total_seconds())


def _rest(failures: int) -> timedelta:
    # The exponent is bounded: beyond it the rest is the longest one anyway.
    doublings = min(max(failures - 1, 0), 16)
    return min(FIRST_REST * (1 << doublings), LONGEST_REST)


def time_left(started: datetime, now: datetime) -> timedelta:
    """From now to the deadline; nothing once it has passed."""
    return max(deadline(started) - now, timedelta())


def business_days_left(started: datetime, now: datetime) -> int:
    """
    Whole business days that are still to come before the deadline.

    >>> friday, monday = (datetime.fromisoformat(f"2026-11-{d}T09:00+00:00") for d in (20, 23))
    >>> business_days_left(friday, friday), business_days_left(friday, monday)
    (10, 9)
    """
    end = deadline(started).date()
    days = (now.date() + timedelta(days=n) for n in range(1, (end - now.date()).days + 1))
    return sum(day.weekday() < SATURDAY for day in days)


def attempts_left(started: datetime, now: datetime, failures: int) -> int:
    """How many attempts the deadline still leaves room for, if every one of them fails."""
    count = 0
    while not (following := next_attempt(started, now, failures + count)).given_up:
        now, count = following.at, count + 1
    return count
