"""The opinion as a letter on A4: typst sets it, the text of the opinion stays literal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any, Literal

import typst

from fhir_bridge.case.opinion import Cited, Opinion
from fhir_bridge.errors import Hostile
from fhir_bridge.pipeline.opinion.document import sections
from fhir_bridge.standards.fhir import json

_TEMPLATE = Path(__file__).with_name("opinion.typ")
Standard = Literal["a-3a", "ua-1"]
_ARCHIVAL: tuple[Standard, ...] = ("a-3a", "ua-1")
# Our own fonts give the same bytes on every machine; the machine's fonts know more letters.
_TRIES: tuple[tuple[bool, tuple[Standard, ...]], ...] = (
    (False, _ARCHIVAL),
    (True, _ARCHIVAL),
    (True, ()),
)
_SHORT = 16
_MONTHS = (
    *("January", "February", "March", "April", "May", "June", "July", "August", "September"),
    *("October", "November", "December"),
)


@dataclass(frozen=True, slots=True)
class Letter:
    """
    A PDF. `archival` says that it is PDF/A-3a and PDF/UA-1 and shows every letter of the text.

    It is False when no font here has all of them: then some are empty boxes, and a person has to
    look before it is signed. For letters beyond our own fonts (Latin, Greek, Cyrillic) the
    machine's are used, and another machine may give other bytes.
    """

    pdf: bytes
    archival: bool


def render_pdf(
    opinion: Opinion,
    *,
    patient_line: str,
    question: str,
    document_identifier: str,
    document_sha256: str,
    letterhead: str = "",
    document: bytes = b"",
) -> Letter:
    """
    Set the letter. The same arguments give the same bytes: its date is the opinion's.

    `patient_line` is how the patient is named, in one line. `document` is the FHIR document, to be
    attached. Raises Hostile for text that cannot be set at all.
    """
    letter = _letter(opinion, patient_line, question, letterhead)
    letter["document"] = {
        "identifier": document_identifier,
        "version": opinion.version,
        "short": document_sha256[:_SHORT],
        "attached": bool(document),
    }
    inputs = {"letter": json.dumps(letter).decode(), "document": document.decode()}
    return _set(inputs, _noon(opinion.date))


def _set(inputs: dict[str, str], timestamp: int) -> Letter:
    last: typst.TypstError | None = None
    for system_fonts, standards in _TRIES:
        try:
            pdf = _compiled(inputs, timestamp, standards, system_fonts=system_fonts)
            return Letter(pdf, archival=bool(standards))
        except typst.TypstError as error:
            last = error
    raise Hostile("the opinion cannot be set as a letter") from last


def _compiled(
    inputs: dict[str, str], timestamp: int, standards: Sequence[Standard], *, system_fonts: bool
) -> bytes:
    return bytes(
        typst.compile(
            _TEMPLATE.read_bytes(),
            format="pdf",
            sys_inputs=inputs,
            pdf_standards=list(standards),
            ignore_system_fonts=not system_fonts,
            timestamp=timestamp,
        )
    )


def _letter(opinion: Opinion, patient_line: str, question: str, letterhead: str) -> dict[str, Any]:
    shown = [{"title": title, "blocks": found} for title, found in sections(opinion, question)]
    # `sections` gives the question first, when there is one.
    asked = shown.pop(0) if _has_question(opinion, question) else {"title": "", "blocks": []}
    author = opinion.author
    when = date.fromisoformat(opinion.date)
    return {
        "title": opinion.title,
        "label": "Second opinion",
        "subject": "Second opinion",
        "letterhead": letterhead or author.organisation or "Second opinion",
        "author": {
            "name": author.name,
            "qualification": author.qualification,
            "organisation": author.organisation,
        },
        "day": [when.year, when.month, when.day],
        "date": f"{when.day} {_MONTHS[when.month - 1]} {when.year}",
        "patient": patient_line,
        "question": asked["blocks"],
        "question-title": asked["title"],
        "sections": shown,
        "evidence": [_evidence(cited) for cited in opinion.cited],
        "record": opinion.record_sha256[:_SHORT],
    }


def _has_question(opinion: Opinion, question: str) -> bool:
    own = any(section.title.casefold() == "question" for section in opinion.sections)
    return own or bool(question.strip())


def _evidence(cited: Cited) -> Mapping[str, str]:
    return {
        "title": cited.title,
        "version": cited.version or "-",
        "sha256": cited.sha256[:_SHORT] or "-",
    }


def _noon(day: str) -> int:
    """The moment that the PDF carries: noon UTC of the opinion's day, as the document has it."""
    when = date.fromisoformat(day)
    return int(datetime(when.year, when.month, when.day, 12, tzinfo=UTC).timestamp())
