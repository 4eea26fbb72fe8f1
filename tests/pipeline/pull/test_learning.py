"""What a pull teaches about its endpoint."""

from __future__ import annotations

from fhir_bridge.case.certificate import Count, Evidence
from fhir_bridge.case.slice import Slice
from fhir_bridge.pipeline.pull.learning import learned

TOTAL = "Bundle.total"


def a_slice(type_: str = "Observation", *, pages: int = 3, asked: str = "50", **evidence) -> Slice:
    question = (("patient", "1"), ("_count", asked))
    found = Evidence(**{"obtained": 120, "page_size": 50, **evidence})
    return Slice("c1", "general", type_, 1, question, pages=pages, ended=True, evidence=found)


def test_the_page_size_is_that_of_the_largest_page_where_more_followed():
    small = a_slice("Observation?category=laboratory", page_size=20)
    assert learned([a_slice(), small])["page_size"] == {"Observation": 50}


def test_one_short_page_teaches_nothing_of_the_page_size():
    assert "page_size" not in learned([a_slice(pages=1, obtained=7, page_size=7)])


def test_one_page_with_more_than_was_asked_for_does():
    found = learned([a_slice(pages=1, obtained=300, page_size=300)])
    assert found["page_size"] == {"Observation": 300}


def test_a_total_that_adds_up_is_trusted_and_one_that_did_not_once_lies():
    good = a_slice("Observation?category=a", counts=(Count(TOTAL, 120),))
    bad = a_slice("Observation?category=b", counts=(Count(TOTAL, 50, trusted=False),))
    assert learned([good])["totals"] == {"Observation": "trusted"}
    assert learned([good, bad])["totals"] == {"Observation": "lies"}


def test_a_total_below_what_came_lies_and_one_above_is_unproven():
    low, high = (a_slice(counts=(Count(TOTAL, said),)) for said in (100, 130))
    assert learned([low])["totals"] == {"Observation": "lies"}
    assert learned([high])["totals"] == {"Observation": "unproven"}


def test_another_count_is_no_total():
    found = learned([a_slice(counts=(Count("_summary=count", 120, after=True),))])
    assert found["totals"] == {"Observation": "absent"}


def test_refused_and_missing_types_are_named():
    refused = a_slice("ImagingStudy", pages=0, refused="our access does not cover it")
    absent = a_slice("CarePlan", pages=0, not_asked="not offered")
    found = learned([refused, absent, a_slice()])
    assert (found["refused"], found["not_offered"]) == (["ImagingStudy"], ["CarePlan"])


def test_an_access_that_was_widened_is_news():
    assert learned([a_slice()])["refused"] == []


def test_an_unended_slice_teaches_nothing():
    assert learned([Slice("c1", "general", "Observation", pages=4)]) == {}
