"""How values look in the templates: dates, names, sizes; and CSV that no spreadsheet executes."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, date, datetime
from typing import Any

from markdown_it import MarkdownIt
from markupsafe import Markup
from starlette.responses import Response

from fhir_bridge.case.case import Case, TreatingProvider
from fhir_bridge.case.identity import Person
from fhir_bridge.servers.console import nouns, words
from fhir_bridge.standards.fhir import narrative

_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")
_MARKDOWN = MarkdownIt("commonmark", {"html": False})
_NUMBER = re.compile(r"-?\d+(\.\d+)?")


def name(person: Person) -> str:
    """
    A patient as written everywhere.

    >>> name(Person(family="Doe", given="Jane"))
    'DOE, Jane'
    """
    parts = [part for part in (person.family.upper(), person.given) if part]
    return ", ".join(parts) or "No name given"


def number(case: Case, providers: Mapping[str, TreatingProvider]) -> str:
    """The patient's number with its issuer, as far as the case has one."""
    if not case.person.identifiers:
        return ""
    first = case.person.identifiers[0]
    issuer = next((p.name for i, p in providers.items() if i in first.system), "")
    return f"MRN {first.value}" + (f" ({issuer})" if issuer else "")


def identity(case: Case, providers: Mapping[str, TreatingProvider]) -> Sequence[str]:
    """The parts of the identity line behind the name."""
    person = case.person
    born = f"born {person.birth_date}" if person.birth_date else "birth date not given"
    return [part for part in (born, person.sex or "sex not given", number(case, providers)) if part]


def day(value: date | datetime) -> str:
    """
    A day in words.

    >>> day(date(2026, 11, 4))
    '4 Nov 2026'
    """
    return f"{value.day} {value:%b %Y}"


def moment(value: datetime | None) -> str:
    """An absolute time with its zone."""
    if value is None:
        return "never"
    return f"{day(value)}, {value:%H:%M} {value.tzname() or 'UTC'}"


def dashed(value: str) -> str:
    """
    A DICOM date written like a FHIR one, so that two can be compared by eye.

    >>> dashed("19610314")
    '1961-03-14'
    """
    if not re.fullmatch(r"\d{8}", value):
        return value
    return f"{value[:4]}-{value[4:6]}-{value[6:]}"


def clock(value: datetime, now: datetime) -> str:
    """
    A time of today, or with its day.

    >>> clock(datetime(2026, 1, 3, 14, 5, tzinfo=UTC), datetime(2026, 1, 3, tzinfo=UTC))
    '14:05 UTC'
    """
    same = value.date() == now.date()
    return f"{value:%H:%M} {value.tzname() or 'UTC'}" if same else moment(value)


def literal(value: str) -> str:
    """
    A FHIR or DICOM date as precise as it is, with the zone that it came with.

    >>> literal("2026-03"), literal("2026-03-04T10:15:00-05:00"), literal("20260304")
    ('Mar 2026', '4 Mar 2026, 10:15 (-05:00)', '4 Mar 2026')
    """
    value = dashed(value)
    try:
        if re.fullmatch(r"\d{4}-\d\d", value):
            return f"{date.fromisoformat(value + '-01'):%b %Y}"
        if re.fullmatch(r"\d{4}-\d\d-\d\d", value):
            return day(date.fromisoformat(value))
        if "T" in value:
            found = datetime.fromisoformat(value)
            zone = "UTC" if value.endswith(("Z", "+00:00")) else f"({value[-6:]})"
            return f"{day(found)}, {found:%H:%M} {zone}"
    except ValueError:
        return value
    return value


def literal_day(value: str) -> str:
    """
    The day of a literal date, for lists.

    >>> literal_day("2026-03-04T10:15:00-05:00")
    '4 Mar 2026'
    """
    return literal(value[:10]) if "T" in value else literal(value)


def ago(value: datetime, now: datetime) -> str:
    """
    Relative time, for tooltips only.

    >>> ago(datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 1, 3, tzinfo=UTC))
    '2 days ago'
    """
    seconds = (now - value).total_seconds()
    for unit, length in (("day", 86400), ("hour", 3600), ("minute", 60)):
        count = int(seconds // length)
        if count >= 1:
            return f"{count} {unit}{'s' if count > 1 else ''} ago"
    return "just now"


def when(value: datetime | None, now: datetime) -> Markup:
    """A `<time>` element: absolute to read, relative as tooltip."""
    if value is None:
        return Markup("never")
    return Markup('<time datetime="{}" title="{}">{}</time>').format(
        value.isoformat(), ago(value, now), moment(value)
    )


def markdown(text: str) -> Markup:
    """The text of an opinion; raw HTML in it stays text."""
    return Markup(narrative.shown(_MARKDOWN.render(text)))  # noqa: S704 (cleaned by nh3)


FILTERS: Mapping[str, Callable[..., Any]] = {
    "name": name,
    "markdown": markdown,
    "day": day,
    "moment": moment,
    "literal": literal,
    "literal_day": literal_day,
    "when": when,
    "size": words.size,
    "things": nouns.things,
    "counted": nouns.counted,
    "sentence": words.sentence,
}


def cell(value: object) -> str:
    r"""
    One CSV cell; what a spreadsheet would execute as a formula is shown as text.

    >>> cell('=HYPERLINK("x")'), cell("-12.5"), cell("Doe")
    ('\'=HYPERLINK("x")', '-12.5', 'Doe')
    """
    text = "" if value is None else str(value)
    risky = text.lstrip(" ").startswith(_FORMULA) and not _NUMBER.fullmatch(text)
    return f"'{text}" if risky else text


def spreadsheet(
    filename: str, headers: Sequence[str], rows: Iterable[Sequence[object]]
) -> Response:
    """A CSV download; `filename` is ours and carries no patient data."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\r\n")
    writer.writerow(headers)
    writer.writerows([cell(value) for value in row] for row in rows)
    return Response(
        text.getvalue().encode("utf-8-sig"),
        media_type="text/csv; charset=utf-8",
        headers={"Content-Disposition": f'attachment; filename="{filename}"'},
    )


def utc(value: datetime) -> datetime:
    """The same instant in UTC."""
    return value.astimezone(UTC)
