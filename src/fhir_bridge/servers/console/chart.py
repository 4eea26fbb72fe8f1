"""The case record as the specialist reads it: the Composition's sections, made readable."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from fhir_bridge.errors import NotReady
from fhir_bridge.servers.console import nouns, papers
from fhir_bridge.servers.console.kept import Kept
from fhir_bridge.standards.fhir import json, narrative
from fhir_bridge.store.records import StoredRecord
from fhir_bridge.store.shelves import Store

_MAX_BYTES = 1024 * 1024 * 1024
_OPENS = frozenset({"DocumentReference", "DiagnosticReport"})


@dataclass(frozen=True, slots=True)
class ChartEntry:
    """One entry of a section. `opens` says that it has a page of its own."""

    ref: str
    kind: str
    title: str
    date: str
    note: str
    opens: bool


@dataclass(frozen=True, slots=True)
class ChartSection:
    """A section in reading order, with a harmless narrative."""

    anchor: str
    title: str
    code: str
    html: Markup
    entries: tuple[ChartEntry, ...]


@dataclass(frozen=True, slots=True)
class Chart:
    """A version of the case record, read for people. `resources` are its entries by fullUrl."""

    title: str
    date: str
    sections: tuple[ChartSection, ...]
    resources: Mapping[str, Mapping[str, Any]]


class Charts:
    """Case records as read lately; a version never changes, so its hash is the key."""

    def __init__(self) -> None:
        self._kept = Kept[Chart](4)

    def of(self, store: Store, record: StoredRecord) -> Chart:
        """The chart of a version."""
        chart = self._kept.get(record.sha256)
        if chart is None:
            document = json.load_object(store.records.document(record), max_bytes=_MAX_BYTES)
            chart = read(document)
            self._kept.put(record.sha256, chart)
        return chart

    def newest(self, store: Store, case_id: str) -> Chart | None:
        """The chart of the newest version, or None while there is none."""
        try:
            return self.of(store, store.records.get(case_id))
        except NotReady:
            return None


def read(document: Mapping[str, Any]) -> Chart:
    """Read a FHIR document (R4 3.3)."""
    resources = {
        str(entry.get("fullUrl", "")): entry.get("resource") or {}
        for entry in document.get("entry") or ()
    }
    composition = next(iter(resources.values()), {})
    found = list(_sections(composition.get("section") or (), resources, "s"))
    return Chart(
        title=str(composition.get("title", "")),
        date=str(composition.get("date", "")),
        sections=tuple(found),
        resources=resources,
    )


def _sections(
    sections: Sequence[Mapping[str, Any]],
    resources: Mapping[str, Mapping[str, Any]],
    anchor: str,
) -> Iterator[ChartSection]:
    for index, section in enumerate(sections, 1):
        text = section.get("text")
        div = str(text.get("div", "")) if isinstance(text, Mapping) else ""
        here = f"{anchor}{index}"
        yield ChartSection(
            anchor=here,
            title=str(section.get("title", "")) or papers.concept(section.get("code")),
            code=next(iter(codes(section.get("code"))), ""),
            html=Markup(narrative.shown(div)),  # noqa: S704 (freed of everything that could act)
            entries=tuple(_entries(section.get("entry") or (), resources)),
        )
        yield from _sections(section.get("section") or (), resources, f"{here}-")


def _entries(
    references: Iterable[Mapping[str, Any]], resources: Mapping[str, Mapping[str, Any]]
) -> Iterator[ChartEntry]:
    for reference in references:
        full_url = str(reference.get("reference", ""))
        resource = resources.get(full_url)
        if resource is None:
            continue
        kind = str(resource.get("resourceType", ""))
        yield ChartEntry(
            ref=full_url.removeprefix("urn:uuid:"),
            kind=nouns.things(kind, 1),
            title=papers.title(resource) or nouns.things(kind, 1).capitalize(),
            date=papers.date(resource),
            note=str(resource.get("conclusion") or ""),
            opens=kind in _OPENS,
        )


def codes(concept: object) -> Sequence[str]:
    """The codes of a CodeableConcept."""
    codings = concept.get("coding") if isinstance(concept, Mapping) else None
    return [str(c.get("code", "")) for c in codings or () if isinstance(c, Mapping)]
