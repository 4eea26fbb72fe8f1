"""Every fault of the chart shows on the wire what its line says."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import pytest

from fhir_bridge.simulators.faults import references

from ..small_case import Visit
from .probing import DOCUMENTS, Probe, Probes, count, document, untold


def author(visit: Visit) -> dict[str, Any]:
    found: dict[str, Any] = document(visit)["author"][0]
    return found


def reference(visit: Visit) -> str:
    return str(author(visit)["reference"])


def reads(status: int, form: str) -> Probe:
    """The author's reference has this form, and reading it below the base this status."""
    return lambda visit: (
        form in reference(visit) and visit.get(reference(visit)).status_code == status
    )


def inside(visit: Visit) -> bool:
    found = document(visit)
    return bool(found["author"] == [{"reference": f"#{found['contained'][0]['id']}"}])


def merged(visit: Visit) -> bool:
    patient = visit.get("Patient/p-1").json()
    heir = patient["link"][0]["other"]["reference"].rpartition("/")[2]
    moved = count(visit, f"DocumentReference?patient={heir}")
    return (patient["active"], count(visit), moved) == (False, 0, 23)


def found_by_search(visit: Visit) -> bool:
    return bool(count(visit, reference(visit)) == 1)


PROBES: Probes = {
    "patient-merged": merged,
    "reference-missing": reads(404, "Practitioner/never-was"),
    "reference-forbidden": reads(403, "Practitioner/"),
    "reference-contained": inside,
    "reference-urn": lambda visit: reference(visit).startswith("urn:uuid:"),
    "reference-identifier": lambda visit: [*author(visit)] == ["identifier"],
    "reference-conditional": found_by_search,
    "reference-versioned": reads(200, "/_history/1"),
    "reference-absolute": lambda visit: reference(visit).startswith(f"{visit.urls['fhir']}/Pract"),
    "reference-foreign": lambda visit: not reference(visit).startswith(visit.base),
    "entered-in-error": lambda visit: count(visit, f"{DOCUMENTS}&status=entered-in-error") == 2,
    "status-unknown": lambda visit: document(visit)["status"] == "archived",
}


@pytest.mark.parametrize("name", PROBES)
def test_a_fault_shows_what_it_says(
    open_hospital: Callable[..., AbstractContextManager[Visit]], name: str
) -> None:
    with open_hospital(name, only="ehr") as visit:
        assert PROBES[name](visit)


def test_every_fault_of_the_chart_is_looked_at() -> None:
    assert untold(references.ROWS, PROBES, ["two-candidates"]) == set()
