"""One misbehaviour of the hospital: its name, its line of documentation, and its hooks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from fhir_bridge.simulators import edges
from fhir_bridge.simulators.born import Born
from fhir_bridge.simulators.edges import Edge, Reach
from fhir_bridge.simulators.rules import Rules

SMALL_PAGE = 5


def _same_rules(rules: Rules) -> Rules:
    return rules


def _same_chart(born: Born) -> Born:
    return born


@dataclass(frozen=True, slots=True)
class Fault:
    """
    A change of the hospital's rules, of the chart it begins with, an edge on the wire, or several.

    `foreign` asks for somebody else's server beside the hospital.
    """

    name: str
    shows: str
    where: str
    rules: Callable[[Rules], Rules] = _same_rules
    reach: Reach = edges.nothing
    edge: Callable[[], Edge] | None = None
    born: Callable[[Born], Born] = _same_chart
    foreign: bool = False


def small_pages(rules: Rules) -> Rules:
    """Pages of five: a fault of page 2 needs a page 2."""
    return replace(rules, page_default=SMALL_PAGE, page_max=SMALL_PAGE)


def with_rules(*, small: bool = False, **changes: Any) -> Callable[[Rules], Rules]:
    """A change of some rules, perhaps on small pages."""
    return lambda rules: replace(small_pages(rules) if small else rules, **changes)


def follow_up(name: str, shows: str, edge: Callable[[], Edge], *, foreign: bool = False) -> Fault:
    """A fault of the second and later search pages."""
    return Fault(name, shows, "search pages", small_pages, edges.follow_up_pages, edge,
                 foreign=foreign)  # fmt: skip


def every_page(name: str, shows: str, edge: Callable[[], Edge], *, foreign: bool = False) -> Fault:
    """A fault of every search page but those about patients."""
    return Fault(name, shows, "search pages", small_pages, edges.record_searches, edge,
                 foreign=foreign)  # fmt: skip
