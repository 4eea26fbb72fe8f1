"""Which case an arriving image belongs to, if any, and whether it may be shown there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from fhir_bridge.case.case import Case
from fhir_bridge.case.identity import Match, Person, compare, contradicts

OTHER_PATIENT = "the image names another patient than the case"


@dataclass(frozen=True, slots=True)
class Ties:
    """
    What is known before the patient is looked at: cases that an arrival is tied to.

    `asked` is the case for which we asked for it, `study` the case that already has its study,
    `accession` the case that has this accession number from the same source.
    """

    asked: str | None = None
    study: str | None = None
    accession: str | None = None


@dataclass(frozen=True, slots=True)
class Assignment:
    """
    The decision: `case_id` None is Unassigned, `rule` says why, and `quarantined` is one sentence
    when the item must wait for a person (empty when it may be shown).
    """

    case_id: str | None
    rule: str
    quarantined: str = ""


def assign(found: Person, *, ties: Ties, open_cases: Sequence[Case]) -> Assignment:
    """
    The case of an arrival: by our own question, its study, its accession number, its patient.

    A header that contradicts the case of its study sets aside this item alone (TRUTH 4). An
    accession number is no strong tie: where the patient contradicts, it is not believed. By patient
    alone it takes one open case whose identifier agrees, with birth date or family name, and
    which nothing contradicts; two such cases leave the choice to a person.
    """
    cases = {case.id: case for case in open_cases}
    for case_id, rule in ((ties.asked, "asked-for"), (ties.study, "study")):
        if case_id is not None:
            return Assignment(case_id, rule, _objection(cases.get(case_id), found))
    by_number = cases.get(ties.accession or "")
    if by_number is not None and not contradicts(by_number.person, found):
        return Assignment(by_number.id, "accession")
    same = [case for case in open_cases if is_same_patient(case.person, found)]
    if len(same) == 1:
        return Assignment(same[0].id, "patient")
    return Assignment(None, "ambiguous" if same else "unknown")


def is_same_patient(ours: Person, found: Person) -> bool:
    """Whether an unasked arrival may go to a case by itself: unknown is never taken for agree."""
    seen = compare(ours, found)
    if Match.DISAGREE in (seen.identifier, seen.birth_date, seen.family, seen.sex):
        return False
    return seen.identifier is Match.AGREE and Match.AGREE in (seen.birth_date, seen.family)


def _objection(case: Case | None, found: Person) -> str:
    return OTHER_PATIENT if case is not None and contradicts(case.person, found) else ""
