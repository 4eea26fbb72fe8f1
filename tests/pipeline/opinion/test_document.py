from __future__ import annotations

from dataclasses import replace

import pytest

from fhir_bridge.case.opinion import Author, Opinion, Section
from fhir_bridge.pipeline.opinion.document import document_identifier, opinion_document
from fhir_bridge.standards.fhir import json
from fhir_bridge.standards.fhir.document import problems
from fhir_bridge.standards.fhir.judge import judge
from fhir_bridge.standards.fhir.narrative import accepted
from fhir_bridge.standards.fhir.walking import Node

from .conftest import PATIENT, RECORD, parsed


def made(opinion: Opinion, *, question: str = "Is it?", replaces: str | None = None) -> Node:
    body = opinion_document(
        opinion, patient=PATIENT, organisation="Centre", question=question, replaces=replaces
    )
    return json.load_object(body)


BUNDLE = made(parsed())
COMPOSITION = BUNDLE["entry"][0]["resource"]
VARIANTS = {
    "plain": parsed(),
    "nothing cited": replace(parsed(), cited=(), record_sha256=""),
    "no question": replace(parsed(), sections=(Section("Opinion", "1. a\n   - b\n\n> c"),)),
    "bare author": replace(parsed(), author=Author("Å <B> & 漢")),
}


@pytest.mark.parametrize("name", VARIANTS)
def test_it_keeps_every_rule_of_a_document(name: str) -> None:
    bundle = made(VARIANTS[name], replaces=document_identifier(parsed()))
    assert problems(bundle) == []
    assert judge(bundle) == ()
    for section in bundle["entry"][0]["resource"]["section"]:
        assert accepted(section["text"]["div"]) is not None


def test_the_same_opinion_gives_the_same_bytes_in_canonical_form() -> None:
    one, two = (
        opinion_document(
            parsed(), patient=PATIENT, organisation="Centre", question="q", replaces=None
        )
        for _ in range(2)
    )
    assert one == two == json.dumps(json.loads(one))


def test_its_identifier_follows_from_case_and_version() -> None:
    assert BUNDLE["identifier"]["value"] == document_identifier(parsed())
    assert document_identifier(parsed()) != document_identifier(parsed(version=2))


def test_the_timestamp_is_noon_utc_of_the_opinions_day() -> None:
    assert (COMPOSITION["date"], BUNDLE["timestamp"]) == ("2025-07-18", "2025-07-18T12:00:00Z")


def test_the_question_comes_first_and_only_once() -> None:
    titles = [section["title"] for section in COMPOSITION["section"]]
    assert titles == ["Question", "Opinion", "Evidence"]
    assert "Operate?" in COMPOSITION["section"][0]["text"]["div"]
    without = replace(parsed(), sections=parsed().sections[1:])
    asked = made(without)["entry"][0]["resource"]["section"][0]
    assert (asked["title"], "Is it?" in asked["text"]["div"]) == ("Question", True)


def test_what_was_typed_as_html_stays_letters() -> None:
    assert "&lt;b&gt;falling&lt;/b&gt;" in COMPOSITION["section"][1]["text"]["div"]


def test_evidence_is_cited_by_entry_and_pinned_by_version_and_hash() -> None:
    section = COMPOSITION["section"][-1]
    cited = RECORD.entries[0]
    assert section["entry"][0]["identifier"] == {
        "system": "urn:ietf:rfc:3986",
        "value": cited.entry,
    }
    assert section["entry"][0]["display"] == cited.title
    assert all(word in section["text"]["div"] for word in (cited.sha256, RECORD.sha256))


def test_of_the_patient_only_who_it_is_travels() -> None:
    patient = BUNDLE["entry"][1]["resource"]
    assert patient.keys() == {"resourceType", "id", "identifier", "name", "gender", "birthDate"}


def test_a_later_version_replaces_the_document_before() -> None:
    former = document_identifier(parsed())
    composition = made(parsed(version=2), replaces=former)["entry"][0]["resource"]
    target = {"system": "urn:ietf:rfc:3986", "value": former}
    assert composition["relatesTo"] == [{"code": "replaces", "targetIdentifier": target}]
    assert "relatesTo" not in COMPOSITION
