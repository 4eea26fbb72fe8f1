"""Business days: the clock of a second opinion."""

from __future__ import annotations

from datetime import date, timedelta

SATURDAY = 5


def business_days_after(start: date, days: int) -> date:
    """
    The date that many business days (Monday to Friday) after `start`.

    >>> business_days_after(date(2026, 11, 20), 10)
    datetime.date(2026, 12, 4)
    """
    current = start
    while days > 0:
        current += timedelta(days=1)
        if current.weekday() < SATURDAY:
            days -= 1
    return current
