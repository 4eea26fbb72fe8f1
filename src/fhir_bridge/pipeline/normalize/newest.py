"""The newest moment that the evidence itself carries: the time of the record, by no clock."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from fhir_bridge.pipeline.normalize.evidence import Evidence, name_of
from fhir_bridge.pipeline.normalize.studies import Study
from fhir_bridge.standards.fhir.moments import is_instant, sort_key

_ELEMENTS = ("date", "issued", "effectiveDateTime", "authoredOn", "recordedDate", "started")
NEVER = "1970-01-01T00:00:00Z"


def newest(evidence: Evidence, studies: Iterable[Study]) -> str:
    """
    The newest instant of the evidence, as it was written.

    `meta.lastUpdated` counts before anything else, being the only time that a server vouches for;
    without it the newest date of the records; without any the first instant of 1970.
    """
    records = evidence.records.items()
    resources = [one.resource for key, one in records if name_of(key) not in evidence.own]
    stamped = [u for r in resources if is_instant(u := _updated(r))]
    if stamped:
        return max(stamped, key=sort_key)
    dates = [d for r in (*resources, *(s.resource for s in studies)) for d in _dates(r)]
    latest = max(dates, key=sort_key, default="")
    return latest if is_instant(latest) else _as_instant(latest)


def _updated(resource: Mapping[str, Any]) -> str:
    meta = resource.get("meta")
    updated = meta.get("lastUpdated") if isinstance(meta, Mapping) else None
    return updated if isinstance(updated, str) else ""


def _dates(resource: Mapping[str, Any]) -> Iterator[str]:
    for element in _ELEMENTS:
        value = resource.get(element)
        if isinstance(value, str) and sort_key(value)[0] >= 0:
            yield value


def _as_instant(date: str) -> str:
    # Bundle.timestamp needs an instant: a date of the evidence stands at the end of its precision
    # in UTC. Only the record's own timestamp is written so, never a value of a record.
    day = date[:10]
    return f"{day}T00:00:00Z" if len(day) == 10 else NEVER
