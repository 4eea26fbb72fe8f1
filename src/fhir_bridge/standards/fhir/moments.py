"""Dates as FHIR writes them: compared without ever being rewritten."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, timezone
from functools import lru_cache

_INSTANT = re.compile(r"^[1-9]\d{3}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}(?:\.\d+)?(?:Z|[+-]\d{2}:\d{2})$")
_MOMENT = re.compile(
    r"^(\d{4})(?:-(\d{2})(?:-(\d{2})(?:T(\d{2}):(\d{2})(?::(\d{2})(?:\.(\d+))?)?"
    r"(Z|[+-]\d{2}:\d{2})?)?)?)?$"
)


def is_instant(literal: object) -> bool:
    """Whether a literal is a FHIR instant: at least to the second, with its zone (R4 2.24.0.1)."""
    return isinstance(literal, str) and bool(_INSTANT.match(literal)) and sort_key(literal)[0] >= 0


@lru_cache(maxsize=8192)
def sort_key(literal: object) -> tuple[int, str]:
    """
    Where a literal stands in time: (microseconds since the year 1, the literal).

    A partial date stands at its first moment, a missing zone counts as UTC: for order only, never
    shown. What is no date stands before everything.

    >>> sort_key("2026-01") < sort_key("2026-01-01T09:00:00+02:00") < sort_key("2026-02-01")
    True
    >>> sort_key("yesterday")
    (-1, 'yesterday')
    """
    text = literal.strip() if isinstance(literal, str) else ""
    parts = _MOMENT.match(text)
    if not parts:
        return (-1, text)
    year, month, day, hour, minute, second, fraction, zone = parts.groups()
    try:
        moment = datetime(
            int(year), int(month or 1), int(day or 1), int(hour or 0), int(minute or 0),
            min(int(second or 0), 59), int((fraction or "0")[:6].ljust(6, "0")), _zone(zone),
        )  # fmt: skip
        since = moment - datetime(1, 1, 1, tzinfo=UTC)
    except (ValueError, OverflowError):
        return (-1, text)
    return (since // timedelta(microseconds=1), text)


def _zone(text: str | None) -> timezone:
    if text in (None, "Z"):
        return UTC
    hours, minutes = text[1:].split(":")
    offset = timedelta(hours=int(hours), minutes=int(minutes))
    return timezone(-offset if text[0] == "-" else offset)
