from __future__ import annotations

import time
from contextlib import suppress
from typing import Literal

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from fhir_bridge.case.opinion import Author, Opinion, Section
from fhir_bridge.errors import UsageError
from fhir_bridge.pipeline.opinion.evidence import CitableRecord
from fhir_bridge.pipeline.opinion.parse import MAX_BYTES, parse_opinion
from fhir_bridge.standards.fhir import json

from .conftest import BODY, HEAD, RECORD, entry, parsed

Kind = Literal["md", "json"]
JSON = {
    "title": "Second opinion: liver metastases",
    "author": "Dr. A. Sample",
    "qualification": "Surgeon, MD",
    "organisation": "Second Opinion Centre",
    "date": "2025-07-18",
    "sections": [{"title": s.title, "text": s.text} for s in parsed().sections],
    "evidence": ["MR of the liver", "CT restaging"],
}


def of_json(found: object, *, record: CitableRecord = RECORD) -> Opinion:
    text = found if isinstance(found, bytes) else json.dumps(found)
    return parse_opinion(text, kind="json", opinion_id="o1", case_id="c1", version=1, record=record)


def refused(text: str | bytes, kind: Kind = "md") -> str:
    body = text if isinstance(text, bytes) else text.encode()
    with pytest.raises(UsageError) as error:
        parse_opinion(body, kind=kind, opinion_id="o1", case_id="c1", version=1, record=RECORD)
    return error.value.detail


def test_markdown_becomes_an_opinion() -> None:
    opinion = parsed()
    assert opinion.title == "Second opinion: liver metastases"
    assert opinion.author == Author("Dr. A. Sample", "Surgeon, MD", "Second Opinion Centre")
    assert opinion.sections[0] == Section("Question", "Operate?")
    assert [s.title for s in opinion.sections] == ["Question", "Opinion"]
    assert opinion.record_sha256 == RECORD.sha256


def test_evidence_is_pinned_to_entry_version_and_hash() -> None:
    assert parsed().cited == RECORD.entries[:2]


def test_json_says_the_same() -> None:
    assert of_json(JSON) == parsed()


def test_line_ends_and_a_byte_order_mark_change_nothing() -> None:
    assert parsed("\ufeff" + (HEAD + BODY).replace("\n", "\r\n")) == parsed()


def test_a_heading_in_a_list_or_in_code_begins_no_section() -> None:
    text = HEAD + "## Opinion\n\n- a\n\n  ## inner\n\n```\n## code\n```\n\n### deeper\n\nb\n"
    assert [s.title for s in parsed(text).sections] == ["Opinion"]


def test_a_document_cited_twice_is_cited_once() -> None:
    assert len(parsed(HEAD + BODY + "- MR of the liver\n").cited) == 2


def test_an_entry_of_a_title_that_two_share_is_named_by_its_urn() -> None:
    urn = RECORD.entries[3].entry
    assert parsed(HEAD + BODY + f"- Letter ({urn})\n").cited[-1] == RECORD.entries[3]


def test_the_same_content_under_two_entries_is_one_thing() -> None:
    twice = CitableRecord("", (entry("Letter", 3, "same"), entry("letter", 4, "same")))
    assert of_json(JSON | {"evidence": ["Letter"]}, record=twice).cited == twice.entries[:1]


