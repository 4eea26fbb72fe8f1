"""What the tables add: a LOINC coding behind the source's own, and the section of the chart."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any

from fhir_bridge import tables
from fhir_bridge.pipeline.normalize.evidence import types
from fhir_bridge.standards.fhir.lenient import objects, text
from fhir_bridge.standards.terminology.translate import (
    Matched,
    canonical_system,
    translate,
)

DOCUMENT_TYPE = "document-type"
REPORT_CATEGORY = "report-category"
_TYPED = {"DocumentReference": "type", "DiagnosticReport": "code", "Composition": "type"}


def typed(resource: Mapping[str, Any]) -> tuple[dict[str, Any], str]:
    """
    The element that names a document's type with our coding added, and a note when none is known.

    Answers ({}, note) when nothing is to be added. The source's codings stay first and untouched.
    """
    element = _TYPED.get(str(resource.get("resourceType")), "")
    concept = resource.get(element) if element else None
    if not isinstance(concept, dict):
        return {}, ""
    codings = objects(concept.get("coding"))
    match = next(_matches(DOCUMENT_TYPE, codings), None)
    if match is None:
        known = resource["resourceType"] == "DiagnosticReport"
        return {}, "" if known else "its type is not in the table of document types"
    present = {(canonical_system(text(c.get("system"))), text(c.get("code"))) for c in codings}
    if (match.system, match.code) in present:
        return {}, ""
    return {element: {**concept, "coding": [*codings, match.coding()]}}, ""


def section(resource: Mapping[str, Any]) -> str:
    """The chart section of a record: by type, by category, by resource type; empty for none."""
    kind = str(resource.get("resourceType"))
    return (
        _by_type(resource, kind)
        or (_by_category(resource) if kind == "DiagnosticReport" else _by_rule(resource, kind))
        or types().get(kind, {}).get("section", "")
    )


def _by_type(resource: Mapping[str, Any], kind: str) -> str:
    concept = resource.get(_TYPED.get(kind, ""))
    codings = objects(concept.get("coding")) if isinstance(concept, dict) else []
    return next((m.section for m in _matches(DOCUMENT_TYPE, codings) if m.section), "")


def _by_category(resource: Mapping[str, Any]) -> str:
    codings = list(_category_codings(resource))
    return next((m.section for m in _matches(REPORT_CATEGORY, codings) if m.section), "")


def _by_rule(resource: Mapping[str, Any], kind: str) -> str:
    for coding in _category_codings(resource):
        place = (kind, canonical_system(text(coding.get("system"))), text(coding.get("code")))
        if place in _rules():
            return _rules()[place]
    return ""


def _category_codings(resource: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    for category in objects(resource.get("category")):
        yield from objects(category.get("coding"))


def _matches(table: str, codings: list[dict[str, Any]]) -> Iterator[Matched]:
    for coding in codings:
        found = translate(table, coding)
        if isinstance(found, Matched):
            yield found


@cache
def _rules() -> Mapping[tuple[str, str, str], str]:
    rows = tables.rows("mappings", "section-rules.csv")
    return {(row["resource_type"], row["system"], row["code"]): row["section"] for row in rows}
