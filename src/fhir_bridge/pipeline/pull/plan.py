"""
The plan of a pull: endpoint profile x CapabilityStatement x what a case needs -> slices.

Every fact about a vendor is a row of mappings/providers; here is only how rows become questions.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from urllib.parse import parse_qsl

from fhir_bridge import tables
from fhir_bridge.case.certificate import Evidence
from fhir_bridge.case.slice import IMAGES, Page, Slice
from fhir_bridge.pipeline.pull import again
from fhir_bridge.pipeline.pull.source import Ehr, Offers, Source

ANY = "any"
CORE, OFFERED, NEVER = "core", "offered", "never"
NOT_OFFERED = "the hospital does not offer this by FHIR"
BY_PARTS = "asked part by part, because the hospital refuses the whole question"
KNOWN_LIE = "total-is-page-size"
CANCELLED = "the pull was cancelled"
# `fhirVersion` as servers write it -> the word of the tables.
_VERSIONS = {"1.0": "DSTU2", "3.0": "STU3", "4.0": "R4", "4.1": "R4B", "4.3": "R4B", "5.0": "R5"}
Pairs = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Search:
    """
    One question to a provider: a resource type (or `Type/$operation`) and its own parameters.

    `need` says what it is to the case: `core` (documents, reports, studies), `beside` (what a
    reviewer needs next to them), `offered` (asked only where it is declared), `never`.
    """

    type: str
    parameters: str
    need: str

    @property
    def name(self) -> str:
        """The name of its slice."""
        return f"{self.type}?{self.parameters}" if self.parameters else self.type

    @property
    def pairs(self) -> Pairs:
        """The parameters, decoded."""
        return tuple(parse_qsl(self.parameters))


def vendor_of(offers: Offers, base: str) -> str:
    """
    Which vendor's rules hold, from the statement and the base URL by `vendors.csv`; else empty.

    A hint: the operator's own word (`provider add --vendor`) wins.
    """
    said = {
        "software": offers.software.lower(),
        "publisher": offers.publisher.lower(),
        "url": f"{offers.url} {base}".lower(),
    }
    rows = tables.rows("mappings", "providers", "vendors.csv")
    return next((r["vendor"] for r in rows if r["contains"] in said[r["element"]]), "")


def version_of(offers: Offers) -> str:
    """
    The FHIR version that an endpoint speaks, as the tables write it; R4 when it says nothing.

    >>> from types import SimpleNamespace
    >>> version_of(SimpleNamespace(fhir_version="3.0.2"))
    'STU3'
    """
    return _VERSIONS.get(".".join(offers.fhir_version.split(".")[:2]), "R4")


def searches(vendor: str, version: str) -> Sequence[Search]:
    """What is asked of such an endpoint: a vendor's rows take the place of the general ones."""
    general, own = _rows(ANY, version), _rows(vendor, version)
    replaced = {search.type for search in own}
    merged: list[Search] = []
    for search in general:
        if search.type not in replaced:
            merged.append(search)
        else:
            merged += [one for one in own if one.type == search.type]
    return merged


def _rows(vendor: str, version: str) -> Sequence[Search]:
    if not _has(vendor, "searches.csv"):
        return []
    rows = tables.rows("mappings", "providers", vendor, "searches.csv")
    return [
        Search(r["type"], r["parameters"], r["need"]) for r in rows if version in r["fhir"].split()
    ]


def rule(vendor: str, name: str) -> str:
    """A vendor's rule, else the general one, else empty: `rule("epic", "total")`."""
    for folder in (vendor, ANY):
        if _has(folder, "rules.csv"):
            for row in tables.rows("mappings", "providers", folder, "rules.csv"):
                if row["rule"] == name:
                    return row["value"]
    return ""


def _has(vendor: str, file: str) -> bool:
    place = tables.folder("mappings", "providers") / vendor / file
    return bool(vendor) and place.is_file()


def core() -> Sequence[str]:
    """The slices that every certificate speaks of, even when nothing could be asked."""
    return [search.name for search in _rows(ANY, "R4") if search.need == CORE]


