"""The sections of the chart in reading order, each with its own clean narrative."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from fhir_bridge import tables
from fhir_bridge.case.case import Case
from fhir_bridge.case.record import Entry
from fhir_bridge.pipeline.assemble.titles import newest_first, shown, title
from fhir_bridge.standards.fhir.narrative import bullets, div, heading, paragraph, table

LOINC = "http://loinc.org"
SECTION_SYSTEM = "http://fhir-bridge.example/CodeSystem/chart-section"
# LOINC 11503-0 "Medical records" names a collection of a person's records from several origins;
# 34133-9 (summary of episode) would claim an author who summarised, and nobody did.
TYPE = {"system": LOINC, "code": "11503-0", "display": "Medical records"}
_HEADERS = ("Date", "What", "Hospital", "Status")
QUESTION, OTHER, COMPLETENESS = "question", "other", "completeness"


def sections(
    case: Case, entries: Sequence[Entry], also: Sequence[Entry], completeness: Mapping[str, Any]
) -> list[dict[str, Any]]:
    """
    The sections of a case record (R4 13.8). `also` are entries that no section claims and nothing
    refers to; they stand at the end of *other*, so that nothing in the record is unreachable.
    """
    by_key: dict[str, list[Entry]] = {}
    for entry in sorted(entries, key=newest_first):
        by_key.setdefault(entry.section, []).append(entry)
    made = []
    for row in sorted(tables.rows("mappings", "chart-sections.csv"), key=_order):
        key = row["key"]
        body = completeness if key == COMPLETENESS else _body(key, by_key.get(key, []), case, also)
        made.append({"title": row["title"], "code": _code(row), **body})
    return made


def _body(key: str, found: Sequence[Entry], case: Case, also: Sequence[Entry]) -> dict[str, Any]:
    if key == QUESTION:
        asked = (heading(f"Question to {case.specialty}"), paragraph(case.question))
        return _section(found, before=asked)
    return _section(found, also=also if key == OTHER else ())


def _order(row: tables.Row) -> int:
    return int(row["order"])


def _code(row: tables.Row) -> dict[str, Any]:
    ours = {"system": SECTION_SYSTEM, "code": row["key"], "display": row["title"]}
    if not row["loinc_code"]:
        return {"coding": [ours]}
    loinc = {"system": LOINC, "code": row["loinc_code"], "display": row["loinc_display"]}
    return {"coding": [loinc, ours]}


def _section(
    found: Sequence[Entry], *, before: Sequence[str] = (), also: Sequence[Entry] = ()
) -> dict[str, Any]:
    """A table of what the section holds, newest first, and references to it in the same order."""
    rows = [shown(entry).cells() for entry in found]
    parts = [*before, table(_HEADERS, rows) if rows else ""]
    if also:
        named = sorted(f"{e.resource['resourceType']}: {title(e.resource)}" for e in also)
        parts += [heading("Also in this record"), bullets(named)]
    if not any(parts):
        parts = [paragraph("No record of this kind came.")]
    entries = links(entry.full_url for entry in (*found, *also))
    return {"text": narrative(*parts), **({"entry": entries} if entries else {})}


def narrative(*parts: str) -> dict[str, str]:
    """A generated Narrative around parts that are XHTML already."""
    return {"status": "generated", "div": div(*parts)}


def links(full_urls: Iterable[str]) -> list[dict[str, str]]:
    """References to entries of the record."""
    return [{"reference": url} for url in full_urls]
