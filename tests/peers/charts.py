"""Charts that foreign servers are loaded with: the specification's examples, captured answers."""

from __future__ import annotations

import base64
import hashlib
import os
import re
from collections import Counter
from functools import cache, cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from fhir_bridge.case.slice import IMAGES, REFERRED
from fhir_bridge.pipeline.pull import plan
from fhir_bridge.standards.fhir import json

from .peer import HERE, ROOT, need

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from .fhir_server import FhirServer

Json = dict[str, Any]
LISTED = tuple(one.type for one in plan.searches("", "R4") if "$" not in one.type)
"""What the bridge asks for by search; everything else comes because one of these refers to it."""

EXAMPLES = HERE / "node" / "node_modules" / "hl7.fhir.r4.examples"
CAPTURES = Path(os.environ.get("FHIR_BRIDGE_CAPTURES", ROOT.parent / "shared" / "payloads"))
CAPTURED = (
    "epic/DocumentReference-search-lopez.json",
    "cerner/DocumentReference-search-12724066.json",
    "cerner/DiagnosticReport-search-lab.json",
    "meditech/DocumentReference-search.json",
    "meditech/ServiceRequest-search.json",
    "us-core/bundle-docref-example2.json",
    "us-core/DiagnosticReport-bone-density-report.json",
    "us-core/DiagnosticReport-chest-xray-report.json",
    "us-core/DocumentReference-living-will.json",
    "us-core/documentreference-discharge-summary.json",
    "us-core/documentreference-episode-summary.json",
    "bulk/DocumentReference.000.first40.ndjson",
)
"""The captures that are R4 and hold records of a patient's compartment."""

ILL_FORMED = {
    "Observation/clinical-gender": "its performer is an Encounter",
    "MedicationRequest/medrx0301": "its dispenser is a Practitioner",
    "DeviceMetric/example": "its parent is a DeviceDefinition",
}
"""Examples with a reference to a type that R4 does not allow there: HAPI takes none of them."""

_RELATIVE = re.compile(r"([A-Z][A-Za-z]+)/([A-Za-z0-9.-]{1,64})(?:/_history/[^/]+)?")
_CONDITIONAL = re.compile(r"[A-Za-z]+\?identifier=([^|]+)\|(.+)")
_BINARY = re.compile(r"(?:.*/)?Binary/([^/?#]+)")


