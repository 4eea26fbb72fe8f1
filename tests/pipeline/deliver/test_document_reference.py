from __future__ import annotations

import base64
import hashlib
from dataclasses import replace

from fhir_bridge.pipeline.deliver.document_reference import delivery_identifier, document_reference
from fhir_bridge.standards.fhir import json
from fhir_bridge.standards.fhir.document import problems
from fhir_bridge.standards.fhir.judge import judge
from fhir_bridge.standards.fhir.references import references

from .conftest import SIGNED, queued, signed_opinion

DELIVERY = queued()
RESOURCE = document_reference(DELIVERY, SIGNED, "p1")


def test_it_is_valid_r4_and_so_is_the_document_inside_it() -> None:
    assert judge(RESOURCE) == ()
    document = base64.b64decode(RESOURCE["content"][1]["attachment"]["data"])
    assert problems(json.load_object(document)) == []


def test_it_refers_to_nothing_that_the_chart_does_not_have() -> None:
    literals = {node["reference"] for _, node in references(RESOURCE) if "reference" in node}
    assert literals == {"Patient/p1", "#author"}


def test_it_carries_our_identifiers_where_a_chart_may_keep_them() -> None:
    assert RESOURCE["masterIdentifier"]["value"] == DELIVERY.identifier
    assert [i["value"] for i in RESOURCE["identifier"]] == [DELIVERY.identifier, SIGNED.identifier]
    assert SIGNED.identifier in RESOURCE["description"]


def test_the_attachments_carry_size_and_sha1_of_their_raw_bytes() -> None:
    attachment = RESOURCE["content"][0]["attachment"]
    body = base64.b64decode(attachment["data"])
    assert body == SIGNED.pdf
    assert attachment["size"] == len(body)
    assert base64.b64decode(attachment["hash"]) == hashlib.sha1(body).digest()
    assert [c["attachment"]["contentType"] for c in RESOURCE["content"]] == [
        "application/pdf",
        "application/fhir+json",
    ]


def test_as_files_it_names_their_addresses_and_carries_no_content() -> None:
    resource = document_reference(DELIVERY, SIGNED, "p1", ("Binary/1", "Binary/2"))
    attachments = [content["attachment"] for content in resource["content"]]
    assert [a["url"] for a in attachments] == ["Binary/1", "Binary/2"]
    assert not any("data" in a for a in attachments)
    assert judge(resource) == ()


def test_the_identifier_is_one_per_opinion_version_and_destination() -> None:
    made = {
        delivery_identifier(opinion, version, destination)
        for opinion in ("o1", "o2")
        for version in (1, 2)
        for destination in ("general", "st-anne")
    }
    assert len(made) == 8
    assert delivery_identifier("o1", 1, "general") in made


def test_a_later_version_replaces_the_document_that_the_chart_has() -> None:
    former = replace(DELIVERY, location="DocumentReference/d1")
    later = signed_opinion(version=2, replaces=former)
    resource = document_reference(queued(later), later, "p1")
    (related,) = resource["relatesTo"]
    assert related["code"] == "replaces"
    assert related["target"]["reference"] == "DocumentReference/d1"
    assert related["target"]["identifier"]["value"] == DELIVERY.identifier
    assert judge(resource) == ()
