"""What is known of a provider's endpoint: learned from pulls, told to the engineer in words."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, TypeVar

T = TypeVar("T", int, str)


@dataclass(frozen=True, slots=True)
class Standing:
    """
    An endpoint as the store remembers it. `failures` in a row, and no attempt before
    `next_attempt_at`; `facts` are what `Profile` reads.
    """

    facts: Mapping[str, Any] = field(default_factory=dict)
    failures: int = 0
    next_attempt_at: datetime | None = None
    updated_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Profile:
    """
    A learned endpoint profile.

    By type: `page_size` (entries of its largest page) and `totals` (`trusted`, `lies`, `absent`,
    `unproven`). `throttled_by_hour` counts the answers 429 and 503 by the hour of the day in UTC.
    `window` is how many requests at once it bears, `scope_syntax` is `v1` or `v2`, `accept` the
    ways of asking that were answered in JSON. Unknown is empty.
    """

    page_size: Mapping[str, int] = field(default_factory=dict)
    totals: Mapping[str, str] = field(default_factory=dict)
    refused: tuple[str, ...] = ()
    not_offered: tuple[str, ...] = ()
    scope_syntax: str = ""
    accept: tuple[str, ...] = ()
    median_ms: int | None = None
    window: int | None = None
    throttled_by_hour: Mapping[int, int] = field(default_factory=dict)
    last_success_at: str = ""
    last_refusal_at: str = ""
    last_refusal_code: str = ""
    failures: int = 0
    next_attempt_at: datetime | None = None

    @classmethod
    def of(cls, standing: Standing) -> Profile:
        """Read what the store holds; a fact of a wrong shape counts as unknown."""
        facts = standing.facts
        hours = _mapping(facts.get("throttled_by_hour"), int)
        return cls(
            page_size=_mapping(facts.get("page_size"), int),
            totals=_mapping(facts.get("totals"), str),
            refused=_texts(facts.get("refused")),
            not_offered=_texts(facts.get("not_offered")),
            scope_syntax=_text(facts.get("scope_syntax")),
            accept=_texts(facts.get("accept")),
            median_ms=_number(facts.get("median_ms")),
            window=_number(facts.get("window")),
            throttled_by_hour={int(h): n for h, n in hours.items() if h.isdecimal()},
            last_success_at=_text(facts.get("last_success_at")),
            last_refusal_at=_text(facts.get("last_refusal_at")),
            last_refusal_code=_text(facts.get("last_refusal_code")),
            failures=standing.failures,
            next_attempt_at=standing.next_attempt_at,
        )

    def quiet_hours(self) -> tuple[int, ...]:
        """Hours of the day (UTC) without any 429; empty while there never was one."""
        if not self.throttled_by_hour:
            return ()
        return tuple(h for h in range(24) if not self.throttled_by_hour.get(h))

    def facts(self) -> dict[str, Any]:
        """The whole profile as JSON values, in the words of this class."""
        return {
            "page_size": dict(self.page_size),
            "totals": dict(self.totals),
            "refused": list(self.refused),
            "not_offered": list(self.not_offered),
            "scope_syntax": self.scope_syntax,
            "accept": list(self.accept),
            "median_ms": self.median_ms,
            "window": self.window,
            "throttled_by_hour": {str(h): n for h, n in sorted(self.throttled_by_hour.items())},
            "quiet_hours": list(self.quiet_hours()),
            "last_success_at": self.last_success_at,
            "last_refusal_at": self.last_refusal_at,
            "last_refusal_code": self.last_refusal_code,
            "failures": self.failures,
            "next_attempt_at": _moment(self.next_attempt_at),
        }

    def words(self) -> tuple[tuple[str, str], ...]:
        """(what, what we know) for the engineer, in the order of a pull."""
        return (
            ("login scopes", self.scope_syntax or "not seen yet"),
            ("answers JSON when asked for", ", ".join(self.accept) or "not seen yet"),
            ("page size", _by_type(self.page_size)),
            ("totals", _by_type(self.totals)),
            ("types refused", ", ".join(self.refused) or "none"),
            ("types not offered", ", ".join(self.not_offered) or "none"),
            ("usual answer", "not seen yet" if self.median_ms is None else f"{self.median_ms} ms"),
            ("requests at once", str(self.window or "not seen yet")),
            ("asked us to slow down", _throttled(self.throttled_by_hour)),
            ("quiet hours (UTC)", hour_ranges(self.quiet_hours()) or "not known"),
            ("last success", self.last_success_at or "none yet"),
            ("last refusal", f"{self.last_refusal_at} {self.last_refusal_code}".strip() or "none"),
            ("next attempt", self._next()),
        )

    def _next(self) -> str:
        if self.next_attempt_at is None:
            return "at any time"
        times = "1 failure" if self.failures == 1 else f"{self.failures} failures"
        return f"not before {_moment(self.next_attempt_at)} ({times} in a row)"


def hour_ranges(hours: Iterable[int]) -> str:
    """
    Hours of the day as ranges, each up to but without its end.

    >>> hour_ranges([0, 1, 2, 9, 22, 23])
    '00-03, 09-10, 22-24'
    """
    ranges: list[list[int]] = []
    for hour in sorted(hours):
        if ranges and ranges[-1][1] == hour:
            ranges[-1][1] += 1
        else:
            ranges.append([hour, hour + 1])
    return ", ".join(f"{begin:02}-{end:02}" for begin, end in ranges)


def _throttled(by_hour: Mapping[int, int]) -> str:
    if not by_hour:
        return "never"
    worst = max(by_hour, key=lambda hour: (by_hour[hour], -hour))
    return f"{sum(by_hour.values())} times, most between {hour_ranges([worst])} UTC"


def _by_type(values: Mapping[str, object]) -> str:
    if not values:
        return "not seen yet"
    if len(set(map(str, values.values()))) == 1:
        return f"{next(iter(values.values()))} (every type seen)"
    return ", ".join(f"{kind} {value}" for kind, value in sorted(values.items()))


def _moment(at: datetime | None) -> str:
    return "" if at is None else at.astimezone(UTC).isoformat(timespec="seconds")


def _mapping(value: object, kind: type[T]) -> dict[str, T]:
    if not isinstance(value, Mapping):
        return {}
    return {str(k): v for k, v in value.items() if isinstance(v, kind)}


def _texts(value: object) -> tuple[str, ...]:
    return tuple(v for v in value if isinstance(v, str)) if isinstance(value, list) else ()


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _number(value: object) -> int | None:
    return value if isinstance(value, int) else None
