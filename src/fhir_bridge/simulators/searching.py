"""FHIR search, the part an EHR of today offers: which parameters, and what they match."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from fhir_bridge.simulators.wire import Refusal, Resource

_NOT_ABOUT_A_PATIENT = frozenset(
    {
        "Binary",
        "Endpoint",
        "Location",
        "Medication",
        "Organization",
        "Patient",
        "Practitioner",
        "PractitionerRole",
    }
)
_PEOPLE = frozenset({"Patient", "Practitioner"})
_TYPED = frozenset(
    {"Consent", "Device", "DocumentReference", "Encounter", "Location", "Organization", "Specimen"}
)
_DATES: dict[str, tuple[str, ...]] = {
    "AllergyIntolerance": ("recordedDate",),
    "CarePlan": ("period",),
    "Condition": ("recordedDate", "onsetDateTime"),
    "DiagnosticReport": ("effectiveDateTime", "effectivePeriod"),
    "DocumentReference": ("date",),
    "Encounter": ("period",),
    "Immunization": ("occurrenceDateTime",),
    "Observation": ("effectiveDateTime", "effectivePeriod"),
    "Procedure": ("performedDateTime", "performedPeriod"),
}


@dataclass(frozen=True, slots=True)
class Parameter:
    """One search parameter: its FHIR type and the elements that it looks at."""

    name: str
    kind: str
    elements: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Found:
    """What a search matched, the pairs that were understood, and the names that were not."""

    matches: tuple[Resource, ...]
    used: tuple[tuple[str, str], ...]
    ignored: tuple[str, ...]


def parameters(kind: str) -> dict[str, Parameter]:
    """The search parameters of one resource type, by name (R4 search.html)."""
    return {row.name: row for row in _rows(kind)}


def _rows(kind: str) -> Iterator[Parameter]:
    yield Parameter("_id", "token", ("id",))
    yield Parameter("_lastUpdated", "date", ("meta.lastUpdated",))
    # R4 DocumentReference.identifier also finds masterIdentifier.
    masters = ("masterIdentifier",) if kind == "DocumentReference" else ()
    yield Parameter("identifier", "token", ("identifier", *masters))
    if kind not in _NOT_ABOUT_A_PATIENT:
        yield Parameter("patient", "reference", ("subject", "patient"))
        yield Parameter("subject", "reference", ("subject", "patient"))
        yield Parameter("category", "token", ("category",))
        yield Parameter("status", "token", ("status",))
        yield Parameter("code", "token", ("code", "vaccineCode", "medicationCodeableConcept"))
    if kind in _TYPED:
        yield Parameter("type", "token", ("type",))
    if kind in _DATES:
        yield Parameter("date", "date", _DATES[kind])
    if kind == "ImagingStudy":
        yield Parameter("started", "date", ("started",))
    if kind in _PEOPLE:
        yield from _people()


def _people() -> Iterator[Parameter]:
    yield Parameter("family", "string", ("name.family",))
    yield Parameter("given", "string", ("name.given",))
    yield Parameter("name", "string", ("name.family", "name.given", "name.text"))
    yield Parameter("birthdate", "date", ("birthDate",))
    yield Parameter("gender", "token", ("gender",))


def search(resources: Iterable[Resource], kind: str, asked: Sequence[tuple[str, str]]) -> Found:
    """
    The resources that match every parameter; commas within a value mean "or".

    A parameter that this server does not know, or that has no value, is left out and named in
    `ignored` (R4 search.html#errors, lenient). Raises Refusal 400 for an unreadable date.
    """
    known = parameters(kind)
    used = tuple((name, value) for name, value in asked if _known(known, name) and value)
    ignored = tuple(name for name, value in asked if not _known(known, name) or not value)
    tests = [_test(known[name.partition(":")[0]], name, value) for name, value in used]
    matches = tuple(one for one in resources if all(test(one) for test in tests))
    return Found(matches, used, ignored)


def _known(parameters: Mapping[str, Parameter], name: str) -> bool:
    """A parameter of this type, plain or with the one modifier that is understood."""
    base, _, modifier = name.partition(":")
    return base in parameters and modifier in ("", "missing")


def _is_missing(parameter: Parameter, *, wanted: bool) -> Callable[[Resource], bool]:
    """R4 search.html#missing: whether none of the elements has a value."""

    def passes(resource: Resource) -> bool:
        found = (v for path in parameter.elements for v in _values(resource, path.split(".")))
        return (next(found, None) is None) is wanted

    return passes


def _test(parameter: Parameter, name: str, value: str) -> Callable[[Resource], bool]:
    if name.endswith(":missing"):
        return _is_missing(parameter, wanted=value == "true")
    match_one = _MATCHERS[parameter.kind]
    alternatives = [match_one(part) for part in value.split(",")]

    def passes(resource: Resource) -> bool:
        values = [v for path in parameter.elements for v in _values(resource, path.split("."))]
        return any(alternative(v) for alternative in alternatives for v in values)

    return passes


def _values(node: Any, path: Sequence[str]) -> Iterator[Any]:
    """Every value at a path, through lists."""
    if isinstance(node, list):
        for item in node:
            yield from _values(item, path)
    elif not path:
        yield node
    elif isinstance(node, dict) and path[0] in node:
        yield from _values(node[path[0]], path[1:])


def _token(wanted: str) -> Callable[[Any], bool]:
    system, bar, code = wanted.rpartition("|")

    def matches(value: Any) -> bool:
        return any(
            (not code or code == one_code) and (not bar or system == (one_system or ""))
            for one_system, one_code in _codes(value)
        )

    return matches


def _codes(value: Any) -> Iterator[tuple[str | None, str]]:
    """(system, code) of a code, boolean, Coding, CodeableConcept or Identifier."""
    if isinstance(value, dict):
        for coding in value.get("coding", ()):
            yield coding.get("system"), str(coding.get("code", ""))
        for key in ("code", "value"):
            if isinstance(value.get(key), str):
                yield value.get("system"), value[key]
    else:
        yield None, str(value).lower() if isinstance(value, bool) else str(value)


def _reference(wanted: str) -> Callable[[Any], bool]:
    # `patient=ID` means Patient/ID; an absolute URL is matched by its last two parts.
    tail = "/".join(wanted.split("/")[-2:]) if "/" in wanted else f"Patient/{wanted}"

    def matches(value: Any) -> bool:
        reference = value.get("reference", "") if isinstance(value, dict) else ""
        return bool(reference == tail or reference.endswith(f"/{tail}"))

    return matches


def _string(wanted: str) -> Callable[[Any], bool]:
    start = _folded(wanted)
    return lambda value: isinstance(value, str) and _folded(value).startswith(start)


def _folded(text: str) -> str:
    """Without case and accents (R4 search.html#string)."""
    bare = (c for c in unicodedata.normalize("NFD", text) if not unicodedata.combining(c))
    return "".join(bare).casefold()


_DATE = re.compile(
    r"(\d{4})(?:-(\d\d)(?:-(\d\d)(?:T(\d\d):(\d\d)(?::(\d\d)(?:\.\d+)?)?(Z|[+-]\d\d:\d\d)?)?)?)?"
)
_Span = tuple[datetime, datetime]
_COMPARE: dict[str, Callable[[_Span, _Span], bool]] = {
    "eq": lambda have, want: want[0] <= have[0] and have[1] <= want[1],
    "ge": lambda have, want: have[1] > want[0],
    "gt": lambda have, want: have[1] > want[1],
    "le": lambda have, want: have[0] < want[1],
    "lt": lambda have, want: have[0] < want[0],
}


def _date(wanted: str) -> Callable[[Any], bool]:
    prefix, rest = (wanted[:2], wanted[2:]) if wanted[:2] in _COMPARE else ("eq", wanted)
    want = _span(rest)
    if want is None:
        raise Refusal(400, "value", "a date in the search cannot be read")
    compare, wanted_span = _COMPARE[prefix], want

    def matches(value: Any) -> bool:
        have = _period(value) if isinstance(value, dict) else _span(str(value))
        return have is not None and compare(have, wanted_span)

    return matches


def _period(value: dict[str, Any]) -> _Span | None:
    start, end = _span(str(value.get("start", "0001"))), _span(str(value.get("end", "9998")))
    return (start[0], end[1]) if start and end else None


def _span(text: str) -> _Span | None:
    """First instant and first instant after a date of any precision (R4 search.html#date)."""
    match = _DATE.fullmatch(text)
    if match is None:
        return None
    year, month, day, hour, minute, second, zone = match.groups()
    parts = [int(part) for part in (year, month or 1, day or 1, hour or 0, minute or 0)]
    try:
        start = datetime.fromisoformat(
            "{:04}-{:02}-{:02}T{:02}:{:02}:".format(*parts)
            + (second or "00")
            + (zone or "+00:00").replace("Z", "+00:00")
        ).astimezone(UTC)
    except (ValueError, OverflowError):
        return None
    return start, start + _length(start, match)


def _length(start: datetime, match: re.Match[str]) -> timedelta:
    _, month, day, hour, _, second, _ = match.groups()
    if hour:
        return timedelta(seconds=1) if second else timedelta(minutes=1)
    if day:
        return timedelta(days=1)
    months = 1 if month else 12
    year, index = divmod(start.year * 12 + start.month - 1 + months, 12)
    return start.replace(year=year, month=index + 1) - start


_MATCHERS: dict[str, Callable[[str], Callable[[Any], bool]]] = {
    "token": _token,
    "reference": _reference,
    "string": _string,
    "date": _date,
}
