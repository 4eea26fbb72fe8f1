"""Asks the tables of mappings/ what a source's code means, and publishes them as ConceptMaps."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from itertools import groupby
from typing import Any

from fhir_bridge import tables

# A LOINC or SNOMED CT code is often sent under its OID: that is another name, not another system.
_CODE_SYSTEMS = "code-systems"


@dataclass(frozen=True, slots=True)
class Matched:
    """What a table says of a code: the target coding, how near it is, and the chart section."""

    system: str
    code: str
    display: str
    equivalence: str
    section: str = ""

    def coding(self) -> dict[str, str]:
        """The target as an R4 Coding."""
        found = {"system": self.system, "code": self.code, "display": self.display}
        return {key: value for key, value in found.items() if value}


@dataclass(frozen=True, slots=True)
class Unmatched:
    """A code that a table does not know; the source's own coding stays as it is."""

    table: str
    system: str
    code: str


def translate(table: str, coding: Mapping[str, Any]) -> Matched | Unmatched:
    """
    What `mappings/<table>.csv` says of one Coding; its system may be written as an OID.

    Raises ConfigurationError for a table that is not there.

    >>> translate("document-type", {"system": "http://loinc.org", "code": "11488-4"}).section
    'course'
    """
    system, code = canonical_system(_text(coding.get("system"))), _text(coding.get("code"))
    return _index(table).get((system, code)) or Unmatched(table, system, code)


def canonical_system(system: str) -> str:
    """
    The one name of a code system.

    >>> canonical_system("urn:oid:2.16.840.1.113883.6.1")
    'http://loinc.org'
    """
    return _aliases().get(system, system)


def words(table: str, code: str) -> str:
    """The words that a table has for a code of its first source system; the code if it has none."""
    return _words(table).get(code, code)


def concept_map(table: str) -> dict[str, Any]:
    """A table as an R4 ConceptMap, published from the rows that the service itself reads."""
    about = maps()[table]
    ordered = sorted(tables.rows("mappings", f"{table}.csv"), key=_systems)
    return {
        "resourceType": "ConceptMap",
        "id": table,
        "url": about["url"],
        "name": "".join(part.capitalize() for part in table.split("-")),
        "title": about["title"],
        "status": "active",
        "date": str(about["reviewed-on"]),
        "publisher": about["owner"],
        "group": [_group(key, list(rows)) for key, rows in groupby(ordered, key=_systems)],
    }


@cache
def maps() -> Mapping[str, Mapping[str, Any]]:
    """What maps.toml says of each table: title, url, owner, when it was reviewed."""
    return tomllib.loads(tables.folder("mappings", "maps.toml").read_text(encoding="utf-8"))


def _systems(row: tables.Row) -> tuple[str, str]:
    return row["source_system"], row["target_system"]


def _group(key: tuple[str, str], rows: list[tables.Row]) -> dict[str, Any]:
    source, target = key
    group: dict[str, Any] = {"source": source, "target": target}
    group = {name: value for name, value in group.items() if value}
    return {**group, "element": [_element(row) for row in rows]}


def _element(row: tables.Row) -> dict[str, Any]:
    target = {
        "code": row["target_code"],
        "display": row["target_display"],
        "equivalence": row["equivalence"],
        "comment": row.get("why", ""),
    }
    element = {"code": row["source_code"], "display": row["source_display"]}
    return {
        **{key: value for key, value in element.items() if value},
        "target": [{key: value for key, value in target.items() if value}],
    }


@cache
def _index(table: str) -> Mapping[tuple[str, str], Matched]:
    return {
        (row["source_system"], row["source_code"]): Matched(
            row["target_system"],
            row["target_code"],
            row["target_display"],
            row["equivalence"],
            row.get("section", ""),
        )
        for row in tables.rows("mappings", f"{table}.csv")
    }


@cache
def _words(table: str) -> Mapping[str, str]:
    found: dict[str, str] = {}
    for row in tables.rows("mappings", f"{table}.csv"):
        found.setdefault(row["source_code"], row["target_display"])
    return found


@cache
def _aliases() -> Mapping[str, str]:
    rows = tables.rows("mappings", f"{_CODE_SYSTEMS}.csv")
    return {row["alias"]: row["system"] for row in rows}


def _text(value: object) -> str:
    return value.strip() if isinstance(value, str) else ""
