"""The right patient, or nothing: who this case's patient is at a source (TRUTH 4)."""

from __future__ import annotations

from collections.abc import Iterator

from fhir_bridge.case.case import Pin, PinState
from fhir_bridge.case.events import Happened
from fhir_bridge.case.identity import Outcome, Person, decide
from fhir_bridge.errors import ProviderRefused
from fhir_bridge.pipeline.pull.source import Ehr, Source, searchset
from fhir_bridge.standards.fhir.person import person

RULE = "identifier, birth date and family name agree; one candidate; list not truncated"


def settle_patient(source: Source, ehr: Ehr) -> Pin:
    """
    The pin of this source, asked for now if it is not settled.

    Nothing but Patient is fetched before it is accepted. An open question stays as it is until a
    person answers it.
    """
    pin = source.pin()
    if pin.state in (PinState.ACCEPTED, PinState.REFUSED):
        return pin
    candidates, truncated = _candidates(source, ehr)
    outcome = decide(source.case.person, candidates, truncated=truncated)
    pin = _pin(source, outcome, candidates)
    accepted = pin.state is PinState.ACCEPTED
    name = Happened.PATIENT_PINNED if accepted else Happened.PATIENT_ASKED
    source.pins.pin(pin, source.event(name, candidates=len(candidates)))
    return pin


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
    """Candidates by number, else by name and birth date; and whether the list may be cut."""
    for params in _questions(source.case.person):
        try:
            answer = ehr.search("Patient", params, post=True)
        except ProviderRefused:
            continue  # this server does not allow that combination; the next one may do
        found = searchset(answer, ehr)
        people = {
            entry.resource["id"]: person(entry.resource)
            for entry in found.matches
            if entry.resource.get("resourceType") == "Patient" and "id" in entry.resource
        }
        if people:
            cut = bool(found.next_link) or (found.total or 0) > len(people)
            return tuple(people[id_] for id_ in sorted(people)), cut
    return (), False


def _questions(who: Person) -> Iterator[tuple[tuple[str, str], ...]]:
    for identifier in who.identifiers:
        if identifier.system and identifier.value:
            yield (("identifier", f"{identifier.system}|{identifier.value}"),)
    if who.family and who.birth_date:
        names = (
            (("family", who.family), ("given", who.given))
            if who.given
            else (("family", who.family),)
        )
        yield (*names, ("birthdate", who.birth_date))
