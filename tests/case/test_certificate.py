"""Grades follow from evidence, and only from evidence (TRUTH 3)."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fhir_bridge.case.certificate import COMPLETE, Count, Evidence, Grade, grade, line, said, worst
from fhir_bridge.case.findings import FINDINGS

counts = st.builds(
    Count,
    witness=st.sampled_from(["Bundle.total", "_summary=count", "QIDO instances", "C-FIND IMAGE"]),
    said=st.integers(0, 5),
    after=st.booleans(),
    trusted=st.booleans(),
    ids_agree=st.sampled_from([None, True, False]),
)
evidences = st.builds(
    Evidence,
    obtained=st.integers(0, 5),
    counts=st.lists(counts, max_size=4).map(tuple),
    missing=st.integers(0, 2),
    broken=st.sampled_from(["", "FB-2010"]),
    warnings=st.integers(0, 2),
    not_asked=st.sampled_from(["", "not offered"]),
    refused=st.sampled_from(["", "refused"]),
    findings=st.lists(st.sampled_from(sorted(FINDINGS)), max_size=2).map(tuple),
    unreadable=st.integers(0, 1),
    attachments_failed=st.integers(0, 1),
    attachments_empty=st.integers(0, 1),
)


@given(evidences)
def test_complete_is_earned(evidence):
    """Invariant complete_is_earned: a witness after the pull agrees, and nothing tells of more."""
    if grade(evidence) not in COMPLETE:
        return
    assert any(
        c.after and c.trusted and (c.ids_agree or c.said == evidence.obtained)
        for c in evidence.counts
    )
    assert not any(c.trusted and c.said > evidence.obtained for c in evidence.counts)
    bad_news = (evidence.missing, evidence.broken, evidence.warnings)
    assert not any((*bad_news, evidence.not_asked, evidence.refused))


@given(evidences, st.sampled_from(["missing", "warnings"]))
def test_more_bad_news_never_makes_a_grade_better(evidence, news):
    worse = replace(evidence, **{news: getattr(evidence, news) + 1})
    assert worst([grade(worse), grade(evidence)]) is grade(worse)


@given(evidences)
def test_proven_needs_two_lists_of_different_witnesses(evidence):
    if grade(evidence) is Grade.PROVEN:
        lists = {c.witness for c in evidence.counts if c.after and c.trusted and c.ids_agree}
        assert len(lists) >= 2


@given(evidences, counts)
def test_a_count_that_lies_is_no_evidence_of_anything(evidence, count):
    liar = replace(count, trusted=False)
    assert grade(replace(evidence, counts=(*evidence.counts, liar))) is grade(evidence)


def _counted(number: int, **more: object) -> Count:
    return Count("_summary=count", number, **{"after": True, **more})


@pytest.mark.parametrize(
    ("evidence", "expected"),
    [
        (Evidence(not_asked="no way", refused="also"), Grade.NOT_ASKED),
        (Evidence(refused="our access does not cover it", missing=1), Grade.REFUSED),
        (Evidence(obtained=29, counts=(_counted(31),)), Grade.SHORT),
        (Evidence(obtained=31, counts=(_counted(31),), missing=2), Grade.SHORT),
        (Evidence(obtained=31, counts=(_counted(31),), broken="FB-2010"), Grade.SHORT),
        (Evidence(obtained=31, counts=(_counted(31),), warnings=1), Grade.SHORT),
        (Evidence(obtained=31, counts=(_counted(31, after=False),)), Grade.UNKNOWN),
        (Evidence(obtained=31, counts=(_counted(30, trusted=False),)), Grade.UNKNOWN),
        (Evidence(obtained=31), Grade.UNKNOWN),
        (Evidence(obtained=31, counts=(_counted(31),)), Grade.CONSISTENT),
        (
            Evidence(
                obtained=94,
                counts=(
                    Count("QIDO instances", 94, after=True, ids_agree=True),
                    Count("C-FIND IMAGE", 94, after=True, ids_agree=True),
                ),
            ),
            Grade.PROVEN,
        ),
        (
            Evidence(
                obtained=94,
                counts=(
                    Count("QIDO instances", 94, after=True, ids_agree=True),
                    Count("C-FIND IMAGE", 94, after=True, ids_agree=False),
                ),
            ),
            Grade.SHORT,
        ),
    ],
)
def test_the_first_rule_that_applies_gives_the_grade(evidence, expected):
    assert grade(evidence) is expected


def test_the_line_says_the_highest_number_that_is_trusted():
    evidence = Evidence(
        obtained=3, counts=(_counted(9, trusted=False), _counted(4), Count("Bundle.total", 3))
    )
    assert said(evidence) == 4
    made = line("st-anne", "DocumentReference", evidence)
    assert (made.said, made.got, made.grade) == (4, 3, Grade.SHORT)
    assert made.witnesses == ("_summary=count", "Bundle.total")
    assert said(Evidence()) is None


@given(evidences)
def test_what_is_not_complete_says_why_and_every_finding_has_its_words(evidence):
    made = line("st-anne", "DocumentReference", evidence)
    assert bool(made.reason) is (made.grade not in COMPLETE)
    assert all(FINDINGS[code].nurse and FINDINGS[code].engineer for code in made.findings)
    assert set(made.agreed) <= set(made.witnesses)


@given(st.lists(st.sampled_from(Grade), max_size=5))
def test_a_case_is_as_good_as_its_worst_part_that_was_asked(grades):
    order = [Grade.REFUSED, Grade.SHORT, Grade.UNKNOWN, Grade.CONSISTENT, Grade.PROVEN]
    asked = [order.index(g) for g in grades if g is not Grade.NOT_ASKED]
    assert worst(grades) is (order[min(asked)] if asked else Grade.NOT_ASKED)
