"""Same patient: every edge of every record to a patient, against the pin of its source."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from fhir_bridge.case.identity import Identifier, contradicts
from fhir_bridge.case.record import Sighted
from fhir_bridge.pipeline.normalize.evidence import Evidence, types
from fhir_bridge.standards.fhir.lenient import objects
from fhir_bridge.standards.fhir.person import person
from fhir_bridge.standards.fhir.references import Form, Literal, literal
from fhir_bridge.standards.fhir.walking import Found, Node, Path

PATIENT = "Patient"
_EDGES = frozenset({"subject", "patient"})

ANOTHER = "names another patient than the one confirmed for this hospital"
FOREIGN = "names a patient at another server"
NOBODY = "names no patient, so nothing shows that it is this patient's"
UNPINNED = "came from a hospital where nobody has confirmed who the patient is"
CANNOT_TELL = "names a patient that cannot be told"


def objection(evidence: Evidence, sighted: Sighted, found: Found) -> str:
    """Why a record may not be shown as this patient's; empty when nothing speaks against it."""
    key = sighted.key
    pin = evidence.pins.get(key.source, "")
    if key.kind == PATIENT:
        return "" if pin and key.id == pin else ANOTHER
    verdicts = list(_verdicts(evidence, sighted, found))
    wrong = sorted(v for v in verdicts if v)
    if wrong:
        return wrong[0] if pin else UNPINNED
    if not verdicts and types()[key.kind]["names_patient"] == "yes":
        return NOBODY
    return ""


def _verdicts(evidence: Evidence, sighted: Sighted, found: Found) -> Iterator[str]:
    """One verdict for each edge to a patient: empty for ours, else the objection."""
    for path, node in found.references:
        target = literal(node)
        if _is_edge(path, node, target, sighted):
            yield _verdict(evidence, sighted, node, target)


def _is_edge(path: Path, node: Node, target: Literal, sighted: Sighted) -> bool:
    if PATIENT in (target.type, node.get("type")):
        return True
    if target.form is Form.CONTAINED:
        return _contained(sighted, target.id).get("resourceType") == PATIENT
    untyped = target.form in (Form.IDENTIFIER, Form.URN, Form.OTHER) and not node.get("type")
    return untyped and path[-1] in _EDGES


def _verdict(evidence: Evidence, sighted: Sighted, node: Node, target: Literal) -> str:
    source, verdict = sighted.key.source, CANNOT_TELL
    match target.form:
        case Form.RELATIVE | Form.ABSOLUTE:
            verdict = _of_address(evidence, source, node, target)
        case Form.URN:
            verdict = _of_urn(evidence, source, target)
        case Form.CONTAINED:
            patient = person(_contained(sighted, target.id))
            verdict = ANOTHER if contradicts(evidence.case.person, patient) else ""
        case Form.CONDITIONAL:
            system, _, value = target.id.removeprefix("identifier=").rpartition("|")
            named = Identifier(system, value)
            verdict = _of_identifier(evidence, source, named, unknown=CANNOT_TELL)
        case Form.IDENTIFIER:
            found = node["identifier"]
            named = Identifier(str(found.get("system", "")), str(found.get("value", "")))
            verdict = _of_identifier(evidence, source, named, unknown="")
    return verdict


def _of_address(evidence: Evidence, source: str, node: Node, target: Literal) -> str:
    pin = evidence.pins.get(source, "")
    if not target.base or target.base in evidence.bases[source]:
        return "" if target.id == pin else ANOTHER
    # A pin may itself be an absolute address, where a registry names patients of another server.
    return "" if str(node["reference"]).strip() == pin else FOREIGN


def _of_urn(evidence: Evidence, source: str, target: Literal) -> str:
    id_ = target.id.rpartition(":")[2]
    if PATIENT not in evidence.types_of.get((source, id_), ()):
        return CANNOT_TELL
    return "" if id_ == evidence.pins.get(source) else ANOTHER


def _of_identifier(evidence: Evidence, source: str, found: Identifier, *, unknown: str) -> str:
    """A number of a system that we know decides; one of an unknown system proves nothing."""
    ours = set(evidence.case.person.identifiers)
    pinned = evidence.pinned(source)
    if pinned:
        ours.update(person(pinned.resource).identifiers)
    same_system = {one.value.strip() for one in ours if one.system == found.system and one.system}
    if not same_system:
        return unknown
    return "" if found.value.strip() in same_system else ANOTHER


def _contained(sighted: Sighted, fragment: str) -> dict[str, Any]:
    inside = objects(sighted.resource.get("contained"))
    return next((one for one in inside if one.get("id") == fragment), {})
