"""A Patient resource read as a person: what the identity rules compare."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from fhir_bridge.case.identity import Identifier, Person
from fhir_bridge.standards.fhir.lenient import objects, text


def person(patient: Mapping[str, Any]) -> Person:
    """
    The facts of a Patient (R4 8.1), leniently: whatever is malformed is missing.

    `replaced` is true for a record that is inactive or links to the one that replaces it.
    """
    name = _best_name(objects(patient.get("name")))
    return Person(
        identifiers=tuple(_identifiers(patient)),
        family=_family(name),
        given=_given(name),
        birth_date=text(patient.get("birthDate")),
        sex=text(patient.get("gender")),
        id=text(patient.get("id")),
        replaced=_replaced(patient),
    )


def _identifiers(patient: Mapping[str, Any]) -> list[Identifier]:
    return [
        Identifier(text(found.get("system")), text(found.get("value")))
        for found in objects(patient.get("identifier"))
        if text(found.get("value")) and found.get("use") != "old"
    ]


def _given(name: Mapping[str, Any]) -> str:
    given = name.get("given")
    return " ".join(text(one) for one in given).strip() if isinstance(given, list) else text(given)


# The name to compare: the official one, else the usual one, else the first that is not former.
_USE_ORDER = {"official": 0, "usual": 1, "": 2, "temp": 3, "nickname": 4, "anonymous": 5}


def _best_name(names: Sequence[Mapping[str, Any]]) -> Mapping[str, Any]:
    ranked = sorted(
        enumerate(names), key=lambda pair: (_USE_ORDER.get(text(pair[1].get("use")), 9), pair[0])
    )
    return ranked[0][1] if ranked else {}


def _family(name: Mapping[str, Any]) -> str:
    family = name.get("family")
    if isinstance(family, list):  # DSTU2 repeats it
        return " ".join(part for part in family if isinstance(part, str)).strip()
    if isinstance(family, str):
        return family.strip()
    # Only a display text: its last word, unless it is written "family, given".
    words = text(name.get("text"))
    return words.split(",")[0].strip() if "," in words else words.rpartition(" ")[2]


def replacement(patient: Mapping[str, Any]) -> str:
    """
    The reference of the record that stands instead of a Patient (R4 8.1.10), or empty.

    `replaced-by` (DSTU2: `replace`) names it; `refer` does so for a record that is out of use. A
    record in use that refers to another one, or says `seealso`, is still this patient's.
    """
    types = ["replaced-by", "replace", *(["refer"] if patient.get("active") is False else [])]
    links = objects(patient.get("link"))
    for type_ in types:
        for link in links:
            other = link.get("other")
            if link.get("type") == type_ and isinstance(other, Mapping):
                return text(other.get("reference"))
    return ""


def _replaced(patient: Mapping[str, Any]) -> bool:
    links = objects(patient.get("link"))
    return patient.get("active") is False or any(
        link.get("type") in ("replaced-by", "replace") for link in links
    )