def test_an_opinion_may_cite_nothing() -> None:
    assert parsed(HEAD + "## Opinion\n\nNo.\n").cited == ()
    assert parsed(HEAD + "## Opinion\n\nNo.\n\n## Evidence\n").cited == ()


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "line 1: expected '---'"),
        ("title: x", "line 1: expected '---'"),
        ("---\ntitle: x\n", "expected '---' after"),
        (HEAD.replace("author", "autor") + BODY, "line 3: expected one of title, author"),
        (HEAD.replace("date: 2025-07-18", "") + BODY, "'date' is missing"),
        (HEAD.replace("2025-07-18", "2025-02-30") + BODY, "line 6: expected a date, YYYY-MM-DD"),
        (HEAD.replace("2025-07-18", "18.07.2025") + BODY, "line 6: expected a date"),
        (HEAD.replace("author: Dr. A. Sample", "author:") + BODY, "line 3: 'author' is missing"),
        (HEAD.replace("date:", "title: y\ndate:") + BODY, "line 6: 'title' stands here twice"),
        (HEAD, "no section"),
        (HEAD + "\ntext first\n" + BODY, "line 9: expected a section, '## Heading'"),
        (HEAD + "# Opinion\n\nx\n", "line 8: expected '## '"),
        (HEAD + "## Opinion\n\n## Next\n\nx\n", "line 8: the section is empty"),
        (HEAD + "## \n\nx\n", "line 8: expected a heading"),
        (HEAD + "## A\n\nx\x00\n", "line 10: a control character"),
        (HEAD + "## A\n\n" + "> " * 40 + "x\n", "line 8: lists or quotes are nested too deeply"),
        (HEAD + BODY + "- Nowhere\n", "line 27: the case record has no such document"),
        (HEAD + BODY + "- Letter\n", "line 27: 2 documents of the case record have this title"),
        (HEAD + "## A\n\nx\n\n## Evidence\n\nThe MR.\n", "line 14: expected a list"),
        (HEAD + BODY + "\n## Evidence\n\n- MR of the liver\n", "line 28: a second 'Evidence'"),
    ],
)  # fmt: skip
def test_an_error_names_the_line_and_what_is_expected(text: str, says: str) -> None:
    assert says in refused(text)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"title": 1}, "title: expected text"),
        ({"date": ""}, "date: 'date' is missing"),
        ({"extra": 1}, "expected only title"),
        ({"sections": {}}, "sections: expected a list"),
        ({"sections": [{"title": "a"}]}, "sections[0]: expected an object of title and text"),
        ({"sections": [{"title": "a", "text": " "}]}, "sections[0]: the section is empty"),
        ({"sections": [{"title": "Evidence", "text": "x"}]}, "sections[0]: expected the documents"),
        ({"evidence": ["MR of the liver", "x"]}, "evidence[1]: the case record has no such"),
        ({"title": "a\nb"}, "title: expected 'title' on one line"),
    ],
)
def test_an_error_in_json_names_the_place(change: dict[str, object], says: str) -> None:
    assert says in refused(json.dumps(JSON | change), "json")


@pytest.mark.parametrize("text", [b"", b"[]", b"{", b"\xff", b'{"title": NaN}', b"[" * 100])
def test_what_is_no_json_object_is_refused(text: bytes) -> None:
    assert "expected one JSON object" in refused(text, "json")


def test_text_that_is_not_utf8_names_its_line() -> None:
    assert "line 9: expected text in UTF-8" in refused(HEAD.encode() + b"## A\n\xe9\n")


def test_an_error_never_repeats_what_was_written() -> None:
    assert "Secretname" not in refused(HEAD + BODY + "- Secretname\n")


def test_an_opinion_beyond_the_cap_is_refused() -> None:
    assert "larger than" in refused("x" * (MAX_BYTES + 1))


@pytest.mark.parametrize("motif", ["*a_", "[", "`", "|a\n", "> ", "- ", "<b>", "**a", "\\", "&#x"])
def test_hostile_text_of_the_largest_size_is_answered_in_seconds(motif: str) -> None:
    text = HEAD + "## A\n\n" + motif * (250_000 // len(motif))
    begun = time.monotonic()
    with suppress(UsageError):
        parsed(text)
    assert time.monotonic() - begun < 20


@settings(max_examples=150, deadline=None)
@given(st.binary(max_size=300), st.sampled_from(["md", "json"]))
@example(b"---\n---\n## a\n\n- \x85\n", "md")
def test_any_bytes_are_read_or_refused_with_a_usage_error(text: bytes, kind: Kind) -> None:
    whole = HEAD.encode() + text if kind == "md" else text
    for body in (text, whole):
        try:
            parse_opinion(body, kind=kind, opinion_id="o", case_id="c", version=1, record=RECORD)
        except UsageError:
            continue
