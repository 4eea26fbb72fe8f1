"""Which records stand and where the others end: versions, errors, wrong patients, replacements."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from functools import partial
from typing import Any

from fhir_bridge.case.ledger import RecordKey, RecordState
from fhir_bridge.case.record import End, HeldAttachment, Sighted
from fhir_bridge.errors import Unreadable
from fhir_bridge.pipeline.normalize.evidence import Evidence, Name, name_of, newest_of_each, types
from fhir_bridge.pipeline.normalize.patient import objection
from fhir_bridge.standards.fhir.lenient import objects, text
from fhir_bridge.standards.fhir.references import literal
from fhir_bridge.standards.fhir.walking import Found, walk
from fhir_bridge.standards.terminology.translate import canonical_system

DOCUMENT = "DocumentReference"
ERROR = "entered-in-error"

Ends = dict[RecordKey, End]
Standing = dict[Name, tuple[Sighted, Found]]


def stand(evidence: Evidence, ends: Ends) -> Standing:
    """The newest version of every record that may be shown; all others get their end."""
    standing: Standing = {}
    newest = newest_of_each(evidence)
    for key, sighted in evidence.records.items():
        current = newest[name_of(key)]
        if current.key != key:
            ends[key] = End(
                RecordState.SUPERSEDED,
                "newer-version",
                "the hospital sent a newer version",
                target=str(current.key),
            )
            continue
        end = _ours(evidence, key) or _left_out(sighted)
        if end is None:
            found = walk(sighted.resource)
            reason = objection(evidence, sighted, found)
            if not reason:
                standing[name_of(key)] = (sighted, found)
                continue
            end = End(RecordState.QUARANTINED, "same-patient", reason)
        ends[key] = end
    return standing


def _ours(evidence: Evidence, key: RecordKey) -> End | None:
    """An opinion that came back from the chart is no evidence for the next one."""
    if name_of(key) not in evidence.own:
        return None
    return End(RecordState.EXCLUDED, "own-opinion", "is the opinion that the bridge filed there")


def _left_out(sighted: Sighted) -> End | None:
    row = types().get(sighted.key.kind)
    if row is None or sighted.resource.get("resourceType") != sighted.key.kind:
        return End(RecordState.FAILED, Unreadable.code, "is of no type that FHIR R4 has")
    if in_error(sighted.resource):
        return End(RecordState.EXCLUDED, ERROR, "the hospital marked it as filed by mistake")
    if row["left_out"]:
        return End(RecordState.EXCLUDED, row["left_out"], row["why"])
    return None


def in_error(resource: Mapping[str, Any]) -> bool:
    """Whether its own source withdrew a record (status, docStatus or verificationStatus)."""
    if ERROR in (resource.get("status"), resource.get("docStatus")):
        return True
    for verification in objects(resource.get("verificationStatus")):
        if any(coding.get("code") == ERROR for coding in objects(verification.get("coding"))):
            return True
    return False


def supersede(standing: Standing, ends: Ends) -> dict[Name, str]:
    """
    End the documents that another one replaces, or that their source calls superseded.

    Documents that replace each other in a circle all stand; the answer says of each that it does.
    """
    replaces = {name: set(_replaced_by(name, standing)) for name in _documents(standing)}
    reach = {name: _reach(name, replaces) for name in replaces}
    conflicts = {
        name: "it replaces a document that in turn replaces it; both are shown"
        for name in replaces
        if name in reach[name]
    }
    successors: dict[Name, Name] = {}
    for newer in sorted(replaces):
        for older in sorted(replaces[newer]):
            if newer not in reach[older]:
                successors.setdefault(older, newer)
    keys = {name: standing[name][0].key for name in replaces}
    for name in replaces:
        end = _superseded(name, successors, keys, standing)
        if end and (name in successors or name not in conflicts):
            ends[keys[name]] = end
            del standing[name]
    return {name: why for name, why in conflicts.items() if name in standing}


def _superseded(
    name: Name, successors: Mapping[Name, Name], keys: Mapping[Name, RecordKey], standing: Standing
) -> End | None:
    superseded = partial(End, RecordState.SUPERSEDED)
    if name in successors:
        reason = "a newer document says that it replaces this one"
        return superseded("replaces", reason, target=str(keys[successors[name]]))
    if standing[name][0].resource.get("status") == "superseded":
        reason = "the hospital calls it superseded; its successor did not come"
        return superseded("status-superseded", reason)
    return None


def _documents(standing: Standing) -> list[Name]:
    return [name for name in standing if name[1] == DOCUMENT]


def _replaced_by(newer: Name, standing: Standing) -> Iterator[Name]:
    """The documents here that a document says it replaces (DocumentReference.relatesTo)."""
    resource = standing[newer][0].resource
    for relation in objects(resource.get("relatesTo")):
        target = relation.get("target")
        if relation.get("code") == "replaces" and isinstance(target, dict):
            found = literal(target)
            older = (newer[0], DOCUMENT, found.id.removeprefix("urn:uuid:"))
            if older in standing and older != newer:
                yield older


def _reach(start: Name, edges: Mapping[Name, set[Name]]) -> set[Name]:
    seen: set[Name] = set()
    waiting = list(edges[start])
    while waiting:
        here = waiting.pop()
        if here not in seen:
            seen.add(here)
            waiting.extend(edges.get(here, ()))
    return seen


def merge_twins(
    standing: Standing,
    held: Mapping[RecordKey, Mapping[str, HeldAttachment]],
    conflicts: Iterable[Name],
    ends: Ends,
) -> dict[Name, Name]:
    """
    Keep one of the documents that hold the same bytes with equal status and type.

    The survivor is the first by key. Answers merged -> survivor; the ledger names the fields in
    which the two differ.
    """
    groups: dict[tuple[Any, ...], list[Name]] = {}
    apart = set(conflicts)
    for name in sorted(_documents(standing)):
        sameness = _sameness(standing[name], held)
        if sameness and name not in apart:
            groups.setdefault(sameness, []).append(name)
    merged: dict[Name, Name] = {}
    for survivor, *others in groups.values():
        for other in others:
            merged[other] = survivor
            ends[standing[other][0].key] = _merged(standing[other][0], standing[survivor][0])
    for name in merged:
        del standing[name]
    return merged


def _merged(other: Sighted, survivor: Sighted) -> End:
    fields = (other.resource.keys() | survivor.resource.keys()) - _OWN
    differ = sorted(f for f in fields if other.resource.get(f) != survivor.resource.get(f))
    reason = "holds the same bytes" + (f"; differs in {', '.join(differ)}" if differ else "")
    return End(RecordState.MERGED_INTO, "same-attachment-bytes", reason, target=str(survivor.key))


# What two copies never share: their own names, and the addresses of their content.
_OWN = frozenset({"id", "meta", "text", "subject", "content"})


def _sameness(
    document: tuple[Sighted, Found], held: Mapping[RecordKey, Mapping[str, HeldAttachment]]
) -> tuple[Any, ...]:
    sighted, found = document
    bytes_ = [attachment.sha256 for attachment in held.get(sighted.key, {}).values()]
    contents = [path for path, _ in found.attachments if path[0] == "content"]
    if not contents or len(bytes_) < len(contents) or not all(bytes_):
        return ()
    resource = sighted.resource
    status = (text(resource.get("status")), text(resource.get("docStatus")))
    return (tuple(sorted(set(bytes_))), status, _meaning(resource.get("type")))


def _meaning(concept: object) -> tuple[Any, ...]:
    if not isinstance(concept, dict):
        return ()
    codings = {
        (canonical_system(text(coding.get("system"))), text(coding.get("code")))
        for coding in objects(concept.get("coding"))
    }
    return tuple(sorted(codings)) or (text(concept.get("text")),)
