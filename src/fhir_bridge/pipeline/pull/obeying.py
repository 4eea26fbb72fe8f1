"""Filtering again: whether an entry answers the question that was asked, as far as can be told."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from urllib.parse import parse_qsl, urlsplit

from fhir_bridge.case.record import Json
from fhir_bridge.standards.fhir.lenient import objects, text
from fhir_bridge.standards.fhir.moments import sort_key
from fhir_bridge.standards.fhir.references import Form, literal

Question = Sequence[tuple[str, str]]
_DAY = 24 * 3600 * 1_000_000
# By the length of a literal: how much time it stands for (R4 2.24.0.1).
_SPANS = {4: 366 * _DAY, 7: 31 * _DAY}
# Clocks and zones differ by up to a day; further off is another date.
_SLACK = _DAY
_NEVER = 1 << 62
# By type, the search parameter of its date (R4 search parameters), and the elements behind it.
DATES: Mapping[str, tuple[str, str]] = {
    "AllergyIntolerance": ("date", "recordedDate"),
    "CarePlan": ("date", "period"),
    "Condition": ("recorded-date", "recordedDate"),
    "DiagnosticReport": ("date", "effective"),
    "DocumentReference": ("date", "date"),
    "Encounter": ("date", "period"),
    "ImagingStudy": ("started", "started"),
    "Immunization": ("date", "occurrence"),
    "Media": ("created", "created"),
    "MedicationRequest": ("authoredon", "authoredOn"),
    "Observation": ("date", "effective"),
    "Procedure": ("date", "performed"),
    "ServiceRequest": ("authored", "authoredOn"),
}
_TOKENS = frozenset({"category", "status", "type", "intent"})
_PACE = frozenset({"_count", "_summary", "_sort", "_format", "_total"})


def is_strangers(resource: Json, patient: str) -> bool:
    """Whether a record names another patient as its own."""
    for name in ("subject", "patient"):
        found = resource.get(name)
        if isinstance(found, dict):
            target = literal(found)
            there = target.form in (Form.RELATIVE, Form.ABSOLUTE) and target.type == "Patient"
            if there and target.id != patient:
                return True
    return False


def strays(resource: Json, question: Question) -> bool:
    """
    Whether a record clearly does not answer the question. What cannot be told is no reproach.

    >>> asked = [("category", "laboratory"), ("date", "ge2020-01-01")]
    >>> strays({"resourceType": "Observation", "category": [{"coding": [{"code": "exam"}]}]}, asked)
    True
    >>> strays({"resourceType": "Observation", "effectiveDateTime": "2021"}, asked)
    False
    """
    return any(_misses(resource, name, value) for name, value in question)


def dropped(question: Question, self_link: str) -> frozenset[str]:
    """
    The parameters that the server does not say it has used (R4 3.1.1.3: the self link).

    >>> sorted(dropped([("patient", "1"), ("category", "x")], "https://ehr.example?patient=1"))
    ['category']
    """
    query = urlsplit(self_link).query if self_link else ""
    used = {name.partition(":")[0].partition(".")[0] for name, _ in parse_qsl(query)}
    asked = {name for name, _ in question} - _PACE
    # A link without any of them is opaque: a session, or a page of a posted search.
    return frozenset(asked - used) if used & asked else frozenset()


def is_checked(name: str, resource: Json) -> bool:
    """Whether an entry by itself shows that it obeys this parameter."""
    if name in ("patient", "subject"):
        return any(isinstance(resource.get(one), dict) for one in ("subject", "patient"))
    if name in _TOKENS:
        return any(_codes(resource.get(name)))
    return name == DATES.get(_kind(resource), ("", ""))[0] and span(resource) is not None


def span(resource: Json) -> tuple[int, int] | None:
    """First and last moment of a record's own date, in microseconds; None for an undated one."""
    return _between(resource, DATES.get(_kind(resource), ("", ""))[1])


def day(resource: Json) -> str:
    """The day of a record as `2024-05-01`, by its own calendar; empty for an undated one."""
    return next((one[:10] for one in _literals(resource) if len(one) >= 10), "")


def _kind(resource: Json) -> str:
    return text(resource.get("resourceType"))


def _misses(resource: Json, name: str, value: str) -> bool:
    if name in _TOKENS:
        return _misses_token(resource.get(name), value)
    if name == DATES.get(_kind(resource), ("", ""))[0]:
        return _misses_date(span(resource), value)
    if name == "_id":
        return text(resource.get("id")) not in value.split(",")
    return False


def _misses_token(element: object, value: str) -> bool:
    """A token, or several: `system|code,code` (R4 3.1.1.4.10)."""
    found = list(_codes(element))
    return bool(found) and not any(_is_in(found, one) for one in value.split(","))


def _is_in(found: Sequence[tuple[str, str]], token: str) -> bool:
    system, bar, code = token.rpartition("|")
    same = [one for one in found if not (bar and system and one[0]) or one[0] == system]
    # Codes of other systems only: the server may know that they mean the same.
    return not same or any(one[1].casefold() == code.casefold() for one in same)


def _codes(element: object) -> Iterator[tuple[str, str]]:
    if isinstance(element, str):
        yield "", element
    for concept in objects(element):
        for coding in objects(concept.get("coding")):
            if text(coding.get("code")):
                yield text(coding.get("system")), text(coding.get("code"))


def _literals(resource: Json) -> Iterator[str]:
    element = DATES.get(_kind(resource), ("", ""))[1]
    if not element:
        return
    for name in (element, f"{element}DateTime", f"{element}Instant"):
        if isinstance(resource.get(name), str):
            yield text(resource[name])
    period = resource.get(element if element == "period" else f"{element}Period")
    if isinstance(period, dict):
        yield from (text(period[end]) for end in ("start", "end") if text(period.get(end)))


def _between(resource: Json, element: str) -> tuple[int, int] | None:
    known = [one for one in _literals(resource) if sort_key(one)[0] >= 0]
    if not known:
        return None
    first, last = sort_key(known[0])[0], _last(known[-1])
    period = resource.get(element if element == "period" else f"{element}Period")
    if isinstance(period, dict):
        first = first if text(period.get("start")) else 0
        last = last if text(period.get("end")) else _NEVER
    return first, last


def _last(literal_: str) -> int:
    return sort_key(literal_)[0] + _SPANS.get(len(literal_), _DAY)


def _misses_date(found: tuple[int, int] | None, value: str) -> bool:
    prefix, limit = (value[:2], value[2:]) if value[:2].isalpha() else ("eq", value)
    at = sort_key(limit)[0]
    if found is None or at < 0:
        return False
    first, last = found
    too_early = last + _SLACK < at
    too_late = first - _SLACK > (at if prefix == "lt" else _last(limit))
    return (prefix in ("ge", "gt", "eq") and too_early) or (
        prefix in ("le", "lt", "eq") and too_late
    )
