"""Every refusal shows on the wire what its line says, and touches nothing else."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager

import httpx2
import pytest

from fhir_bridge.simulators.faults import errors

from ..small_case import DOCUMENTS as HOW_MANY
from ..small_case import Visit
from .probing import REPORTS, Probe, Probes, count, untold


def reports(status: int, kind: str, content: bytes) -> Probe:
    """Searching and reading reports are refused alike; documents are not."""

    def so(answer: httpx2.Response) -> bool:
        named = answer.headers["content-type"].startswith(kind)
        return answer.status_code == status and named and content in answer.content

    return lambda visit: (
        so(visit.get(REPORTS)) and so(visit.get("DiagnosticReport/r-1")) and others_are_well(visit)
    )


def others_are_well(visit: Visit) -> bool:
    return bool(count(visit) == HOW_MANY)


def none_told_by(body: object) -> Probe:
    return lambda visit: visit.get(REPORTS).json() == body and count(visit, REPORTS) == 3


def metadata(visit: Visit) -> httpx2.Response:
    return visit.get("metadata")


def told_by_an_outcome(visit: Visit) -> bool:
    (entry,) = visit.get(REPORTS).json()["entry"]
    return bool(entry["resource"]["issue"][0]["details"]["coding"][0]["code"] == "4101")


EMPTY = {"resourceType": "Bundle", "type": "searchset"}
FHIR, HTML = "application/fhir+json", "text/html"
PROBES: Probes = {
    "refuse-diagnostic-reports": reports(403, FHIR, b"forbidden"),
    "reports-403-text": reports(403, "text/plain", b"insufficient scope"),
    "reports-401-empty": reports(401, "text/plain", b""),
    "reports-404-unsupported": reports(404, FHIR, b"Unknown resource type"),
    "reports-404-html": reports(404, HTML, b"<title>404"),
    "reports-400-detail": reports(400, "application/json", b'"detail"'),
    "reports-400-information-first": reports(400, FHIR, b'"issue":[{"severity":"information"'),
    "reports-500": reports(500, FHIR, b"exception"),
    "no-reports-no-entry": none_told_by(EMPTY),
    "no-reports-empty-list": none_told_by({**EMPTY, "total": 0, "entry": []}),
    "no-reports-bare-list": none_told_by([]),
    "no-reports-4101": told_by_an_outcome,
    "ehr-503-at-first": lambda visit: (
        [metadata(visit).status_code for _ in range(4)] == [503, 503, 503, 200]
    ),
    "metadata-html": lambda visit: metadata(visit).headers["content-type"] == HTML,
    "metadata-refused": lambda visit: metadata(visit).status_code == 403,
    "metadata-lists-nothing": lambda visit: "rest" not in metadata(visit).json(),
    "metadata-dstu2": lambda visit: metadata(visit).json()["fhirVersion"] == "1.0.2",
    "smart-configuration-missing": lambda visit: (
        visit.get(".well-known/smart-configuration").status_code == 404
    ),
}


@pytest.mark.parametrize("name", PROBES)
def test_a_fault_shows_what_it_says(
    open_hospital: Callable[..., AbstractContextManager[Visit]], name: str
) -> None:
    with open_hospital(name, only="ehr") as visit:
        assert PROBES[name](visit)


def test_every_fault_of_errors_is_looked_at() -> None:
    assert untold(errors.ROWS, PROBES) == set()
