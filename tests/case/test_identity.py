"""The right patient, or nothing: what two descriptions prove, and what follows (TRUTH 4)."""

from __future__ import annotations

from dataclasses import fields, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fhir_bridge.case.identity import (
    Comparison,
    Identifier,
    Match,
    Outcome,
    Person,
    compare,
    contradicts,
    decide,
)

MRN, NATIONAL = "urn:oid:2.16.840.1.113883.19.5", "urn:oid:2.16.756.5.32"
JANE = Person(
    identifiers=(Identifier(MRN, "00123"), Identifier(NATIONAL, "756.1")),
    family="Doe",
    given="Jane",
    birth_date="1961-03-14",
    sex="female",
    id="p1",
)
TOWARD_ACCEPT = {Outcome.REFUSE: 0, Outcome.ASK: 1, Outcome.ACCEPT: 2}

names = st.sampled_from(
    ["", "Doe", "DOE", "Dóe", "Smith", "Smyth", "Иванов", "O'Brien", "O\u2019Brien"]
)
numbers = st.lists(
    st.builds(Identifier, st.sampled_from([MRN, NATIONAL, ""]), st.sampled_from(["1", "01", " 1"])),
    max_size=3,
).map(tuple)
dates = st.sampled_from(["", "1961", "1961-03", "1961-03-14", "19610314", "1961-03-15", "unknown"])
people = st.builds(
    Person,
    identifiers=numbers,
    family=names,
    given=names,
    birth_date=dates,
    sex=st.sampled_from(["", "F", "female", "male", "unknown"]),
    id=st.sampled_from(["p1", "p2"]),
    replaced=st.booleans(),
)
CONTRADICTIONS = {
    "identifiers": (Identifier(MRN, "99999"),),
    "family": "Zweig",
    "given": "Wolfgang",
    "birth_date": "1999-12-31",
    "sex": "male",
}


def test_the_same_description_agrees_in_everything():
    assert set(_matches(compare(JANE, JANE))) == {Match.AGREE}
    assert decide(JANE, [JANE], truncated=False) is Outcome.ACCEPT


@given(people, people)
def test_it_does_not_matter_who_is_compared_with_whom(one, other):
    assert compare(one, other) == compare(other, one)
    assert contradicts(one, other) == contradicts(other, one)


@given(people, people, st.sampled_from(sorted(CONTRADICTIONS)))
def test_a_contradicting_fact_never_moves_toward_accept(case, candidate, fact):
    case = replace(case, **{fact: getattr(JANE, fact)})
    before = decide(case, [candidate], truncated=False)
    worse = replace(candidate, **{fact: CONTRADICTIONS[fact]})
    assert getattr(compare(case, worse), _compared(fact)) is Match.DISAGREE
    after = decide(case, [worse], truncated=False)
    assert TOWARD_ACCEPT[after] <= TOWARD_ACCEPT[before]
    assert after is not Outcome.ACCEPT


@given(people, people)
def test_one_more_number_that_contradicts_is_never_outweighed(case, candidate):
    case = replace(case, identifiers=(*case.identifiers, Identifier("urn:more", "7")))
    worse = replace(candidate, identifiers=(*candidate.identifiers, Identifier("urn:more", "8")))
    assert compare(case, worse).identifier is Match.DISAGREE
    assert decide(case, [worse], truncated=False) is not Outcome.ACCEPT


@given(people, people, st.sampled_from(sorted(CONTRADICTIONS)))
def test_a_fact_that_is_missing_is_never_taken_for_agreement(case, candidate, fact):
    seen = compare(case, candidate)
    if getattr(seen, _compared(fact)) is not Match.AGREE:
        return
    blank = replace(candidate, **{fact: () if fact == "identifiers" else ""})
    assert getattr(compare(case, blank), _compared(fact)) is Match.UNKNOWN
    before = decide(case, [candidate], truncated=False)
    assert TOWARD_ACCEPT[decide(case, [blank], truncated=False)] <= TOWARD_ACCEPT[before]


@given(people, st.lists(people, max_size=3))
def test_a_list_that_may_be_cut_is_never_accepted(case, candidates):
    assert decide(case, candidates, truncated=True) is Outcome.ASK


@given(people, st.lists(people, min_size=2, max_size=4))
def test_several_candidates_are_always_asked_about(case, candidates):
    assert decide(case, candidates, truncated=False) is Outcome.ASK


