"""The right patient, or nothing: who this case's patient is at a source (TRUTH 4)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from fhir_bridge.case.case import Pin, PinState
from fhir_bridge.case.events import Happened
from fhir_bridge.case.identity import Outcome, Person, contradicts, decide
from fhir_bridge.errors import ProviderRefused
from fhir_bridge.pipeline.pull.source import Ehr, Source, searchset
from fhir_bridge.pipeline.pull.withheld import withholds
from fhir_bridge.standards.fhir import json
from fhir_bridge.standards.fhir.person import person

Question = tuple[tuple[str, str], ...]
RULE = "identifier, birth date and family name agree; one candidate; list not truncated"


def settle_patient(source: Source, ehr: Ehr) -> Pin:
    """
    The pin of this source, asked for now if it is not settled.

    Nothing but Patient is fetched before it is accepted. An open question is asked anew until a
    person answers it; what a person or a rule settled stays as it is. Only a number that a person
    wrote and the hospital never offered is looked at first, because it may be a slip of the pen.
    """
    pin = source.pin()
    if pin.state is PinState.ACCEPTED and _is_unseen(pin):
        return _noted(source, _looked_at(source, ehr, pin))
    if pin.state in (PinState.ACCEPTED, PinState.REFUSED):
        return pin
    candidates, truncated = _candidates(source, ehr)
    outcome = decide(source.case.person, candidates, truncated=truncated)
    return _noted(source, _pin(source, outcome, candidates), candidates=len(candidates))


def _noted(source: Source, pin: Pin, **facts: int) -> Pin:
    accepted = pin.state is PinState.ACCEPTED
    name = Happened.PATIENT_PINNED if accepted else Happened.PATIENT_ASKED
    source.pins.pin(pin, source.event(name, **facts))
    return pin


def _is_unseen(pin: Pin) -> bool:
    return pin.decided_by != RULE and pin.patient_id not in {one.id for one in pin.candidates}


def _looked_at(source: Source, ehr: Ehr, pin: Pin) -> Pin:
    """The pin with whom its number stands for; a question again when that is not our patient."""
    try:
        found = person(json.load_object(ehr.read(f"Patient/{pin.patient_id}").body or b""))
    except ProviderRefused:
        found = Person()
    asked = Pin(source.case.id, source.id, PinState.ASKED)
    if found.id != pin.patient_id:
        return replace(asked, reason="the hospital has no patient with the number that was given")
    if contradicts(source.case.person, found):
        reason = "the number that was given is somebody else's at the hospital"
        return replace(asked, reason=reason, candidates=(found,))
    return replace(pin, candidates=(found,))


def _pin(source: Source, outcome: Outcome, candidates: tuple[Person, ...]) -> Pin:
    if outcome is Outcome.ACCEPT:
        return Pin(source.case.id, source.id, PinState.ACCEPTED, candidates[0].id, RULE)
    if not candidates:
        reason = "the hospital finds nobody with these details"
    elif outcome is Outcome.REFUSE:
        reason = "the hospital's patient has another name and birth date"
    elif len(candidates) > 1:
        reason = f"the hospital has {len(candidates)} possible patients"
    else:
        reason = "the hospital's patient agrees only in part"
    return Pin(source.case.id, source.id, PinState.ASKED, reason=reason, candidates=candidates)


def _candidates(source: Source, ehr: Ehr) -> tuple[tuple[Person, ...], bool]:
    """
    Candidates by any of the case's numbers, else by name and birth date; and whether the list may
    be cut. Numbers that lead to different patients make different candidates.
    """
    who = source.case.person
    people, cut = _answers(ehr, _by_number(who))
    if not people:
        people, more = _answers(ehr, _by_name(who))
        cut = cut or more
    return tuple(people[id_] for id_ in sorted(people)), cut


def _answers(ehr: Ehr, questions: Sequence[Question]) -> tuple[dict[str, Person], bool]:
    people: dict[str, Person] = {}
    cut = False
    for params in questions:
        try:
            found = searchset(ehr.search("Patient", params, post=True), ehr)
        except ProviderRefused:
            continue  # this server does not allow that combination; the next one may do
        ours = [e.resource for e in found.matches if e.resource.get("resourceType") == "Patient"]
        named = {who.id: who for who in map(person, ours) if who.id}
        # Who cannot be told apart, or is hinted at, may be another candidate.
        cut = cut or bool(found.next_link) or (found.total or 0) > len(named)
        cut = cut or bool(found.unreadable) or any(map(withholds, found.issues))
        cut = cut or any(not person(resource).id for resource in ours)
        people |= named
    return people, cut


def _by_number(who: Person) -> Sequence[Question]:
    numbers = [i for i in who.identifiers if i.system and i.value]
    return [(("identifier", f"{number.system}|{number.value}"),) for number in numbers]


def _by_name(who: Person) -> Sequence[Question]:
    if not (who.family and who.birth_date):
        return []
    given = (("given", who.given),) if who.given else ()
    return [(("family", who.family), *given, ("birthdate", who.birth_date))]
