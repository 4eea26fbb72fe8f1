"""Every fault of entries and bodies shows on the wire what its line says."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import pytest

from fhir_bridge.simulators.faults import entries

from ..small_case import Visit
from .probing import DOCUMENTS, Probe, Probes, count, first, issues, matches, untold


def subjects(visit: Visit) -> set[str]:
    found = (entry["resource"] for b in visit.pages(DOCUMENTS) for entry in b["entry"])
    return {one["subject"]["reference"] for one in found}


def self_link(visit: Visit) -> str:
    return next(str(x["url"]) for x in first(visit)["link"] if x["relation"] == "self")


def not_filtered(parameter: str) -> Probe:
    """A filter that nothing can match makes no difference."""
    query = f"{DOCUMENTS}&{parameter}"
    return lambda visit: count(visit, query) == 23 and parameter[:4] not in self_link(visit)


def last(visit: Visit) -> Any:
    return first(visit)["entry"][-1]


def warns(code: str, more: bool) -> Probe:
    def probe(visit: Visit) -> bool:
        page = first(visit)
        (issue,) = issues(page)
        told = issue["details"]["coding"][0]["code"]
        return (told, bool(Visit.next_of(page)), issue["severity"]) == (code, more, "warning")

    return probe


def body(visit: Visit) -> bytes:
    return bytes(visit.get(DOCUMENTS).content)


def only_an_error(visit: Visit) -> bool:
    page = first(visit)
    return page["type"] == "searchset" and [one["severity"] for one in issues(page)] == ["error"]


def in_xml(visit: Visit) -> bool:
    bundle = ET.fromstring(body(visit))
    return len(bundle.findall(".//{http://hl7.org/fhir}DocumentReference")) == 5


def everything_at_once(visit: Visit) -> bool:
    page = first(visit, "Condition?patient=p-1&_count=50")
    return Visit.next_of(page) is None and len(matches([page])) == entries.HUGE_PAGE


OURS, STRANGER = "Patient/p-1", "Patient/stranger"
PROBES: Probes = {
    "other-patient-in-page": lambda visit: subjects(visit) == {OURS, "Patient/somebody-else"},
    "patient-filter-ignored": lambda visit: (
        subjects(visit) == {OURS, STRANGER} and "patient" not in self_link(visit)
    ),
    "patient-filter-ignored-echoed": lambda visit: (
        subjects(visit) == {OURS, STRANGER} and "patient=p-1" in self_link(visit)
    ),
    "category-filter-ignored": not_filtered("category=none-such"),
    "date-filter-ignored": not_filtered("date=ge2099"),
    "one-huge-page": everything_at_once,
    "outcome-only": only_an_error,
    "sub-resources-withheld": warns("59204", more=True),
    "more-data-may-exist": warns("4119", more=False),
    "entry-without-resource": lambda visit: "resource" not in last(visit),
    "entry-no-object": lambda visit: isinstance(last(visit), str),
    "entry-bare": lambda visit: last(visit)["resourceType"] == "DocumentReference",
    "entry-unknown-type": lambda visit: last(visit)["resource"]["resourceType"] == "Horoscope",
    "entry-without-id": lambda visit: "id" not in last(visit)["resource"],
    "xml-answers": in_xml,
    "page-bom": lambda visit: body(visit).startswith(b"\xef\xbb\xbf{"),
    "page-duplicate-keys": lambda visit: body(visit).count(b'"total":') == 2,
    "page-nan": lambda visit: b":NaN," in body(visit),
    "page-deep": lambda visit: body(visit).count(b'{"extension":[') == entries.DEEP,
    "page-latin-1": lambda visit: b"\xfcber" in body(visit),
}


@pytest.mark.parametrize("name", PROBES)
def test_a_fault_shows_what_it_says(
    open_hospital: Callable[..., AbstractContextManager[Visit]], name: str
) -> None:
    with open_hospital(name, only="ehr") as visit:
        assert PROBES[name](visit)


def test_every_fault_of_entries_is_looked_at() -> None:
    assert untold(entries.ROWS, PROBES) == set()
