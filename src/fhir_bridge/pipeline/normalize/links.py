"""Where references lead: into the case record, or out of it with a reason."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from fhir_bridge.pipeline.normalize.evidence import Evidence, Name, types
from fhir_bridge.standards.fhir.lenient import objects, text
from fhir_bridge.standards.fhir.references import Form, Literal, literal
from fhir_bridge.standards.fhir.walking import Node

SOURCE_SYSTEM = "urn:fhir-bridge:source:"
URI = "urn:ietf:rfc:3986"

NOT_SENT = "not among the records that this hospital gave us"
ELSEWHERE = "lies on another server"
NO_ADDRESS = "is written in a form that names no record"


@dataclass(frozen=True, slots=True)
class Landing:
    """A reference as it stands in the record; `reason` says why it leads out of it."""

    node: Node
    written: str = ""
    reason: str = ""


@dataclass(slots=True)
class Links:
    """
    The map of a case record: `homes` are the fullUrls of what stands in it (or of what it was
    merged into), `gone` says of what does not stand in it why.
    """

    evidence: Evidence
    homes: dict[Name, str]
    gone: Mapping[Name, str]
    _identified: dict[tuple[str, str], dict[str, set[str]]] = field(default_factory=dict)

    def land(self, node: Node, source: str) -> Landing:
        """Where a reference of a record of `source` leads; nothing is ever invented."""
        target = literal(node)
        match target.form:
            case Form.IDENTIFIER | Form.CONTAINED:
                return Landing(node)
            case Form.URN:
                return self._urn(node, target, source)
            case Form.CONDITIONAL:
                return self._conditional(node, target, source)
            case Form.RELATIVE | Form.ABSOLUTE if target.type in types():
                return self._named(node, target, source)
            case _:
                written = target.id.split("?", 1)[0]
                return Landing(_logical(node, "", {"value": written}), written, NO_ADDRESS)

    def _named(self, node: Node, target: Literal, source: str) -> Landing:
        version = f"/_history/{target.version}" if target.version else ""
        written = f"{target.type}/{target.id}{version}"
        if target.base and target.base not in self.evidence.bases.get(source, ()):
            address = f"{target.base}/{written}"
            return Landing({**node, "reference": address}, address, ELSEWHERE)
        name = (source, target.type, target.id)
        home = self.homes.get(name) or self._patient(name)
        if home:
            return Landing({**node, "reference": home})
        if name in self.gone:
            identifier = {"system": SOURCE_SYSTEM + source, "value": written}
            return Landing(_logical(node, target.type, identifier), written, self.gone[name])
        return Landing({**node, "reference": written}, written, NOT_SENT)

    def _patient(self, name: Name) -> str:
        """The pinned patient, when the source never sent the Patient: the case's own stands in."""
        source, kind, id_ = name
        pinned = kind == "Patient" and id_ == self.evidence.pins.get(source)
        return self.evidence.patient_url if pinned and name not in self.gone else ""

    def _urn(self, node: Node, target: Literal, source: str) -> Landing:
        id_ = target.id.rpartition(":")[2]
        for kind in self.evidence.types_of.get((source, id_), ()):
            name = (source, kind, id_)
            if name in self.homes:
                return Landing({**node, "reference": self.homes[name]})
            if name in self.gone:
                identifier = {"system": SOURCE_SYSTEM + source, "value": f"{kind}/{id_}"}
                return Landing(_logical(node, kind, identifier), target.id, self.gone[name])
        identifier = {"system": URI, "value": target.id}
        return Landing(_logical(node, "", identifier), target.id, NOT_SENT)

    def _conditional(self, node: Node, target: Literal, source: str) -> Landing:
        token = target.id.removeprefix("identifier=")
        homes = self._by_identifier(source, target.type).get(token, set())
        if len(homes) == 1:
            return Landing({**node, "reference": next(iter(homes))})
        system, _, value = token.rpartition("|")
        identifier = {k: v for k, v in (("system", system), ("value", value)) if v}
        written = f"{target.type}?{target.id}"
        return Landing(_logical(node, target.type, identifier), written, NOT_SENT)

    def _by_identifier(self, source: str, kind: str) -> dict[str, set[str]]:
        """`system|value` -> the fullUrls that carry it, made when first asked for."""
        if (source, kind) not in self._identified:
            index: dict[str, set[str]] = {}
            for token, home in self._identifiers(source, kind):
                index.setdefault(token, set()).add(home)
            self._identified[source, kind] = index
        return self._identified[source, kind]

    def _identifiers(self, source: str, kind: str) -> Iterator[tuple[str, str]]:
        for key, sighted in self.evidence.records.items():
            home = self.homes.get((source, kind, key.id))
            if home and (key.source, key.kind) == (source, kind):
                for found in objects(sighted.resource.get("identifier")):
                    yield f"{text(found.get('system'))}|{text(found.get('value'))}", home


def _logical(node: Node, type_: str, identifier: Mapping[str, str]) -> Node:
    """A reference without an address: what it names stays readable (R4 2.3.0.2)."""
    kept = {key: value for key, value in node.items() if key not in ("reference", "_reference")}
    if type_ in types():
        kept.setdefault("type", type_)
    kept.setdefault("identifier", dict(identifier))
    return kept
