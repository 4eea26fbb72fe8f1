"""Which case an arrival goes to, and that doubt never brings it there."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fhir_bridge.case.case import Case
from fhir_bridge.case.identity import Identifier, Person
from fhir_bridge.pipeline.receive.match import Ties, assign, is_same_patient

LENA = Person(
    identifiers=(Identifier("urn:mrn", "1"),),
    family="Hartmann",
    given="Lena",
    birth_date="1961-03-04",
    sex="female",
)
BEN = Person((Identifier("urn:mrn", "2"),), "Okafor", "Ben", "1975-01-01", "male")


@pytest.fixture
def open_case(stand):
    def opened(case_id: str, person: Person = LENA) -> Case:
        return replace(stand.case(case_id), person=person)

    return opened


def test_an_asked_for_image_goes_to_the_case_that_asked(open_case):
    cases = [open_case("a"), open_case("b")]
    assert assign(LENA, ties=Ties(asked="b"), open_cases=cases).case_id == "b"


def test_an_asked_for_image_of_another_patient_is_set_aside_in_that_case(open_case):
    decided = assign(BEN, ties=Ties(asked="a"), open_cases=[open_case("a")])
    assert (decided.case_id, bool(decided.quarantined)) == ("a", True)


def test_a_study_stays_with_its_case_even_when_two_cases_have_the_patient(open_case):
    cases = [open_case("a"), open_case("b")]
    assert assign(LENA, ties=Ties(study="a"), open_cases=cases).case_id == "a"


def test_an_accession_number_brings_it_to_its_case_when_the_patient_is_not_contradicted(open_case):
    cases = [open_case("a"), open_case("b", BEN)]
    nameless = Person()
    assert assign(nameless, ties=Ties(accession="a"), open_cases=cases).case_id == "a"


def test_an_accession_number_is_not_believed_against_the_patient(open_case):
    decided = assign(BEN, ties=Ties(accession="a"), open_cases=[open_case("a")])
    assert (decided.case_id, decided.quarantined) == (None, "")


def test_two_cases_of_the_same_patient_leave_the_choice_to_a_person(open_case):
    decided = assign(LENA, ties=Ties(), open_cases=[open_case("a"), open_case("b")])
    assert (decided.case_id, decided.rule) == (None, "ambiguous")


def test_a_number_alone_is_not_enough(open_case):
    bare = Person(identifiers=LENA.identifiers)
    assert assign(bare, ties=Ties(), open_cases=[open_case("a")]).case_id is None


def test_an_equal_number_of_another_issuer_is_not_the_same_patient():
    assert not is_same_patient(LENA, replace(LENA, identifiers=(Identifier("other", "1"),)))


def test_a_name_with_a_replaced_character_decides_nothing():
    assert not is_same_patient(LENA, replace(LENA, family="H\ufffdrtmann", birth_date=""))


@given(
    st.sampled_from(["", "1961-03-04", "1961-03-05"]),
    st.sampled_from(["", "Hartmann", "Okafor"]),
    st.sampled_from(["", "female", "male"]),
    st.sampled_from(["1", "2"]),
)
def test_no_contradiction_ever_brings_an_image_to_a_case(birth_date, family, sex, value):
    found = Person((Identifier("urn:mrn", value),), family, "Lena", birth_date, sex)
    if is_same_patient(LENA, found):
        assert value == "1"
        assert birth_date in ("", LENA.birth_date)
        assert family in ("", LENA.family)
        assert sex in ("", LENA.sex)
