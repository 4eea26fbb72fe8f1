"""The hospital's bad days, one row each: name, what shows, where, and the hooks that do it."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches

from starlette.types import ASGIApp

from fhir_bridge.simulators import edges
from fhir_bridge.simulators.born import Born
from fhir_bridge.simulators.faults import (
    attachments,
    bulk,
    chains,
    creates,
    entries,
    errors,
    images,
    login,
    references,
    totals,
)
from fhir_bridge.simulators.faults.fault import Fault
from fhir_bridge.simulators.rules import Rules

FAULTS: tuple[Fault, ...] = (
    *chains.ROWS,
    *totals.ROWS,
    *entries.ROWS,
    *errors.ROWS,
    *login.ROWS,
    *references.ROWS,
    *attachments.ROWS,
    *images.ROWS,
    *creates.ROWS,
    *bulk.ROWS,
)
NAMES = tuple(fault.name for fault in FAULTS)


def chosen(names: Iterable[str]) -> tuple[Fault, ...]:
    """The rows of these names, in table order; raises ValueError naming some that exist."""
    wanted = set(names)
    if unknown := sorted(wanted - set(NAMES)):
        near = [*get_close_matches(unknown[0], NAMES, 5), "drop-next"]
        raise ValueError(
            f"unknown fault {', '.join(unknown)}; known are {len(NAMES)}, "
            f"among them {', '.join(dict.fromkeys(near))}"
        )
    return tuple(fault for fault in FAULTS if fault.name in wanted)


def rules_with(faults: Iterable[Fault], rules: Rules | None = None) -> Rules:
    """The healthy rules, or a vendor's, changed by each fault."""
    rules = rules or Rules()
    for fault in faults:
        rules = fault.rules(rules)
    return rules


def born_with(faults: Iterable[Fault], born: Born) -> Born:
    """What the chart begins with, changed by each fault."""
    for fault in faults:
        born = fault.born(born)
    return born


def edged(app: ASGIApp, faults: Iterable[Fault], foreign: str = "") -> ASGIApp:
    """The app behind every fault that shows on the wire; `foreign` is another server's origin."""
    for fault in faults:
        if fault.edge is not None:
            app = edges.around(app, fault.reach, fault.edge(), foreign)
    return app
