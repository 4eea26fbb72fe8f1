from __future__ import annotations

import hashlib
import subprocess
import sys
from dataclasses import replace
from typing import Any

import pytest

from fhir_bridge.case.opinion import Author, Opinion, Section
from fhir_bridge.pipeline.opinion.document import document_identifier, opinion_document
from fhir_bridge.pipeline.opinion.pdf import Letter, render_pdf

from .conftest import PATIENT, parsed

DOCUMENT = opinion_document(
    parsed(), patient=PATIENT, organisation="Centre", question="q", replaces=None
)


def letter(opinion: Opinion, **changed: Any) -> Letter:
    asked: dict[str, Any] = {
        "patient_line": "Ann Example, born 29 February 1960, female, MRN GH-1",
        "question": "Operate?",
        "document_identifier": document_identifier(opinion),
        "document_sha256": hashlib.sha256(DOCUMENT).hexdigest(),
        "document": DOCUMENT,
    }
    return render_pdf(opinion, **asked | changed)


def with_text(text: str) -> Opinion:
    return replace(parsed(), sections=(Section("Opinion", text),))


def test_it_is_an_archival_pdf_that_carries_the_document() -> None:
    made = letter(parsed())
    assert made.archival
    assert made.pdf.startswith(b"%PDF-1.7")
    for mark in (b"pdfaid:part>3", b"pdfaid:conformance>A", b"pdfuaid:part>1"):
        assert mark in made.pdf
    assert b"/AFRelationship/Source" in made.pdf
    assert b"opinion.fhir.json" in made.pdf


def test_the_same_opinion_gives_the_same_bytes_in_another_process_too() -> None:
    asked = (
        "import sys; from fhir_bridge.case.opinion import *;"
        "from fhir_bridge.pipeline.opinion.pdf import render_pdf; import hashlib;"
        "o = Opinion('o', 'c', 1, 'T', Author('A'), '2025-07-18', (Section('S', 'x **y**'),));"
        "p = render_pdf(o, patient_line='P', question='Q', document_identifier='urn:uuid:1',"
        " document_sha256='ab' * 32, document=b'{}').pdf;"
        "print(hashlib.sha256(p).hexdigest())"
    )
    made = [
        subprocess.run(
            [sys.executable, "-c", asked], capture_output=True, check=True, env={"TZ": zone}
        ).stdout
        for zone in ("UTC", "Pacific/Kiritimati")
    ]
    assert made[0] == made[1] != b""


def test_another_word_gives_other_bytes() -> None:
    assert letter(with_text("Operate.")).pdf != letter(with_text("Do not operate.")).pdf


@pytest.mark.parametrize(
    "text",
    [
        '#eval("x") $x$ @ref #include "x" \\ // /* */ <label> ~ = _ *',
        "### a\n\n| a | b |\n|:-:|--:|\n| 1 | |\n\n> q\n\n3. x\n   - y\n\n```\nz\n```\n\n---",
        "Lorem ipsum dolor sit amet. " * 3_000,
        "A" * 5_000,
        "Žižek łódź Второе Γνώμη ≤ 5 µg λ β → ± ÷ ² ½ … • ° ‰",
    ],
    ids=["typst-markup", "every-block", "very-long", "one-long-word", "letters"],
)
def test_any_text_is_set_archivally(text: str) -> None:
    assert letter(with_text(text)).archival


def test_sixty_letter_names_and_nothing_cited_are_set() -> None:
    name = "B" * 60
    opinion = replace(parsed(), author=Author(name, name, name), title=name * 3, cited=())
    assert letter(opinion, patient_line=f"{name} {name}", letterhead=name).archival


def test_letters_that_no_font_has_are_told() -> None:
    made = letter(with_text("\U0001f9ff \ue000"))
    assert not made.archival
    assert made.pdf.startswith(b"%PDF-")


def test_without_a_document_nothing_is_attached() -> None:
    made = letter(parsed(), document=b"")
    assert made.archival
    assert b"opinion.fhir.json" not in made.pdf
