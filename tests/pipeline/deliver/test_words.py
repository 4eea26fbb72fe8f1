from __future__ import annotations

import pytest

from fhir_bridge.pipeline.deliver.words import of_document, of_markup, of_rtf, shown_text, words

from .conftest import SIGNED


def test_the_words_of_an_opinion_are_its_titles_text_author_and_evidence() -> None:
    wanted = of_document(SIGNED.document)
    assert {"liver", "not", "operate", "6.90", "three", "sample"} <= wanted.keys()
    assert wanted["mr"] == 2, "once recommended, once cited"
    assert wanted["&"] == 1


@pytest.mark.parametrize(
    ("markup", "seen"),
    [
        ("<p>no</p><p>w</p>", "no w"),
        ("<p><b>no</b>w</p>", "now"),
        ("a<br/>b &lt; 5", "a b < 5"),
        ("<style>p {}</style>x<script>alert(1)</script>", "x"),
        ("<td>1</td><td>2</td>", "1 2"),
        ("<script>never closed", ""),
    ],
)
def test_markup_is_read_as_a_person_sees_it(markup: str, seen: str) -> None:
    assert " ".join(of_markup(markup).split()) == seen


def test_rtf_is_read_with_its_letters() -> None:
    text = of_rtf(r"{\rtf1\ansi{\b Do not} operate\par caf\'e9 \u956? \{x\}}")
    assert text.split() == ["Do", "not", "operate", "café", "μ", "{x}"]


def test_a_figure_keeps_its_digits() -> None:
    assert words("(6.90 ng/mL).") != words("6.9 ng/mL")


def test_what_no_person_can_be_sure_of_has_no_text() -> None:
    assert shown_text("application/pdf", b"%PDF-1.7 words") is None
    assert shown_text("application/fhir+json", b'{"resourceType":"Bundle"}') is None


def test_hostile_markup_is_read_in_time_that_grows_with_its_length() -> None:
    assert of_markup("<script>" * 200_000).strip() == ""
    assert len(of_markup("<" * 1_000_000)) == 1_000_000
