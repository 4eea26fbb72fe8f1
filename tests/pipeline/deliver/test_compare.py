from __future__ import annotations

import base64
from typing import Any

import pytest

from fhir_bridge.case.delivery import ReadBack
from fhir_bridge.pipeline.deliver.compare import Compared, compare
from fhir_bridge.pipeline.deliver.document_reference import Signed, document_reference
from fhir_bridge.pipeline.deliver.words import of_markup
from fhir_bridge.standards.fhir import json

from .conftest import SIGNED, queued

BYTES = (SIGNED.pdf, SIGNED.document)
PLAIN = "\n".join(
    [
        "Second opinion: liver",
        "Dr. A. Sample, Surgeon, Second Opinion Centre",
        "Question: Operate?",
        "Opinion: Do not operate. CEA 6.90 ng/mL & falling.",
        "Recommendations: MR in three months. Clinic.",
        "Evidence: MR of the liver",
        f"Document {SIGNED.identifier}",
    ]
)


def sent() -> dict[str, Any]:
    return document_reference(queued(), SIGNED, "p1")


def judged(resource: dict[str, Any], *parts: bytes, signed: Signed = SIGNED) -> Compared:
    return compare(queued(), signed, "p1", resource, parts or BYTES)


def test_the_same_bytes_and_elements_are_equal_whatever_the_chart_adds() -> None:
    added = {"id": "d1", "meta": {"versionId": "1"}, "text": {"status": "generated"}}
    assert judged(sent() | added) == Compared(ReadBack.EQUAL)


def test_another_way_to_write_the_same_is_equal() -> None:
    resource = sent() | {"date": "2025-07-18T14:00:00.000+02:00"}
    resource["subject"] = {"reference": "https://ehr.example/fhir/Patient/p1", "display": "E."}
    assert judged(resource).verdict is ReadBack.EQUAL


def test_dropped_identifiers_and_another_author_are_rewritten_and_named() -> None:
    resource = sent() | {"author": [{"display": "Interface"}]}
    del resource["identifier"], resource["masterIdentifier"]
    assert judged(resource) == Compared(
        ReadBack.REWRITTEN, ("masterIdentifier", "identifier", "author")
    )


def test_a_text_made_by_the_chart_is_rewritten_when_every_word_is_there() -> None:
    assert judged(sent(), PLAIN.encode()).verdict is ReadBack.REWRITTEN


@pytest.mark.parametrize(
    ("said", "shown"),
    [("not ", ""), ("6.90", "6.9"), ("three", "3"), ("MR of the liver", ""), (PLAIN, "")],
    ids=["no-not", "digit", "figure", "evidence", "nothing"],
)
def test_one_word_less_is_different(said: str, shown: str) -> None:
    assert judged(sent(), PLAIN.replace(said, shown).encode()).verdict is ReadBack.DIFFERENT


def test_words_without_our_identifier_anywhere_are_different() -> None:
    resource = sent() | {"description": "Consult"}
    del resource["identifier"], resource["masterIdentifier"]
    text = PLAIN.replace(SIGNED.identifier, "")
    assert judged(resource, text.encode()).verdict is ReadBack.DIFFERENT


def test_a_document_written_in_another_order_is_rewritten() -> None:
    pretty = json.pretty(json.loads(SIGNED.document)).encode()
    assert judged(sent(), SIGNED.pdf, pretty) == Compared(ReadBack.REWRITTEN, ("content[1]",))


def test_a_letter_that_is_not_ours_is_different_even_beside_a_true_document() -> None:
    found = judged(sent(), b"%PDF-1.7 another letter", SIGNED.document)
    assert found.verdict is ReadBack.DIFFERENT
    assert found.fields[0] == "content[0]"


def test_one_content_of_two_is_rewritten() -> None:
    resource = sent()
    del resource["content"][1]
    found = judged(resource, SIGNED.pdf)
    assert found.verdict is ReadBack.REWRITTEN
    assert "content" in found.fields


def test_another_patient_is_different_whatever_the_bytes_say() -> None:
    resource = sent() | {"subject": {"reference": "Patient/p2"}}
    found = judged(resource)
    assert (found.verdict, found.fields[0]) == (ReadBack.DIFFERENT, "subject")


def test_a_document_that_was_retracted_there_is_different() -> None:
    assert judged(sent() | {"status": "entered-in-error"}).verdict is ReadBack.DIFFERENT
    assert judged(sent() | {"docStatus": "entered-in-error"}).verdict is ReadBack.DIFFERENT


def test_no_content_at_all_is_different() -> None:
    assert compare(queued(), SIGNED, "p1", sent(), ()).verdict is ReadBack.DIFFERENT


def test_the_narrative_of_the_document_alone_has_its_words() -> None:
    bundle = json.load_object(SIGNED.document)
    composition = bundle["entry"][0]["resource"]
    divs = " ".join(of_markup(s["text"]["div"]) for s in composition["section"])
    assert "Do not operate." in divs
    assert base64.b64decode(sent()["content"][0]["attachment"]["data"]) == SIGNED.pdf
