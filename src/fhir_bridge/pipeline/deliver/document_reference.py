"""The DocumentReference that carries a signed opinion into one chart."""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass
from typing import Any

from fhir_bridge.case.delivery import Delivery
from fhir_bridge.case.ids import bridge_id, document_id, urn
from fhir_bridge.case.opinion import Opinion
from fhir_bridge.standards.fhir import json

URI = "urn:ietf:rfc:3986"
LOINC = "http://loinc.org"
CONSULT_NOTE = "11488-4"
PDF, FHIR_JSON = "application/pdf", "application/fhir+json"
_CATEGORY = {
    "system": "http://hl7.org/fhir/us/core/CodeSystem/us-core-documentreference-category",
    "code": "clinical-note",
    "display": "Clinical Note",
}

Node = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Signed:
    """
    A signed opinion as it travels: the FHIR document and the letter, byte for byte.

    `organisation` is who keeps the opinion. `replaces` is the delivery of the version before to
    the same destination, when there was one.
    """

    opinion: Opinion
    document: bytes
    pdf: bytes
    organisation: str = ""
    replaces: Delivery | None = None

    @property
    def identifier(self) -> str:
        """The urn of the FHIR document, which is printed on the letter too."""
        return urn(document_id(self.opinion.case_id, "opinion", self.opinion.version))

    @property
    def instant(self) -> str:
        """Noon UTC of the opinion's day, as `Bundle.timestamp` of the document."""
        return f"{self.opinion.date}T12:00:00Z"


def delivery_identifier(opinion_id: str, version: int, destination: str) -> str:
    """The urn that is the same for every attempt: one opinion version at one destination."""
    return urn(bridge_id(destination, "DocumentReference", f"{opinion_id}/{version}"))


def sha1(body: bytes) -> str:
    """The hash of an Attachment: base64 of the SHA-1 of the raw bytes (R4 2.24.0.9)."""
    return base64.b64encode(hashlib.sha1(body, usedforsecurity=False).digest()).decode()


def contents(signed: Signed) -> tuple[tuple[str, bytes], ...]:
    """What is attached, in order: the letter for people, the document for machines."""
    return ((PDF, signed.pdf), (FHIR_JSON, signed.document))


def document_reference(
    delivery: Delivery, signed: Signed, patient_id: str, urls: tuple[str, ...] = ()
) -> Node:
    """
    The R4 DocumentReference. `urls` are the Binaries that hold the contents; none means inline.

    Nothing in it refers to what the destination does not have: the author is contained, the
    custodian is named. Our identifier stands in `description` too, for charts that drop the others.
    """
    opinion = signed.opinion
    resource: Node = {
        "resourceType": "DocumentReference",
        "contained": [_author(opinion)],
        "masterIdentifier": _urn(delivery.identifier),
        "identifier": [_urn(delivery.identifier), _urn(signed.identifier)],
        "status": "current",
        "docStatus": "final",
        "type": {
            "coding": [{"system": LOINC, "code": CONSULT_NOTE, "display": "Consult note"}],
            "text": "Second opinion",
        },
        "category": [{"coding": [_CATEGORY]}],
        "subject": {"reference": f"Patient/{patient_id}"},
        "date": signed.instant,
        "author": [{"reference": "#author", "display": opinion.author.name}],
        "description": f"{opinion.title} (version {opinion.version}, {signed.identifier})",
        "content": _contents(signed, urls),
        "context": {"period": {"start": signed.instant, "end": signed.instant}},
    }
    keeper = signed.organisation or opinion.author.organisation
    if keeper:
        resource["custodian"] = {"display": keeper}
    if signed.replaces:
        resource["relatesTo"] = [{"code": "replaces", "target": _former(signed.replaces)}]
    return resource


def binary(content_type: str, body: bytes) -> bytes:
    """Content as a Binary resource in JSON, for servers that take no raw bytes."""
    data = base64.b64encode(body).decode()
    return json.dumps({"resourceType": "Binary", "contentType": content_type, "data": data})


def _urn(value: str) -> Node:
    return {"system": URI, "value": value}


def _author(opinion: Opinion) -> Node:
    author = opinion.author
    person: Node = {"resourceType": "Practitioner", "id": "author", "name": [{"text": author.name}]}
    if author.qualification:
        person["qualification"] = [{"code": {"text": author.qualification}}]
    return person


def _former(delivery: Delivery) -> Node:
    target: Node = {"identifier": _urn(delivery.identifier)}
    return {"reference": delivery.location, **target} if delivery.location else target


def _contents(signed: Signed, urls: tuple[str, ...]) -> list[Node]:
    found = []
    for index, (content_type, body) in enumerate(contents(signed)):
        place = {"url": urls[index]} if urls else {"data": base64.b64encode(body).decode()}
        attachment = {
            "contentType": content_type,
            **place,
            "size": len(body),
            "hash": sha1(body),
            "title": signed.opinion.title,
            "creation": signed.opinion.date,
        }
        found.append({"attachment": attachment})
    return found
