"""What this specialty needs before review (mappings/completeness), held against what is here."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

from fhir_bridge import tables
from fhir_bridge.case.case import SPECIALTIES, Case, CaseState
from fhir_bridge.servers.console import papers
from fhir_bridge.servers.console.chart import Chart, codes
from fhir_bridge.servers.console.show import literal_day
from fhir_bridge.servers.console.words import Saying, State
from fhir_bridge.store.shelves import Store


@dataclass(frozen=True, slots=True)
class Need:
    """One item that the specialty asks for, and whether something here answers it."""

    item: str
    why: str
    saying: Saying


@dataclass(frozen=True, slots=True)
class _Here:
    """What a record answers to (`loinc:11526-1`, `modality:CT`, ...), and its date."""

    tokens: frozenset[str]
    date: str


def needs(store: Store, case: Case, chart: Chart | None) -> Sequence[Need]:
    """The checklist of the case's specialty, in the table's order."""
    if case.specialty not in SPECIALTIES:
        return ()
    sighted = store.ledgers.sighted(case.id) if chart is None else ()
    resources = [s.resource for s in sighted] if chart is None else list(chart.resources.values())
    here = [_here(resource) for resource in resources] + _sections(chart)
    here += [_Here(frozenset({f"modality:{m}"}), "") for m in _modalities(store, case.id)]
    rows = tables.rows("mappings", "completeness", f"{case.specialty}.csv")
    # Nobody is asked for what may still arrive.
    over = case.state not in (CaseState.OPEN, CaseState.COLLECTING)
    today = case.opened_at.date()
    return [_need(row, here, today=today, over=over) for row in rows]


def _need(row: Mapping[str, str], here: Iterable[_Here], *, today: date, over: bool) -> Need:
    wanted = set(row["accepted"].split())
    found = [record for record in here if wanted & record.tokens]
    item = row["item"][:1].upper() + row["item"][1:]
    if not found:
        if not over:
            return Need(item, row["why"], Saying(State.WAITING, "Not here yet."))
        text = f"Not here. Ask: {row['who_to_ask']}."
        return Need(item, row["why"], Saying(State.NEEDS, text, "Missing"))
    newest = max(record.date for record in found)
    text = f"Newest of {literal_day(newest)}." if newest else "Here."
    limit = row["max_age_days"]
    age = _age(newest, today)
    if limit and age is not None and age > int(limit):
        text += f" Wished for: not older than {limit} days."
    return Need(item, row["why"], Saying(State.DONE, text, "Here"))


def _age(literal_date: str, today: date) -> int | None:
    try:
        return (today - date.fromisoformat(literal_date[:10])).days
    except ValueError:
        return None


def _here(resource: Mapping[str, Any]) -> _Here:
    kind = str(resource.get("resourceType", ""))
    tokens = {f"type:{kind}"}
    for place in ("type", "code"):
        tokens |= {f"loinc:{code}" for code in codes(resource.get(place))}
    categories = resource.get("category")
    for category in categories if isinstance(categories, list) else ():
        for code in codes(category):
            tokens |= {f"category:{code}", f"v2-0074:{code}"}
            if code in ("LAB", "laboratory", "LP29693-6"):
                tokens.add("section:laboratory")
    return _Here(frozenset(tokens), papers.date(resource))


def _sections(chart: Chart | None) -> list[_Here]:
    rows = tables.rows("mappings", "chart-sections.csv")
    by_code = {row["loinc_code"]: row["key"] for row in rows if row["loinc_code"]}
    return [
        _Here(frozenset({f"section:{by_code[section.code]}"}), max(e.date for e in section.entries))
        for section in (chart.sections if chart else ())
        if section.code in by_code and section.entries
    ]


def _modalities(store: Store, case_id: str) -> Iterable[str]:
    return {instance.modality for instance in store.images.of_case(case_id)}