class LoadedChart:
    """
    What a hospital holds of one patient.

    `resources` is `Type/id` -> resource, the Patient among them; `files` is `Binary/id` -> content
    type and bytes.
    """

    def __init__(self, resources: Iterable[Json], files: Mapping[str, tuple[str, bytes]]) -> None:
        self.resources: Mapping[str, Json] = {_key(one): one for one in resources}
        self.files = files

    def load_into(self, server: FhirServer, dicomweb: str = "http://127.0.0.1:9/dicom-web") -> None:
        """Lay the chart, files included, into a server."""
        binaries = [
            {
                "resourceType": "Binary",
                "id": reference.removeprefix("Binary/"),
                "contentType": content_type,
                "data": base64.b64encode(body).decode(),
            }
            for reference, (content_type, body) in self.files.items()
        ]
        placed = [
            {**one, "address": dicomweb} if one.get("address") == "{dicomweb}" else one
            for one in self.resources.values()
        ]
        # HAPI never finds by its patient what was written before the patient.
        placed.sort(key=lambda one: one["resourceType"] != "Patient")
        server.load([json.dumps(one) for one in (*placed, *binaries)])

    @property
    def patient(self) -> str:
        """The patient's id at the hospital."""
        (only,) = self.ids("Patient")
        return only

    def ids(self, kind: str) -> set[str]:
        """The ids of one type."""
        return {one["id"] for one in self.resources.values() if one["resourceType"] == kind}

    @cached_property
    def listed(self) -> frozenset[str]:
        """`Type/id` of all that a search by patient finds, and the patient."""
        ours = f"Patient/{self.patient}"
        found = {
            key for key, one in self.resources.items()
            if one["resourceType"] in LISTED and _subject(one) == ours
        }  # fmt: skip
        return frozenset({ours, *found})

    @cached_property
    def _walked(self) -> frozenset[str]:
        seen: set[str] = set()
        ahead = list(self.listed)
        while ahead:
            key = ahead.pop()
            if key not in seen:
                seen.add(key)
                ahead += references(self.resources.get(key))
        return frozenset(seen)

    @property
    def reachable(self) -> frozenset[str]:
        """`Type/id` of all that a whole pull brings: the listed records and what they lead to."""
        return frozenset(key for key in self._walked if key in self.resources)

    @property
    def absent(self) -> frozenset[str]:
        """`Type/id` of what a reachable record refers to and the hospital does not have."""
        return self._walked - self.reachable

    @cached_property
    def attachments(self) -> Mapping[str, Counter[str]]:
        """`Type/id` -> SHA-256 of each content that the record names and the hospital has."""
        found = {}
        for key in self.reachable:
            bodies = [self._body(attachment) for attachment in attachments(self.resources[key])]
            found[key] = Counter(hashlib.sha256(body).hexdigest() for body in bodies if body)
        return {key: hashes for key, hashes in found.items() if hashes}

    @property
    def grades(self) -> dict[str, str]:
        """
        The certificate of a whole pull from a FHIR server alone, by type.

        Short where something lies elsewhere or is missing; else every list agrees. The images that
        the chart names cannot be had without an archive.
        """
        expected = dict.fromkeys(LISTED, "consistent") | dict.fromkeys(self.elsewhere, "short")
        images = any(key.startswith("ImagingStudy/") for key in self.listed)
        missing = {REFERRED: "short"} if self.absent else {}
        return {**expected, **missing, IMAGES: "short" if images else "not-asked"}

    @property
    def elsewhere(self) -> set[str]:
        """The types of records with an attachment that lies where the hospital has no say."""
        named = [
            (key, attachment)
            for key in self.reachable for attachment in attachments(self.resources[key])
        ]  # fmt: skip
        return {
            key.split("/")[0] for key, attachment in named
            if "url" in attachment and not self._body(attachment)
        }  # fmt: skip

    def _body(self, attachment: Mapping[str, Any]) -> bytes:
        if "data" in attachment:
            return base64.b64decode(attachment["data"])
        return self.files.get(attachment.get("url", ""), ("", b""))[1]


def _key(resource: Mapping[str, Any]) -> str:
    return f"{resource['resourceType']}/{resource['id']}"


def _subject(resource: Mapping[str, Any]) -> str:
    named = resource.get("subject") or resource.get("patient") or {}
    return str(named.get("reference", ""))


def references(node: object) -> Iterator[str]:
    """`Type/id` of every relative reference below a node: by eye, not by the code under test."""
    if isinstance(node, dict):
        for key, value in node.items():
            relative = _RELATIVE.fullmatch(value) if isinstance(value, str) else None
            if key == "reference" and relative:
                yield f"{relative[1]}/{relative[2]}"
            else:
                yield from references(value)
    elif isinstance(node, list):
        for one in node:
            yield from references(one)


def attachments(resource: Mapping[str, Any]) -> list[Json]:
    """Every Attachment of a record, by eye: of a document, a report, a picture, a person."""
    content = resource.get("content", ())
    pictures = [content] if isinstance(content, dict) else [one["attachment"] for one in content]
    photos = resource.get("photo", ())
    return [*pictures, *resource.get("presentedForm", ()), *photos]


@cache
def spec_examples() -> LoadedChart:
    """The examples of R4 itself that are about some patient, all made to be about one."""
    need("hl7.fhir.r4.examples", EXAMPLES)
    kinds = (*LISTED, "Patient")
    named = [file for file in EXAMPLES.glob("*-*.json") if not _is_definition(file.name)]
    every = {_key(one): one for one in _resources(named) if _key(one) not in ILL_FORMED}
    chosen = {
        key: one for key, one in every.items()
        if one["resourceType"] in kinds and _is_a_patients(one)
    }  # fmt: skip
    ahead = list(chosen)
    while ahead:
        for key in references(chosen[ahead.pop()]):
            if key in every and key not in chosen and not key.startswith("Patient/"):
                chosen[key] = every[key]
                ahead.append(key)
    return _made_ours("spec", chosen.values())


def _is_definition(name: str) -> bool:
    return name.startswith(("CodeSystem", "ConceptMap", "SearchParameter", "Structure", "ValueSet"))


