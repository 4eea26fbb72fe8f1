"""A searchset read safely: what matched, what came along, what the server said about it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from fhir_bridge.errors import NotFhir
from fhir_bridge.standards.fhir import outcome
from fhir_bridge.standards.fhir.outcome import Issue
from fhir_bridge.standards.fhir.references import Form, classify


@dataclass(frozen=True, slots=True)
class PageEntry:
    """
    One resource of a page. `position` is its index in `Bundle.entry`, `base` the server base that
    its relative references hang on, without a trailing slash.
    """

    resource: dict[str, Any]
    full_url: str
    base: str
    position: int


@dataclass(frozen=True, slots=True)
class Page:
    """
    One page of a search (R4 3.1.1). `issues` come from entries of mode outcome, `unreadable` are
    the positions of entries that hold no resource. Links are as the server wrote them.
    """

    matches: tuple[PageEntry, ...] = ()
    included: tuple[PageEntry, ...] = ()
    issues: tuple[Issue, ...] = ()
    unreadable: tuple[int, ...] = ()
    self_link: str = ""
    next_link: str = ""
    total: int | None = None


def read_searchset(body: Mapping[str, Any], base: str) -> Page:
    """
    Read one page; `base` is the endpoint's own base for entries without a fullUrl.

    Raises NotFhir for anything that is not a Bundle of type searchset with a list of entries.
    """
    if body.get("resourceType") != "Bundle" or body.get("type") != "searchset":
        raise NotFhir("the answer to a search is no searchset Bundle")
    entries = body.get("entry", [])
    if not isinstance(entries, list):
        raise NotFhir("Bundle.entry is no list")
    links, total = _links(body.get("link")), body.get("total")
    matches, included, issues, unreadable = _split(entries, base)
    return Page(
        matches=tuple(matches),
        included=tuple(included),
        issues=tuple(issues),
        unreadable=tuple(unreadable),
        self_link=links.get("self", ""),
        next_link=links.get("next", ""),
        total=total if isinstance(total, int) and not isinstance(total, bool) else None,
    )


def _split(
    entries: list[Any], base: str
) -> tuple[list[PageEntry], list[PageEntry], list[Issue], list[int]]:
    matches: list[PageEntry] = []
    included: list[PageEntry] = []
    issues: list[Issue] = []
    unreadable: list[int] = []
    for position, entry in enumerate(entries):
        read = _entry(entry, base, position)
        if read is None:
            unreadable.append(position)
        elif read.resource["resourceType"] == "OperationOutcome":
            issues += outcome.read(read.resource)
        else:
            (included if _mode(entry) == "include" else matches).append(read)
    return matches, included, issues, unreadable


def _entry(entry: object, base: str, position: int) -> PageEntry | None:
    if not isinstance(entry, Mapping):
        return None
    # Seen in the field: the bare resource where the entry should be.
    resource = entry if "resourceType" in entry else entry.get("resource")
    if not isinstance(resource, dict) or not isinstance(resource.get("resourceType"), str):
        return None
    full_url = entry.get("fullUrl")
    full_url = full_url if isinstance(full_url, str) else ""
    return PageEntry(resource, full_url, base_of(full_url, base), position)


def base_of(full_url: str, base: str) -> str:
    """
    The base that an entry's relative references and attachments hang on.

    >>> base_of("https://ehr.example/r4/Patient/1", "https://gateway.example/r4/")
    'https://ehr.example/r4'
    >>> base_of("urn:uuid:6f2b7f0e-5d0c-5a53-9f7e-0b1d6b8f9a41", "https://gateway.example/r4/")
    'https://gateway.example/r4'
    """
    literal = classify(full_url)
    return literal.base if literal.form is Form.ABSOLUTE else base.rstrip("/")


def _mode(entry: Mapping[str, Any]) -> str:
    search = entry.get("search")
    mode = search.get("mode") if isinstance(search, Mapping) else ""
    return mode if isinstance(mode, str) else ""


def _links(links: object) -> dict[str, str]:
    found: dict[str, str] = {}
    for link in links if isinstance(links, list) else ():
        if isinstance(link, Mapping):
            relation, url = link.get("relation"), link.get("url")
            if isinstance(relation, str) and isinstance(url, str):
                found.setdefault(relation, url)
    return found
