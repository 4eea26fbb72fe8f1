"""What a specialty needs before review, and which entries of the record provide it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from fhir_bridge import tables
from fhir_bridge.case.case import Case
from fhir_bridge.case.record import Entry
from fhir_bridge.pipeline.assemble.titles import date
from fhir_bridge.standards.fhir.lenient import objects, text
from fhir_bridge.standards.fhir.moments import sort_key
from fhir_bridge.standards.terminology.translate import canonical_system

LOINC = "http://loinc.org"
_MICROSECONDS_A_DAY = 86_400_000_000


@dataclass(frozen=True, slots=True)
class ChecklistItem:
    """
    One thing that must be there. `entries` are the fullUrls that provide it, newest evidence that
    is too old stands in `too_old` instead. `who_to_ask` is a role at the treating provider.
    """

    item: str
    why: str
    who_to_ask: str
    entries: tuple[str, ...]
    too_old: tuple[str, ...] = ()

    @property
    def met(self) -> bool:
        """Whether the record provides it."""
        return bool(self.entries)


def checklist(case: Case, entries: Sequence[Entry]) -> tuple[ChecklistItem, ...]:
    """
    The checklist of the case's specialty against the entries of its record.

    Ages are counted back from the day the case was opened. An undated record is not too old.
    Raises ConfigurationError when the specialty has no table.
    """
    offered = [(entry, frozenset(_tokens(entry))) for entry in entries]
    rows = tables.rows("mappings", "completeness", f"{case.specialty}.csv")
    return tuple(_item(row, offered, case.opened_at) for row in rows)


def _item(
    row: tables.Row, offered: Iterable[tuple[Entry, frozenset[str]]], opened: datetime
) -> ChecklistItem:
    accepted = frozenset(row["accepted"].split())
    found = [entry for entry, tokens in offered if tokens & accepted]
    days = int(row["max_age_days"] or 0)
    old = {entry.full_url for entry in found if days and _age_days(entry, opened) > days}
    return ChecklistItem(
        item=row["item"],
        why=row["why"],
        who_to_ask=row["who_to_ask"],
        entries=tuple(entry.full_url for entry in found if entry.full_url not in old),
        too_old=tuple(sorted(old)),
    )


def _age_days(entry: Entry, opened: datetime) -> int:
    since = sort_key(date(entry.resource))[0]
    if since < 0:
        return 0
    return (sort_key(opened.date().isoformat())[0] - since) // _MICROSECONDS_A_DAY


def _tokens(entry: Entry) -> Iterator[str]:
    """What an entry is, in the words of the table's column `accepted`."""
    resource: Mapping[str, Any] = entry.resource
    yield f"type:{resource['resourceType']}"
    yield f"section:{entry.section}"
    for element in ("type", "code"):
        yield from (
            f"loinc:{code}" for system, code in _codes(resource, element) if system == LOINC
        )
    for system, code in _codes(resource, "category"):
        yield f"category:{code}"
        if system.endswith("v2-0074"):
            yield f"v2-0074:{code}"
    if resource["resourceType"] == "ImagingStudy":
        yield from (f"modality:{one.get('code')}" for one in objects(resource.get("modality")))


def _codes(resource: Mapping[str, Any], element: str) -> Iterator[tuple[str, str]]:
    for concept in objects(resource.get(element)):
        for coding in objects(concept.get("coding")):
            yield canonical_system(text(coding.get("system"))), text(coding.get("code"))
