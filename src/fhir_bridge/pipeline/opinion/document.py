"""The opinion as a FHIR document: the text as written, what it rests on, and who answers for it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from fhir_bridge.case.ids import bridge_id, document_id, urn
from fhir_bridge.case.opinion import Cited, Opinion
from fhir_bridge.pipeline.opinion import markdown
from fhir_bridge.standards.fhir import json, narrative

URI = "urn:ietf:rfc:3986"
CONSULT_NOTE = {"system": "http://loinc.org", "code": "11488-4", "display": "Consult note"}
_OF_PATIENT = ("identifier", "name", "gender", "birthDate")
_NOTHING_CITED = "No document of the case record is cited."

Node = dict[str, Any]


def document_identifier(opinion: Opinion) -> str:
    """The urn that names this version of the opinion wherever it goes."""
    return urn(document_id(opinion.case_id, "opinion", opinion.version))


def opinion_document(
    opinion: Opinion,
    *,
    patient: Mapping[str, object],
    organisation: str,
    question: str,
    replaces: str | None,
) -> bytes:
    """
    A document Bundle (R4 3.3) in canonical bytes; the same opinion gives the same bytes.

    `patient` is an R4 Patient, of which identifier, name, gender and birthDate are taken.
    `replaces` is the `document_identifier` of the version before. The timestamp must be an instant
    and the opinion has only a day: it is noon UTC of that day, which is the same day from UTC-12 to
    UTC+11 and never earlier than `Composition.date`.
    """
    people = _People(opinion, patient, organisation)
    composition = _composition(opinion, people, question)
    if replaces:
        target = {"system": URI, "value": replaces}
        composition["relatesTo"] = [{"code": "replaces", "targetIdentifier": target}]
    resources = [composition, people.patient, people.author, people.custodian]
    return json.dumps(
        {
            "resourceType": "Bundle",
            "id": document_id(opinion.case_id, "opinion", opinion.version),
            "type": "document",
            "identifier": {"system": URI, "value": document_identifier(opinion)},
            "timestamp": f"{opinion.date}T12:00:00Z",
            "entry": [{"fullUrl": urn(r["id"]), "resource": r} for r in resources],
        }
    )


def sections(opinion: Opinion, question: str) -> Iterator[tuple[str, list[markdown.Block]]]:
    """
    What is read, in order: the question first, then the sections as they were written.

    A `Question` section of the specialist's own stands instead of the one of the case.
    """
    asked = [s for s in opinion.sections if s.title.casefold() == "question"]
    if asked:
        yield asked[0].title, markdown.blocks(asked[0].text)
    elif question.strip():
        parts = [{"kind": "text", "text": question.strip()}]
        yield "Question", [{"kind": "paragraph", "parts": parts}]
    for section in opinion.sections:
        if section not in asked[:1]:
            yield section.title, markdown.blocks(section.text)


class _People:
    """The three entries beside the Composition: whom it is about, who wrote it, who keeps it."""

    def __init__(self, opinion: Opinion, patient: Mapping[str, object], organisation: str) -> None:
        document = document_id(opinion.case_id, "opinion", opinion.version)
        author = opinion.author
        known = {key: patient[key] for key in _OF_PATIENT if patient.get(key)}
        self.patient: Node = {**_resource(document, "Patient"), **known}
        self.author: Node = {**_resource(document, "Practitioner"), "name": [{"text": author.name}]}
        if author.qualification:
            self.author["qualification"] = [{"code": {"text": author.qualification}}]
        keeper = organisation or author.organisation or "Second opinion"
        self.custodian: Node = {**_resource(document, "Organization"), "name": keeper}


def _resource(document: str, type_: str) -> Node:
    return {"resourceType": type_, "id": bridge_id(document, type_, "opinion")}


def _composition(opinion: Opinion, people: _People, question: str) -> Node:
    document = document_id(opinion.case_id, "opinion", opinion.version)
    author = opinion.author
    shown = ", ".join(filter(None, (author.name, author.qualification, author.organisation)))
    by_author = {"reference": urn(people.author["id"]), "display": shown}
    attested = {"time": opinion.date, "party": by_author}
    return {
        **_resource(document, "Composition"),
        "identifier": {"system": URI, "value": document_identifier(opinion)},
        "status": "final",
        "type": {"coding": [CONSULT_NOTE], "text": "Second opinion"},
        "subject": {"reference": urn(people.patient["id"])},
        "date": opinion.date,
        "author": [by_author],
        "title": opinion.title,
        "confidentiality": "N",
        "attester": [{"mode": "professional", **attested}, {"mode": "legal", **attested}],
        "custodian": {"reference": urn(people.custodian["id"])},
        "section": [
            *(_section(title, markdown.xhtml(text)) for title, text in sections(opinion, question)),
            _evidence(opinion),
        ],
    }


def _section(title: str, xhtml: str) -> Node:
    return {"title": title, "text": {"status": "additional", "div": narrative.div(xhtml)}}


def _evidence(opinion: Opinion) -> Node:
    """What is cited, pinned by entry, version and hash; the references are logical (R4 2.3.0.2)."""
    read = f"Case record read: SHA-256 {opinion.record_sha256}." if opinion.record_sha256 else ""
    if not opinion.cited:
        return _section("Evidence", narrative.paragraph(f"{_NOTHING_CITED} {read}".strip()))
    rows = [(c.title, c.version or "-", c.sha256 or "-", c.entry) for c in opinion.cited]
    table = narrative.table(("Document", "Version", "SHA-256", "Entry"), rows)
    section = _section("Evidence", table + (narrative.paragraph(read) if read else ""))
    return {**section, "entry": [_cited(cited) for cited in opinion.cited]}


def _cited(cited: Cited) -> Node:
    return {"identifier": {"system": URI, "value": cited.entry}, "display": cited.title}
