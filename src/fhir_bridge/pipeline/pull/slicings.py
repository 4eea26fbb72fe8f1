"""Orthogonal slicings: the same question, cut into parts of which none is left out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from datetime import date, timedelta
from itertools import pairwise
from urllib.parse import urlencode

from fhir_bridge.case.record import Json
from fhir_bridge.pipeline.pull.obeying import DATES, day
from fhir_bridge.standards.fhir.lenient import objects, text

MAX_WINDOWS = 24
YEARS = 5  # of a window where nothing is held yet
# The whole of each required value set (R4): nothing falls between its codes.
STATUSES: Mapping[str, str] = {
    "CarePlan": "draft active on-hold revoked completed entered-in-error unknown",
    "DiagnosticReport": (
        "registered partial preliminary final amended corrected appended cancelled "
        "entered-in-error unknown"
    ),
    "DocumentReference": "current superseded entered-in-error",
    "ImagingStudy": "registered available cancelled entered-in-error unknown",
    "Immunization": "completed entered-in-error not-done",
    "MedicationRequest": (
        "active on-hold cancelled completed entered-in-error stopped draft unknown"
    ),
    "Observation": (
        "registered preliminary final amended corrected cancelled entered-in-error unknown"
    ),
    "Procedure": (
        "preparation in-progress not-done on-hold stopped completed entered-in-error unknown"
    ),
    "ServiceRequest": "draft active on-hold revoked completed entered-in-error unknown",
}
IDS = 40


def by_date(kind: str, held: Sequence[Json], *, each: int, born: str, today: str) -> list[str]:
    """
    Windows of the type's own date, each with about `each` records of those held, as queries.

    Open at both ends, and each begins where the one before it ends, so that nothing falls between.

    >>> held = [{"resourceType": "DocumentReference", "date": f"2024-0{n}-09"} for n in (1, 2, 3)]
    >>> by_date("DocumentReference", held, each=2, born="", today="")
    ['date=lt2024-01-07', 'date=ge2024-01-07&date=lt2024-03-09', 'date=ge2024-03-09']
    """
    name = DATES[kind][0]
    days = Counter(filter(None, map(day, held)))
    bounds = list(_bounds(days, max(each, 1 + days.total() // MAX_WINDOWS)))
    return windows(name, bounds or _years(born, today))


def undated(kind: str) -> str:
    """
    The part of the records without a date (R4 search.html#missing).

    >>> undated("ImagingStudy"), is_undated("started:missing=true"), is_undated("date=ge2024")
    ('started:missing=true', True, False)
    """
    return f"{DATES[kind][0]}:missing=true"


def is_undated(window: str) -> bool:
    """Whether a part asks for the records without a date."""
    return window.partition("=")[0].endswith(":missing")


def windows(name: str, bounds: Sequence[str]) -> list[str]:
    """The windows between bounds, and beyond them."""
    if not bounds:
        return []
    first, last = (f"{name}=lt{bounds[0]}", f"{name}=ge{bounds[-1]}")
    between = [
        urlencode([(name, f"ge{start}"), (name, f"lt{end}")]) for start, end in pairwise(bounds)
    ]
    return [first, *between, last]


def _bounds(days: Counter[str], each: int) -> Iterator[str]:
    """The first bound stands clear of all that is held: who ignores dates is seen there."""
    inside = 0
    for number, one in enumerate(sorted(days)):
        if not number:
            yield _before(one)
        elif inside and inside + days[one] > each:
            yield one
            inside = 0
        inside += days[one]


def _before(one: str) -> str:
    try:
        return (date.fromisoformat(one) - timedelta(days=2)).isoformat()
    except (ValueError, OverflowError):
        return one


def _years(born: str, today: str) -> list[str]:
    if not (born[:4].isdigit() and today[:4].isdigit()):
        return []
    return [f"{year}-01-01" for year in range(int(born[:4]), int(today[:4]) + 1, YEARS)]


def by_status(kind: str) -> list[str]:
    """One part for each status that the type can have."""
    return [f"status={status}" for status in STATUSES.get(kind, "").split()]


def by_category(held: Sequence[Json]) -> list[str]:
    """One part for each category that was seen; what has another one stays unseen."""
    seen = {
        text(coding.get("code"))
        for resource in held
        for concept in objects(resource.get("category"))
        for coding in objects(concept.get("coding"))[:1]
    }
    return [urlencode([("category", code)]) for code in sorted(seen - {""})][:MAX_WINDOWS]


def by_id(ids: Sequence[str]) -> list[str]:
    """Parts of at most IDS ids."""
    parts = (ids[start : start + IDS] for start in range(0, len(ids), IDS))
    return [urlencode([("_id", ",".join(part))]) for part in parts]


def halves(window: str, name: str, days: Sequence[str]) -> list[str]:
    """
    A window of dates cut in two at the middle of what it showed; none when it shows one day only.

    >>> halves("date=lt2024-01-07", "date", ["2020-01-01", "2021-01-01"])
    ['date=lt2021-01-01', 'date=ge2021-01-01&date=lt2024-01-07']
    """
    known = sorted(filter(None, days))
    if not known or known[0] == known[-1]:
        return []
    middle = next((d for d in known[len(known) // 2 :] if d > known[0]), known[-1])
    parts = window.split("&")
    starts = [part for part in parts if part.startswith(f"{name}=ge")]
    ends = [part for part in parts if part.startswith(f"{name}=lt")]
    return [
        "&".join([*starts, f"{name}=lt{middle}"]),
        "&".join([f"{name}=ge{middle}", *ends]),
    ]
