"""How many the hospital says it has, and how far that can be believed."""

from __future__ import annotations

from collections.abc import Callable

from fhir_bridge.simulators import edges
from fhir_bridge.simulators.edges import Edge
from fhir_bridge.simulators.faults.fault import Fault, every_page, small_pages, with_rules
from fhir_bridge.simulators.wire import Resource

OFF_BY = 3


def _page_size(_matched: int, shown: int) -> int:
    return shown


def _none(_matched: int, _shown: int) -> None:
    return None


def _low(matched: int, _shown: int) -> int:
    return max(0, matched - OFF_BY)


def _high(matched: int, _shown: int) -> int:
    return matched + OFF_BY if matched else 0


def _total(name: str, shows: str, total: Callable[[int, int], int | None]) -> Fault:
    return Fault(name, shows, "totals", with_rules(small=True, total=total))


def _count(name: str, shows: str, edge: Callable[[], Edge]) -> Fault:
    return Fault(name, shows, "totals", small_pages, edges.counts, edge)


def _without_self(bundle: Resource) -> Resource:
    return bundle | {"link": [link for link in bundle["link"] if link["relation"] != "self"]}


def _bare_self(bundle: Resource) -> Resource:
    links = [
        link | {"url": link["url"].partition("?")[0]} if link["relation"] == "self" else link
        for link in bundle["link"]
    ]
    return bundle | {"link": links}


ROWS = (
    _total("total-lies", "Bundle.total is the number of entries on the page", _page_size),
    Fault("total-and-count-lie", "Bundle.total and _summary=count are the size of a page", "totals",
          with_rules(small=True, total=_page_size, count=_page_size)),
    _total("total-missing", "no page has a Bundle.total; _summary=count has", _none),
    Fault("totals-missing", "neither a page nor _summary=count has a Bundle.total", "totals",
          with_rules(small=True, total=_none, count=_none)),
    _total("total-too-low", f"Bundle.total is {OFF_BY} too low; _summary=count is right", _low),
    _total("total-too-high", f"Bundle.total is {OFF_BY} too high; _summary=count is right", _high),
    Fault("totals-too-high", f"Bundle.total and _summary=count are {OFF_BY} too high", "totals",
          with_rules(small=True, total=_high, count=_high)),
    _count("count-refused", "_summary=count is refused with 400",
           lambda: edges.refuses(400, "not-supported", "_summary is not known here")),
    Fault("count-ignored", "_summary=count is answered with a page", "totals",
          with_rules(small=True, counts=False)),
    Fault("count-ignored-total-lies", "_summary=count is answered with a page; totals are its size",
          "totals", with_rules(small=True, counts=False, total=_page_size)),
    every_page("self-link-missing", "search pages do not say what was searched",
               lambda: edges.rewrites(lambda _ask, bundle: _without_self(bundle))),
    every_page("self-link-bare", "self links do not repeat the parameters",
               lambda: edges.rewrites(lambda _ask, bundle: _bare_self(bundle))),
)  # fmt: skip
