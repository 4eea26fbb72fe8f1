"""What normalization starts from: each record once, its versions, what the tables say of types."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache, cached_property

from fhir_bridge import tables
from fhir_bridge.case.case import Case
from fhir_bridge.case.ids import bridge_id, urn
from fhir_bridge.case.ledger import RecordKey
from fhir_bridge.case.record import Sighted
from fhir_bridge.standards.fhir import json
from fhir_bridge.standards.fhir.moments import sort_key

Name = tuple[str, str, str]


@dataclass(frozen=True)
class Evidence:
    """
    Everything sighted for a case, in an order that does not depend on its arrival.

    `records` has each key once, sorted. `bases` are the addresses under which a source is known,
    `pins` the patient id there, `own` the records that are the bridge's own opinions.
    """

    case: Case
    pins: Mapping[str, str]
    records: Mapping[RecordKey, Sighted]
    bases: Mapping[str, frozenset[str]]
    own: frozenset[Name] = frozenset()

    @cached_property
    def types_of(self) -> Mapping[tuple[str, str], tuple[str, ...]]:
        """(source, id) -> the types that have such an id, for references that name no type."""
        found: dict[tuple[str, str], set[str]] = {}
        for key in self.records:
            found.setdefault((key.source, key.id), set()).add(key.kind)
        return {place: tuple(sorted(types)) for place, types in found.items()}

    @property
    def patient_url(self) -> str:
        """The fullUrl of the case's own Patient, which the case manager entered."""
        return urn(bridge_id(self.case.id, "Patient", "case"))

    def pinned(self, source: str) -> Sighted | None:
        """The newest Patient that a source sent of the pinned id."""
        return self._pinned.get(source)

    @cached_property
    def _pinned(self) -> Mapping[str, Sighted]:
        found: dict[str, Sighted] = {}
        for key, sighted in self.records.items():
            if key.kind == "Patient" and key.id == self.pins.get(key.source):
                found[key.source] = max(sighted, found.get(key.source, sighted), key=age)
        return found


def gather(
    case: Case,
    sighted: Iterable[Sighted],
    pins: Mapping[str, str],
    own: Iterable[Name] = (),
) -> Evidence:
    """The evidence of a case; of several sightings with one key the same one is always taken."""
    records: dict[RecordKey, Sighted] = {}
    bases: dict[str, set[str]] = {}
    for one in sighted:
        known = records.get(one.key)
        records[one.key] = one if known is None else _same(known, one)
        bases.setdefault(one.key.source, set()).add(one.base.rstrip("/"))
    return Evidence(
        case=case,
        pins=pins,
        records=dict(sorted(records.items())),
        bases={source: frozenset(found - {""}) for source, found in bases.items()},
        own=frozenset(own),
    )


def _same(known: Sighted, other: Sighted) -> Sighted:
    if known.resource == other.resource:
        return min(known, other, key=lambda one: one.base)
    return min(known, other, key=lambda one: (json.dumps(one.resource), one.base))


def name_of(key: RecordKey) -> Name:
    """A record whatever its version."""
    return key.source, key.kind, key.id


def age(sighted: Sighted) -> tuple[tuple[int, str], int, str, bytes]:
    """How new a version is: by `meta.lastUpdated`, then by a numeric version, then by its bytes."""
    meta = sighted.resource.get("meta")
    updated = meta.get("lastUpdated") if isinstance(meta, Mapping) else None
    version = sighted.key.version
    number = int(version) if version.isdecimal() and len(version) < 19 else -1
    return sort_key(updated), number, version, json.dumps(sighted.resource)


def newest_of_each(evidence: Evidence) -> dict[Name, Sighted]:
    """Of each record its newest version."""
    versions: dict[Name, list[Sighted]] = {}
    for key, sighted in evidence.records.items():
        versions.setdefault(name_of(key), []).append(sighted)
    return {
        name: found[0] if len(found) == 1 else max(found, key=age)
        for name, found in versions.items()
    }


@cache
def types() -> Mapping[str, tables.Row]:
    """The R4 resource types and what the table says of each."""
    return {row["type"]: row for row in tables.rows("mappings", "resource-types.csv")}
