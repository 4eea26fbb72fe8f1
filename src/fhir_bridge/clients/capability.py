"""What an endpoint says it can do: its CapabilityStatement, read tolerantly, believed later."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

OAUTH_URIS = "http://fhir-registry.smarthealthit.org/StructureDefinition/oauth-uris"


@dataclass(frozen=True, slots=True)
class Capability:
    """
    The server mode of a CapabilityStatement (FHIR R4 capabilitystatement.html): hints, no truth.

    `interactions`, `search_params` and `operations` are by resource type; an operation goes by its
    own name and by the last word of its definition (`docref`), because servers name it freely.
    `system` are the interactions of the whole system (`transaction`, `batch`, ...).
    """

    fhir_version: str = ""
    software: str = ""
    publisher: str = ""
    url: str = ""
    formats: tuple[str, ...] = ()
    interactions: Mapping[str, frozenset[str]] = field(default_factory=dict)
    search_params: Mapping[str, frozenset[str]] = field(default_factory=dict)
    operations: Mapping[str, frozenset[str]] = field(default_factory=dict)
    conditional_create: frozenset[str] = frozenset()
    system: frozenset[str] = frozenset()
    token_endpoint: str = ""

    @classmethod
    def of(cls, statement: Mapping[str, Any]) -> Capability:
        """Read a parsed CapabilityStatement; what has a wrong shape counts as absent."""
        rests = [r for r in _objects(statement, "rest") if r.get("mode", "server") == "server"]
        resources = [r for rest in rests for r in _objects(rest, "resource") if _text(r, "type")]
        return cls(
            fhir_version=_text(statement, "fhirVersion"),
            software=_text(_object(statement, "software"), "name"),
            publisher=_text(statement, "publisher"),
            url=_text(_object(statement, "implementation"), "url"),
            formats=tuple(f for f in _list(statement, "format") if isinstance(f, str)),
            interactions={_text(r, "type"): _names(r, "interaction", "code") for r in resources},
            search_params={_text(r, "type"): _names(r, "searchParam", "name") for r in resources},
            operations={_text(r, "type"): frozenset(_operations(r)) for r in resources},
            conditional_create=frozenset(
                _text(r, "type") for r in resources if r.get("conditionalCreate") is True
            ),
            system=frozenset[str]().union(*(_names(r, "interaction", "code") for r in rests)),
            token_endpoint=next(filter(None, map(_token_endpoint, rests)), ""),
        )

    @property
    def transaction(self) -> bool:
        """Whether several resources can be written at once."""
        return "transaction" in self.system

    def can(self, kind: str, interaction: str) -> bool:
        """Whether the server says so: `can("DocumentReference", "create")`."""
        return interaction in self.interactions.get(kind, frozenset())

    def searches(self, kind: str, parameter: str) -> bool:
        """Whether a search parameter is named for a type."""
        return parameter in self.search_params.get(kind, frozenset())


def _list(parent: Mapping[str, Any], name: str) -> list[Any]:
    value = parent.get(name)
    return value if isinstance(value, list) else []


def _objects(parent: Mapping[str, Any], name: str) -> Iterator[Mapping[str, Any]]:
    return (value for value in _list(parent, name) if isinstance(value, dict))


def _object(parent: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    value = parent.get(name)
    return value if isinstance(value, dict) else {}


def _text(parent: Mapping[str, Any], name: str) -> str:
    value = parent.get(name)
    return value if isinstance(value, str) else ""


def _names(parent: Mapping[str, Any], children: str, name: str) -> frozenset[str]:
    return frozenset(filter(None, (_text(child, name) for child in _objects(parent, children))))


def _operations(resource: Mapping[str, Any]) -> Iterator[str]:
    for operation in _objects(resource, "operation"):
        yield _text(operation, "name").removeprefix("$")
        definition = operation.get("definition")
        # DSTU2 and STU3 have a Reference here, R4 a canonical.
        place = _text(definition, "reference") if isinstance(definition, dict) else definition
        if isinstance(place, str):
            yield place.partition("|")[0].rpartition("/")[2].rpartition("-")[2]


def _token_endpoint(rest: Mapping[str, Any]) -> str:
    for extension in _objects(_object(rest, "security"), "extension"):
        if extension.get("url") == OAUTH_URIS:
            for part in _objects(extension, "extension"):
                if part.get("url") == "token":
                    return _text(part, "valueUri")
    return ""
