"""Our CapabilityStatement, read off the routes themselves, so that it cannot claim more or less."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

from starlette.routing import BaseRoute, Route

from fhir_bridge import __version__

BASE = "/fhir"


def statement(routes: Iterable[BaseRoute], *, url: str, started: datetime) -> dict[str, Any]:
    """
    A CapabilityStatement (R4 2.3.2) of kind instance. `url` is the base that callers use and
    `started` the time since when this statement holds.
    """
    resources = [
        {
            "type": type_,
            "interaction": [{"code": code} for code in codes],
            "versioning": "versioned" if "vread" in codes else "no-version",
        }
        for type_, codes in sorted(interactions(routes).items())
    ]
    return {
        "resourceType": "CapabilityStatement",
        "status": "active",
        "date": started.isoformat(timespec="seconds"),
        "kind": "instance",
        "software": {"name": "fhir-bridge", "version": __version__},
        "implementation": {"description": "Case records of a second opinion programme", "url": url},
        "fhirVersion": "4.0.1",
        "format": ["application/fhir+json"],
        "rest": [{"mode": "server", "resource": resources}],
    }


def interactions(routes: Iterable[BaseRoute]) -> dict[str, Sequence[str]]:
    """The interactions (R4 3.1.0) that the routes below /fhir answer, by resource type."""
    found: dict[str, list[str]] = {}
    for route in routes:
        if not isinstance(route, Route) or not route.path.startswith(f"{BASE}/"):
            continue
        parts = route.path.removeprefix(f"{BASE}/").split("/")
        if parts[0][:1].isupper() and "GET" in (route.methods or ()):
            code = {2: "read", 4: "vread"}.get(len(parts))
            if code:
                found.setdefault(parts[0], []).append(code)
    return {type_: sorted(codes) for type_, codes in found.items()}
