"""One hospital a fault, without login, and what a client sees of it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import httpx2

from fhir_bridge.simulators.faults import FAULTS

from ..small_case import Visit

DOCUMENTS, REPORTS = "DocumentReference?patient=p-1", "DiagnosticReport?patient=p-1"
JSON = {"accept": "application/fhir+json"}
Probe = Callable[[Visit], bool]
Probes = Mapping[str, Probe]


def untold(rows: Sequence[Any], probes: Iterable[str], elsewhere: Iterable[str] = ()) -> set[str]:
    """Faults of a family without a probe, and probes without a fault."""
    return {row.name for row in rows} ^ {*probes, *elsewhere}


def names() -> set[str]:
    """Every fault there is."""
    return {fault.name for fault in FAULTS}


def first(visit: Visit, query: str = DOCUMENTS) -> dict[str, Any]:
    """The first page."""
    found: dict[str, Any] = visit.get(query).json()
    return found


def second(visit: Visit, query: str = DOCUMENTS) -> httpx2.Response:
    """The answer to the first page's next link."""
    link = Visit.next_of(first(visit, query))
    assert link is not None
    return visit.get(link)


def matches(bundles: Sequence[Mapping[str, Any]]) -> list[str]:
    """The ids of all matches."""
    return [
        entry["resource"]["id"]
        for bundle in bundles
        for entry in bundle.get("entry", ())
        if entry.get("search", {}).get("mode") == "match"
    ]


def issues(bundle: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The issues of all outcome entries."""
    return [
        issue
        for entry in bundle.get("entry", ())
        if entry["resource"]["resourceType"] == "OperationOutcome"
        for issue in entry["resource"]["issue"]
    ]


def count(visit: Visit, query: str = DOCUMENTS) -> Any:
    """What `_summary=count` says."""
    return visit.get(f"{query}&_summary=count").json().get("total")


def document(visit: Visit, identity: str = "d-1") -> dict[str, Any]:
    """A document as it is read; d-1 is the first that faults of one document change."""
    found: dict[str, Any] = visit.get(f"DocumentReference/{identity}").json()
    return found


def attachment(visit: Visit) -> dict[str, Any]:
    """The first attachment of that document."""
    found: dict[str, Any] = document(visit)["content"][0]["attachment"]
    return found