@given(people, people)
def test_accept_rests_on_number_birth_date_and_family_name(case, candidate):
    if decide(case, [candidate], truncated=False) is Outcome.ACCEPT:
        seen = compare(case, candidate)
        assert {seen.identifier, seen.birth_date, seen.family} == {Match.AGREE}
        assert Match.DISAGREE not in _matches(seen)
        assert not candidate.replaced


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        ("MÜLLER", "Mueller"),
        ("MÜLLER", "Muller"),
        ("O'Brien", "O\u2019Brien"),
        ("Иванов", "Ivanov"),
        ("José", "Jose"),
        ("山田", "Yamada"),
        ("Ø", "O"),
        ("D\ufffde", "Doe"),
        ("", "Doe"),
        ("Doe", "Doe-Smith"),
        ("Beethoven", "van Beethoven"),
        ("Smith", "Smyth"),
        ("J.", "Jane"),
    ],
)
def test_another_spelling_is_unknown_and_not_disagree(ours, theirs):
    person, other = replace(JANE, family=ours), replace(JANE, family=theirs)
    assert compare(person, other).family is Match.UNKNOWN
    assert decide(person, [other], truncated=False) is Outcome.ASK
    assert not contradicts(person, other)


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [("Doe", "DOE"), ("M\u00fcller", "Mu\u0308ller"), ("O'Brien", "OBRIEN"), ("Straße", "STRASSE")],
)
def test_case_composition_and_punctuation_are_no_difference(ours, theirs):
    assert compare(replace(JANE, family=ours), replace(JANE, family=theirs)).family is Match.AGREE


@pytest.mark.parametrize(("ours", "theirs"), [("Doe", "Roe"), ("Smith", "Stevens"), ("Li", "Wu")])
def test_two_plain_names_that_are_not_alike_disagree(ours, theirs):
    seen = compare(replace(JANE, family=ours), replace(JANE, family=theirs))
    assert seen.family is Match.DISAGREE


@pytest.mark.parametrize(
    ("ours", "theirs", "match"),
    [
        ("1961-03-14", "19610314", Match.AGREE),
        ("1961-03-14", "1961", Match.UNKNOWN),
        ("1961-03-14", "1962", Match.DISAGREE),
        ("1961-03-14", "14.3.1961", Match.UNKNOWN),
        ("1961-03-14", "unknown", Match.UNKNOWN),
    ],
)
def test_a_birth_date_is_compared_as_far_as_it_is_known(ours, theirs, match):
    seen = compare(replace(JANE, birth_date=ours), replace(JANE, birth_date=theirs))
    assert seen.birth_date is match


def test_leading_zeros_and_inner_blanks_of_a_number_count():
    for other in ("123", "001 23"):
        seen = compare(JANE, replace(JANE, identifiers=(Identifier(MRN, other),)))
        assert seen.identifier is Match.DISAGREE


def test_one_of_two_numbers_of_the_same_issuer_is_enough():
    """A hospital that merged two charts knows the patient by both numbers."""
    both = (Identifier(MRN, "77"), Identifier(MRN, "00123"))
    for order in (both, both[::-1]):
        assert compare(JANE, replace(JANE, identifiers=order)).identifier is Match.AGREE


def test_a_number_without_issuer_proves_nothing():
    bare = replace(JANE, identifiers=(Identifier("", "00123"),))
    assert compare(JANE, bare).identifier is Match.UNKNOWN
    assert decide(JANE, [bare], truncated=False) is Outcome.ASK


@pytest.mark.parametrize("given_name", ["Jean", "Wilma"])
def test_a_twin_is_never_accepted(given_name):
    """Same family, same birthday, same address; even with the other's number by mistake."""
    twin = replace(JANE, given=given_name, identifiers=(Identifier(MRN, "00124"),), id="p2")
    assert decide(JANE, [twin], truncated=False) is Outcome.ASK
    assert decide(JANE, [JANE, twin], truncated=False) is Outcome.ASK
    mistaken = replace(twin, identifiers=JANE.identifiers)
    assert decide(JANE, [mistaken], truncated=False) is Outcome.ASK


def test_a_family_at_one_address_is_never_accepted():
    """What a household shares (name, telephone, address) is no number of one person."""
    mother = replace(JANE, given="Joan", birth_date="1935-01-01", identifiers=(), id="m")
    namesake = replace(JANE, identifiers=(), id="n")
    assert decide(JANE, [mother], truncated=False) is not Outcome.ACCEPT
    assert decide(JANE, [namesake], truncated=False) is Outcome.ASK
    assert decide(JANE, [mother, namesake], truncated=False) is Outcome.ASK


def test_another_name_and_another_birth_date_are_refused():
    other = replace(JANE, family="Roe", birth_date="1970-01-01")
    assert decide(JANE, [other], truncated=False) is Outcome.REFUSE


def test_a_record_that_was_merged_away_is_asked_about():
    assert decide(JANE, [replace(JANE, replaced=True)], truncated=False) is Outcome.ASK


def test_nobody_found_is_a_question():
    assert decide(JANE, [], truncated=False) is Outcome.ASK


def _matches(seen: Comparison) -> list[Match]:
    return [getattr(seen, field.name) for field in fields(seen)]


def _compared(fact: str) -> str:
    return "identifier" if fact == "identifiers" else fact