def begin(source: Source, ehr: Ehr, run: int, full: bool = False) -> Sequence[str]:
    """
    Start the slices of this run; returns the names of those that are open.

    A slice that was begun by a run that was killed goes on where it stood. What an earlier run has
    listed completely is asked only for its changes, unless the `full` list is wanted.
    """
    offers = ehr.capability()
    vendor = source.vendor or vendor_of(offers, ehr.base)
    known = {s.type: s for s in source.shelf.slices(source.case.id, source.id)}
    how = again.NONE if full else rule(vendor, "increment")
    blank = Slice(source.case.id, source.id, "", run=run)
    patient, page_size = source.pin().patient_id, rule(vendor, "page-size")
    is_known_liar = rule(vendor, "total") == "page-size"
    begun = []
    for search in searches(vendor, version_of(offers)):
        before = known.get(search.name)
        if before is not None and before.run == run:
            continue
        fresh = _fresh(blank, patient, offers, search, page_size)
        if fresh is not None:
            if is_known_liar or fresh.kind in source.lies:
                fresh = replace(fresh, evidence=replace(fresh.evidence, findings=(KNOWN_LIE,)))
            begun.append(again.narrowed(fresh, before, offers, how, source.now()))
    source.shelf.begin(begun, {("Patient", patient)})
    now = source.shelf.slices(source.case.id, source.id)
    return [one.type for one in now if one.question and one.run == run and not one.ended]


def _fresh(
    blank: Slice, patient: str, offers: Offers, search: Search, page_size: str
) -> Slice | None:
    """The slice of a search; None for one that nobody misses where it is not offered."""
    counted = () if "$" in search.type else (("_count", page_size),)
    question = (("patient", patient), *search.pairs, *counted)
    fresh = replace(blank, type=search.name, question=question)
    if not _is_offered(offers, search):
        if search.need == OFFERED:
            return None
        fresh = replace(fresh, ended=True, evidence=Evidence(not_asked=NOT_OFFERED))
    return fresh


def _is_offered(offers: Offers, search: Search) -> bool:
    kind, _, operation = search.type.partition("/$")
    if operation:
        return operation in offers.operations.get(kind, frozenset())
    # A statement without any types says nothing; then we ask and see.
    declared = not offers.interactions or "search-type" in offers.interactions.get(kind, ())
    return declared and search.need != NEVER


def split(source: Source, refused: Slice) -> bool:
    """
    Ask a refused question part by part, where the table knows its parts; True when it does.

    US Core allows a server to demand a category or a status and to answer 400 without it.
    """
    own = [search for search in _parts(refused.type) if "?" not in refused.type]
    for search in own:
        question = (*(p for p in refused.question if p[0] != "_count"), *search.pairs)
        counted = tuple(pair for pair in refused.question if pair[0] == "_count")
        part = replace(
            refused, type=search.name, question=(*question, *counted), ended=False,
            evidence=Evidence(), cursor="", pages=0, visited=(), previous="", since="",
        )  # fmt: skip
        source.shelf.turn(Page(part))
    if own:
        aside = replace(refused, ended=True, evidence=Evidence(not_asked=BY_PARTS))
        source.shelf.turn(Page(aside))
    return bool(own)


def _parts(type_: str) -> Iterator[Search]:
    for row in tables.rows("mappings", "providers", ANY, "parts.csv"):
        if row["type"] == type_:
            yield Search(type_, row["parameters"], "beside")


def leave_out(source: Source, run: int, *, not_asked: str = "", refused: str = "") -> None:
    """End every question that cannot be asked in this run; what came earlier stays counted."""
    known = _questions(source)
    for name in dict.fromkeys([*core(), *known]):
        now = known.get(name) or Slice(source.case.id, source.id, name)
        evidence = replace(now.evidence, not_asked=not_asked, refused=refused)
        source.shelf.turn(Page(replace(now, run=run, ended=True, evidence=evidence)))


def cancel(source: Source) -> None:
    """A person ends the pull: what was begun is broken off, what was not begun was not asked."""
    images = source.shelf.slice(source.case.id, source.id, IMAGES)
    for now in (*_questions(source).values(), *filter(None, [images])):
        if not now.ended:
            begun = CANCELLED if now.pages or now is images else ""
            evidence = replace(now.evidence, broken=begun, not_asked="" if begun else CANCELLED)
            source.shelf.turn(Page(replace(now, ended=True, evidence=evidence)))


def _questions(source: Source) -> Mapping[str, Slice]:
    """The slices that are FHIR searches, by name."""
    slices = source.shelf.slices(source.case.id, source.id)
    return {s.type: s for s in slices if s.question or s.type in core()}
