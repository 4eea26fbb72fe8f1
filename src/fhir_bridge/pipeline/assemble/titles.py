"""What a reader sees of an entry in a table: when, what, from where, in which state."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from fhir_bridge.case.record import Entry
from fhir_bridge.standards.fhir.lenient import first, objects, text
from fhir_bridge.standards.fhir.moments import sort_key
from fhir_bridge.standards.terminology.translate import words

# Where each kind of record says when it is from: the first that is there (R4 element names).
_DATES = (
    "effectiveDateTime",
    "effectivePeriod",
    "started",
    "performedDateTime",
    "performedPeriod",
    "occurrenceDateTime",
    "onsetDateTime",
    "date",
    "authoredOn",
    "issued",
    "recordedDate",
    "period",
    "created",
)
_CODES = ("type", "code", "medicationCodeableConcept", "vaccineCode", "category")
_STATUS = {
    "DocumentReference": "document-status",
    "DiagnosticReport": "report-status",
    "Observation": "report-status",
}


@dataclass(frozen=True, slots=True)
class Shown:
    """One row of a section's table; `date` is the literal of the record, empty if it has none."""

    date: str
    title: str
    source: str
    status: str

    def cells(self) -> tuple[str, str, str, str]:
        """The row as text; a moment is cut to the minute for reading only."""
        return self.date[:16].replace("T", " "), self.title, self.source, self.status


def shown(entry: Entry) -> Shown:
    """What the table says of an entry, from its own words alone."""
    resource = entry.resource
    sources = sorted({key.source for key in entry.sources})
    return Shown(date(resource), title(resource), ", ".join(sources), status(resource))


def newest_first(entry: Entry) -> tuple[int, str]:
    """Sort key: newest first, undated last, then by fullUrl."""
    return -sort_key(date(entry.resource))[0], entry.full_url


def date(resource: Mapping[str, Any]) -> str:
    """When a record is from, as it says itself."""
    if resource.get("resourceType") == "DocumentReference":
        period = first(first(resource.get("context")).get("period"))
        return text(resource.get("date")) or text(period.get("start"))
    for element in _DATES:
        value = resource.get(element)
        literal = value.get("start") or value.get("end") if isinstance(value, Mapping) else value
        if isinstance(literal, str):
            return literal
    return ""


def title(resource: Mapping[str, Any]) -> str:
    """What a record is, in its own words; its type when it has none."""
    kind = str(resource.get("resourceType"))
    own = text(resource.get("description") or resource.get("title"))
    coded = next((t for code in _CODES if (t := concept(resource.get(code)))), "")
    if kind == "ImagingStudy":
        return _study(resource, own)
    value = _value(resource) if kind == "Observation" else ""
    name = (coded or own) if kind in ("Observation", "DiagnosticReport") else (own or coded)
    name = name or _human_name(resource) or kind
    return f"{name}: {value}" if value else name


def status(resource: Mapping[str, Any]) -> str:
    """A record's own status, in plain words where the table has them."""
    own = text(resource.get("docStatus")) or text(resource.get("status"))
    own = own or concept(resource.get("clinicalStatus"))
    table = _STATUS.get(str(resource.get("resourceType")))
    return words(table, own) if table and own else own


def concept(value: object) -> str:
    """A CodeableConcept, or the first of several, in words: text, else display, else code."""
    found = first(value)
    codings = objects(found.get("coding"))
    displays = (text(coding.get("display")) for coding in codings)
    codes = (text(coding.get("code")) for coding in codings)
    return next((one for one in (text(found.get("text")), *displays, *codes) if one), "")


def _study(resource: Mapping[str, Any], own: str) -> str:
    modalities = [text(m.get("code")) for m in objects(resource.get("modality"))]
    plain = ", ".join(dict.fromkeys(words("modality", code) for code in modalities if code))
    count = resource.get("numberOfInstances")
    images = f"{count} image{'' if count == 1 else 's'}" if count is not None else ""
    return ", ".join(part for part in (own or "Imaging study", plain, images) if part)


def _value(resource: Mapping[str, Any]) -> str:
    quantity = first(resource.get("valueQuantity"))
    if quantity:
        parts = (quantity.get("comparator"), quantity.get("value"), quantity.get("unit"))
        return " ".join(str(part) for part in parts if part is not None)
    coded = concept(resource.get("valueCodeableConcept"))
    plain = coded or text(resource.get("valueString"))
    return plain or ", ".join(_components(resource)) or concept(resource.get("dataAbsentReason"))


def _components(resource: Mapping[str, Any]) -> Iterator[str]:
    for component in objects(resource.get("component")):
        yield f"{concept(component.get('code'))} {_value(component)}".strip()


def _human_name(resource: Mapping[str, Any]) -> str:
    name = first(resource.get("name"))
    given = name.get("given")
    words_ = [text(one) for one in given] if isinstance(given, list) else []
    full = " ".join(word for word in (*words_, text(name.get("family"))) if word)
    return text(resource.get("name")) or text(name.get("text")) or full
