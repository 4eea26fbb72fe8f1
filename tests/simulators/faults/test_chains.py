"""Every fault of page chains shows on the wire what its line says."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from email.utils import parsedate_to_datetime
from itertools import pairwise

import httpx2
import pytest

from fhir_bridge.simulators.faults import chains

from ..small_case import DOCUMENTS as HOW_MANY
from ..small_case import Visit
from .probing import DOCUMENTS, Probe, Probes, count, first, matches, second, untold


def fails(*statuses: int) -> Probe:
    """Page 2, asked for again and again."""
    return lambda visit: [second(visit).status_code for _ in statuses] == [*statuses]


def breaks(visit: Visit) -> bool:
    with pytest.raises(httpx2.TransportError):
        second(visit)
    return True


def says(content: bytes) -> Probe:
    return lambda visit: (second(visit).status_code == 200) and content in second(visit).content


def reset_once(visit: Visit) -> bool:
    return breaks(visit) and second(visit).status_code == 200


def waits_for_a_date(visit: Visit) -> bool:
    refused = second(visit)
    until = parsedate_to_datetime(refused.headers["retry-after"]).timestamp()
    return refused.status_code == 429 and 0 <= until - time.time() <= 3


def waits_a_second(visit: Visit) -> bool:
    refused = second(visit)
    return refused.headers["retry-after"] == "1" and second(visit).status_code == 200


def ends_after_page_2(visit: Visit) -> int:
    return len(matches(visit.pages(DOCUMENTS)))


def links(visit: Visit, most: int = 9) -> list[str]:
    """The chain of next links, as far as it is followed."""
    found: list[str] = []
    page = first(visit)
    while (link := Visit.next_of(page)) and len(found) < most:
        found.append(link)
        page = visit.get(link).json()
    return found


def next_link(visit: Visit) -> str:
    return str(Visit.next_of(first(visit)))


def shown(visit: Visit) -> list[str]:
    return matches(visit.pages(DOCUMENTS))


def a_version_later(visit: Visit) -> bool:
    bundles = visit.pages(DOCUMENTS)
    told = [e["resource"] for b in bundles for e in b["entry"] if e["resource"]["id"] == "d-0"]
    return [one["meta"]["versionId"] for one in told] == ["3", "4"]


def two_suppressed(visit: Visit) -> bool:
    page = second(visit).json()
    return len(matches([page])) == 3 and "2 results suppressed" in str(page["entry"][-1])


def takes_its_time(visit: Visit) -> bool:
    began = time.monotonic()
    visit.get(DOCUMENTS)
    return time.monotonic() - began >= chains.SLOW_PAGE_SECONDS


def nothing_at_first(visit: Visit) -> bool:
    bundles = visit.pages(DOCUMENTS)
    return "entry" not in bundles[1] and len(matches(bundles)) == HOW_MANY


def elsewhere(visit: Visit) -> bool:
    link = next_link(visit)
    answer = visit.get(link).json()
    return not link.startswith(visit.base) and answer["total"] == 0 and "link" not in answer


def still_reached(visit: Visit) -> bool:
    link = next_link(visit)
    page = visit.http.get(link).json()
    return link.startswith("HTTP://127.0.0.1:00") and len(matches([page])) == 5


PROBES: Probes = {
    "page-500-once": fails(500, 200, 200),
    "page-500": fails(500, 500, 500),
    "page-410-once": fails(410, 200),
    "page-410": fails(410, 410, 410),
    "page-404-expired": fails(404, 200),
    "page-429-once": waits_a_second,
    "page-429-date": waits_for_a_date,
    "page-503-once": waits_a_second,
    "page-401-once": fails(401, 200),
    "truncated-page": breaks,
    "page-without-length": lambda visit: (
        "content-length" not in (page := second(visit)).headers and not page.content.endswith(b"}")
    ),
    "page-reset": reset_once,
    "page-outcome": says(b'"resourceType":"OperationOutcome"'),
    "page-html-login": says(b"<!DOCTYPE html>"),
    "page-empty-body": lambda visit: second(visit).content == b"",
    "drop-next": lambda visit: ends_after_page_2(visit) == 10 and count(visit) == HOW_MANY,
    "drop-next-no-total": lambda visit: ends_after_page_2(visit) == 10 and count(visit) is None,
    "drop-next-total-agrees": lambda visit: (
        ends_after_page_2(visit) == count(visit) == first(visit)["total"] == 10
    ),
    "loop-next": lambda visit: len(set(links(visit))) == 1,
    "loop-two-pages": lambda visit: len(set(links(visit))) == 2,
    "next-ever-new": lambda visit: len(set(links(visit))) == 9,
    "next-internal-host": lambda visit: next_link(visit).startswith("http://fhir-server:8080/fhir/"),
    "next-internal-path": lambda visit: "://fhir-server:8080/hapi/fhir/" in next_link(visit),
    "next-respelled": still_reached,
    "next-other-origin": elsewhere,
    "next-other-scheme": lambda visit: (
        next_link(visit).startswith("https://" + visit.base.partition("://")[2])
    ),
    "next-relative": lambda visit: next_link(visit).startswith("DocumentReference?_page="),
    "page-empty-with-next": nothing_at_first,
    "window-shifts": lambda visit: (len(shown(visit)), len(set(shown(visit)))) == (23, 21),
    "record-twice": lambda visit: (len(shown(visit)), len(set(shown(visit)))) == (24, 23),
    "out-of-order": lambda visit: (
        len(set(shown(visit))) == HOW_MANY
        and any(int(a[2:]) > int(b[2:]) for a, b in pairwise(shown(visit)))
    ),
    "version-moves": a_version_later,
    "page-suppressed": two_suppressed,
    "slow-pages": takes_its_time,
    "page-size-ignored": lambda visit: len(first(visit, f"{DOCUMENTS}&_count=50")["entry"]) == 3,
}  # fmt: skip


@pytest.mark.parametrize("name", PROBES)
def test_a_fault_shows_what_it_says(
    open_hospital: Callable[..., AbstractContextManager[Visit]], name: str
) -> None:
    with open_hospital(name, only="ehr") as visit:
        assert PROBES[name](visit)


def test_every_fault_of_chains_is_looked_at() -> None:
    assert untold(chains.ROWS, PROBES) == set()
