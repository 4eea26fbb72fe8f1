"""Tables answer for one code at a time; what they do not know is said, never guessed."""

from __future__ import annotations

import pytest

from fhir_bridge.errors import ConfigurationError
from fhir_bridge.standards.terminology.translate import (
    Matched,
    Unmatched,
    concept_map,
    translate,
    words,
)


def test_a_vendors_own_code_is_translated_to_loinc_with_its_section():
    vendor = {"system": "urn:oid:1.2.840.114350.1.72.727879.69848980", "code": "4"}
    found = translate("document-type", vendor)
    assert isinstance(found, Matched)
    assert found.coding() == {
        "system": "http://loinc.org",
        "code": "34117-2",
        "display": "History and physical note",
    }
    assert (found.section, found.equivalence) == ("course", "equivalent")


def test_loinc_under_its_oid_is_loinc():
    by_oid = {"system": "urn:oid:2.16.840.1.113883.6.1", "code": "11526-1"}
    found = translate("document-type", by_oid)
    assert isinstance(found, Matched)
    assert found.section == "pathology"


@pytest.mark.parametrize(
    "coding",
    [{}, {"system": "http://x.example", "code": "1"}, {"code": "11526-1"}, {"code": {"odd": 1}}],
)
def test_an_unknown_code_is_unmatched(coding):
    assert isinstance(translate("document-type", coding), Unmatched)


def test_words_fall_back_to_the_code():
    assert words("modality", "CT") == "CT scan"
    assert words("report-status", "preliminary") == "Preliminary, not signed"
    assert words("modality", "??") == "??"


def test_a_table_that_is_not_there_is_a_configuration_error():
    with pytest.raises(ConfigurationError):
        translate("no-such-table", {})


def test_a_published_map_names_source_target_and_equivalence():
    published = concept_map("document-type")
    elements = {e["code"]: e for g in published["group"] for e in g["element"]}
    assert elements["11526-1"]["target"][0]["equivalence"] == "equal"
    assert published["url"].endswith("/ConceptMap/document-type")