def _is_a_patients(resource: Mapping[str, Any]) -> bool:
    return re.fullmatch(r"Patient/[^/]+", _subject(resource)) is not None


@cache
def captures() -> LoadedChart:
    """What real servers answered, made to be about one patient; skips where it is not to be had."""
    files = [CAPTURES / name for name in CAPTURED]
    if not all(file.is_file() for file in files):
        pytest.skip(f"no captures at {CAPTURES.name}: set FHIR_BRIDGE_CAPTURES to their folder")
    found = [one for one in _resources(files) if one["resourceType"] in LISTED]
    return _made_ours("field", found)


def _resources(files: Iterable[Path]) -> Iterator[Json]:
    """The resources of files: one each, a Bundle's entries, or a line each."""
    for file in files:
        body = file.read_bytes()
        lines = body.splitlines() if file.suffix == ".ndjson" else [body]
        for resource in map(json.load_object, lines):
            if resource.get("type") == "searchset":
                yield from (entry["resource"] for entry in resource.get("entry", ()))
            elif "id" in resource:
                yield resource


def _made_ours(name: str, resources: Iterable[Json]) -> LoadedChart:
    """A chart with ids of our own, a patient of our own, and contents for its Binaries."""
    given = {_key(one): one for one in resources}
    ids = {key: f"{key.split('/')[0]}/{_id(name, key)}" for key in given}
    files: dict[str, tuple[str, bytes]] = {}
    ours = [_patient(name)]
    for key, resource in given.items():
        moved = _moved(resource, f"Patient/{name}-patient", ids)
        moved["id"] = ids[key].split("/")[1]
        moved.pop("meta", None)  # its profiles are not known here, its version is the server's
        files |= dict(_with_files(name, moved))
        ours.append(moved)
    return LoadedChart(ours, files)


def _id(name: str, key: str) -> str:
    """`spec-f001`; an id that would be longer than FHIR allows is told by its hash."""
    full = f"{name}-{key.split('/')[1]}"
    return full if len(full) <= 64 else f"{name}-{hashlib.sha256(key.encode()).hexdigest()[:32]}"


def _patient(name: str) -> Json:
    return {
        "resourceType": "Patient", "id": f"{name}-patient",
        "identifier": [{"system": "urn:oid:2.999.7", "value": f"{name}-4711"}],
        "name": [{"family": "Loaded", "given": ["Chart"]}],
        "gender": "female", "birthDate": "1970-03-04",
    }  # fmt: skip


def _moved(node: Any, patient: str, ids: Mapping[str, str]) -> Any:
    """A copy in which every reference leads to where its target is now."""
    if isinstance(node, list):
        return [_moved(one, patient, ids) for one in node]
    if not isinstance(node, dict):
        return node
    copy = {key: _moved(value, patient, ids) for key, value in node.items()}
    literal, coded = copy.get("reference"), copy.get("data")
    relative = _RELATIVE.fullmatch(literal) if isinstance(literal, str) else None
    conditional = _CONDITIONAL.fullmatch(literal) if isinstance(literal, str) else None
    if relative:
        target = f"{relative[1]}/{relative[2]}"
        copy["reference"] = patient if relative[1] == "Patient" else ids.get(target, target)
    elif conditional:  # only a transaction may hold one: what it means is the identifier
        del copy["reference"]
        copy["identifier"] = {"system": conditional[1], "value": conditional[2]}
    if isinstance(coded, str):
        copy["data"] = "".join(coded.split())  # Medplum takes no line breaks in base64
    return copy


def _with_files(name: str, resource: Json) -> Iterator[tuple[str, tuple[str, bytes]]]:
    """Point the addresses of Binaries at our own, each with a content that only it has."""
    for attachment in attachments(resource):
        binary = _BINARY.fullmatch(str(attachment.get("url", "")))
        if binary and "data" not in attachment:
            content_type = str(attachment.get("contentType", "application/octet-stream"))
            attachment["url"] = f"Binary/{_id(name, f'Binary/{binary[1]}')}"
            body = f"The content that stands for {binary[1]}, {content_type}\n".encode()
            yield attachment["url"], (content_type.partition(";")[0], body)
