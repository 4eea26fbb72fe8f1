"""Imaging studies: what we hold in DICOM is the entry, what FHIR alone says is added to it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fhir_bridge.case.ids import bridge_id, urn
from fhir_bridge.case.ledger import RecordKey, RecordState
from fhir_bridge.case.record import End, Sighted
from fhir_bridge.pipeline.normalize.ends import Ends, Standing
from fhir_bridge.pipeline.normalize.evidence import Name
from fhir_bridge.standards.fhir import json
from fhir_bridge.standards.fhir.lenient import objects, text
from fhir_bridge.standards.fhir.walking import Node

STUDY = "ImagingStudy"
UID_SYSTEM = "urn:dicom:uid"
# What our own study says itself, or what only means something at the source.
_OURS = frozenset(
    {"resourceType", "id", "meta", "text", "status", "subject", "endpoint", "identifier", "series"}
    | {"numberOfSeries", "numberOfInstances"}
)
_OURS_OF_SERIES = frozenset({"instance", "endpoint", "numberOfInstances"})


@dataclass(slots=True)
class Study:
    """A study that we hold, with the keys of its instances and of the records merged into it."""

    source: str
    uid: str
    resource: Node
    instances: tuple[RecordKey, ...]
    merged: tuple[RecordKey, ...] = ()
    base: str = ""

    @property
    def full_url(self) -> str:
        """UUIDv5 over (source, ImagingStudy, Study Instance UID)."""
        return urn(bridge_id(self.source, STUDY, self.uid))


def built(studies: Sequence[tuple[Mapping[str, Any], Sequence[RecordKey]]]) -> list[Study]:
    """The studies that the bridge built from DICOM, each (source, uid) once, in a stable order."""
    found: dict[tuple[str, str], Study] = {}
    for resource, keys in sorted(studies, key=lambda one: (sorted(one[1]), json.dumps(one[0]))):
        source, uid = min(keys).source if keys else "", uid_of(resource)
        known = found.get((source, uid))
        if known is None:
            found[source, uid] = Study(source, uid, dict(resource), tuple(sorted(keys)))
        else:
            known.instances = tuple(sorted({*known.instances, *keys}))
    return [found[place] for place in sorted(found)]


def uid_of(resource: Mapping[str, Any]) -> str:
    """The Study Instance UID of an ImagingStudy (R4 8.14.4: urn:dicom:uid, urn:oid:...)."""
    for identifier in objects(resource.get("identifier")):
        value = text(identifier.get("value"))
        if identifier.get("system") == UID_SYSTEM or value.startswith("urn:oid:"):
            return value.removeprefix("urn:oid:")
    return ""


def absorb(standing: Standing, studies: Sequence[Study], ends: Ends) -> dict[Name, str]:
    """
    Merge what FHIR says of a study into the study that we hold; answers where each went.

    Values are added only from the same source: another source's references mean something else.
    """
    homes: dict[Name, str] = {}
    for name in sorted(name for name in standing if name[1] == STUDY):
        sighted = standing[name][0]
        study = _held(uid_of(sighted.resource), name[0], studies)
        if study is None:
            continue
        carried = _add(study, sighted) if study.source == name[0] else False
        study.merged = (*study.merged, sighted.key)
        homes[name] = study.full_url
        reason = "is the study that we hold" + ("" if carried else "; its own words are not added")
        ends[sighted.key] = End(
            RecordState.MERGED_INTO, "same-study-uid", reason, target=study.full_url
        )
    for name in homes:
        del standing[name]
    return homes


def _held(uid: str, source: str, studies: Sequence[Study]) -> Study | None:
    same = [study for study in studies if uid and study.uid == uid]
    return min(same, key=lambda study: (study.source != source, study.source), default=None)


def _add(study: Study, sighted: Sighted) -> bool:
    """Add what only the FHIR study says; never over a value that the images carry themselves."""
    theirs, ours = sighted.resource, study.resource
    for name, value in theirs.items():
        if name not in _OURS and name not in ours:
            ours[name] = value
    ours["identifier"] = [*objects(ours.get("identifier")), *_new_identifiers(ours, theirs)]
    details = {text(one.get("uid")): one for one in objects(theirs.get("series"))}
    ours["series"] = [
        {**_only_theirs(details.get(text(one.get("uid")), {})), **one}
        for one in objects(ours.get("series"))
    ]
    study.base = sighted.base
    return True


def _only_theirs(series: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in series.items() if name not in _OURS_OF_SERIES}


def _new_identifiers(ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> Iterator[Node]:
    known = {_number(one) for one in objects(ours.get("identifier"))}
    for one in objects(theirs.get("identifier")):
        if _number(one) not in known:
            yield one


def _number(identifier: Mapping[str, Any]) -> tuple[str, str]:
    return text(identifier.get("system")), text(identifier.get("value"))
