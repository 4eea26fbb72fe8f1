"""Every fault of totals shows on the wire what its line says."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import pytest

from fhir_bridge.simulators.faults import totals

from ..small_case import Visit
from .probing import DOCUMENTS, Probe, Probes, count, first, matches, untold


def told(total: Any, counted: Any) -> Probe:
    """`Bundle.total` of a page, the count, and that nothing is missing from the chain."""
    return lambda visit: (
        (first(visit).get("total"), count(visit)) == (total, counted)
        and len(matches(visit.pages(DOCUMENTS))) == 23
    )


def a_page(visit: Visit) -> bool:
    return len(first(visit, f"{DOCUMENTS}&_summary=count")["entry"]) == 5


def self_links(visit: Visit) -> list[str]:
    links = first(visit)["link"]
    return [link["url"] for link in links if link["relation"] == "self"]


PROBES: Probes = {
    "total-lies": told(5, 23),
    "total-and-count-lie": told(5, 5),
    "total-missing": told(None, 23),
    "totals-missing": told(None, None),
    "total-too-low": told(20, 23),
    "total-too-high": told(26, 23),
    "totals-too-high": told(26, 26),
    "count-refused": lambda visit: visit.get(f"{DOCUMENTS}&_summary=count").status_code == 400,
    "count-ignored": lambda visit: a_page(visit) and count(visit) == 23,
    "count-ignored-total-lies": lambda visit: a_page(visit) and count(visit) == 5,
    "self-link-missing": lambda visit: self_links(visit) == [],
    "self-link-bare": lambda visit: (
        self_links(visit) == [f"{visit.urls['fhir']}/DocumentReference"]
    ),
}


@pytest.mark.parametrize("name", PROBES)
def test_a_fault_shows_what_it_says(
    open_hospital: Callable[..., AbstractContextManager[Visit]], name: str
) -> None:
    with open_hospital(name, only="ehr") as visit:
        assert PROBES[name](visit)


def test_every_fault_of_totals_is_looked_at() -> None:
    assert untold(totals.ROWS, PROBES) == set()
