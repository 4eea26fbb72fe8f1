"""The right patient, or nothing: who this case's patient is at a source (TRUTH 4)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from fhir_bridge.case.case import Pin, PinState
from fhir_bridge.case.events import Happened
from fhir_bridge.case.identity import Outcome, Person, contradicts, decide
from fhir_bridge.case.ledger import LedgerRow
from fhir_bridge.case.original import Answer
from fhir_bridge.case.record import Json
from fhir_bridge.errors import ProviderRefused
from fhir_bridge.pipeline.pull.again import is_gone
from fhir_bridge.pipeline.pull.attachments import named
from fhir_bridge.pipeline.pull.reading import key_of
from fhir_bridge.pipeline.pull.source import Ehr, Source, searchset
from fhir_bridge.pipeline.pull.targets import targets
from fhir_bridge.pipeline.pull.withheld import withholds
from fhir_bridge.standards.fhir import json
from fhir_bridge.standards.fhir.person import person, replacement
from fhir_bridge.standards.fhir.references import classify

Question = tuple[tuple[str, str], ...]
RULE = "identifier, birth date and family name agree; one candidate; list not truncated"
NOBODY = "the hospital has no patient with the number that was given"
SOMEBODY_ELSE = "the number that was given is somebody else's at the hospital"
GONE = "the hospital does not have this patient any more"
SOMEBODY = "the hospital answers with another patient than was asked for"
MERGED = "the hospital has merged this patient into another"
OUT_OF_USE = "the hospital has put this patient's record out of use"
CHANGED = "the hospital changed who this patient is"
# Records that were merged into one that was merged in its turn: so many are followed.
MERGES = 3


def settle_patient(source: Source, ehr: Ehr) -> Pin:
    """
    The pin of this source, asked for now if it is not settled.

    Nothing but Patient is fetched before it is accepted. An open question is asked anew until a
    person answers it; what was refused stays refused. An accepted patient is read again before
    anything else, because hospitals merge and correct their records: it is a question again when
    the number stands for somebody else, or for nobody, and when the facts have changed since a
    person or a rule decided.
    """
    pin = source.pin()
    if pin.state is PinState.ACCEPTED:
        return _looked_at(source, ehr, pin)
    if pin.state is PinState.REFUSED:
        return pin
    candidates, truncated = _candidates(source, ehr)
    outcome = decide(source.case.person, candidates, truncated=truncated)
    return _noted(source, _pin(source, outcome, candidates), candidates=len(candidates))


def _noted(source: Source, pin: Pin, **facts: int) -> Pin:
    accepted = pin.state is PinState.ACCEPTED
    name = Happened.PATIENT_PINNED if accepted else Happened.PATIENT_ASKED
    source.pins.pin(pin, source.event(name, **facts))
    return pin


def _looked_at(source: Source, ehr: Ehr, pin: Pin) -> Pin:
    """The pin with whom its number stands for now; a question again when that has changed."""
    try:
        answer = ehr.read(f"Patient/{pin.patient_id}")
        resource = json.load_object(answer.body or b"")
    except ProviderRefused as error:
        if not is_gone(error) and _known(pin) is not None:
            return pin  # read before, or offered: the hospital only does not let us look again
        return _noted(source, _asked(source, NOBODY if _known(pin) is None else GONE))
    found = person(resource)
    reason = _objection(source, pin, found, resource)
    if reason in (NOBODY, SOMEBODY):
        return _noted(source, _asked(source, reason))
    if reason:
        return _noted(source, _asked(source, reason, *_instead(ehr, resource), found))
    _see(source, ehr, answer, resource)
    if _known(pin) is not None:
        return pin
    return _noted(source, replace(pin, candidates=(found,)))


def _known(pin: Pin) -> Person | None:
    """The patient as they were when it was decided; None where nobody had seen them."""
    return next((one for one in pin.candidates if one.id == pin.patient_id), None)


def _objection(source: Source, pin: Pin, found: Person, resource: Json) -> str:
    """Why the patient behind a number is a question again; empty when it is not."""
    known = _known(pin)
    if resource.get("resourceType") != "Patient" or found.id != pin.patient_id:
        return NOBODY if known is None else SOMEBODY
    if found.replaced and not (known is not None and known.replaced):
        return MERGED if replacement(resource) else OUT_OF_USE
    if known is not None:
        return CHANGED if contradicts(known, found) else ""
    if not contradicts(source.case.person, found):
        return ""
    return CHANGED if pin.decided_by == RULE else SOMEBODY_ELSE


def _asked(source: Source, reason: str, *candidates: Person) -> Pin:
    """The question to a person."""
    here = Pin(source.case.id, source.id, PinState.ASKED, reason=reason)
    return replace(here, candidates=candidates)


def _instead(ehr: Ehr, resource: Json) -> Iterator[Person]:
    """The patient that a merged record leads to, as far as this server lets us look."""
    for _ in range(MERGES):
        target = classify(replacement(resource))
        if target.type != "Patient" or target.base not in ("", ehr.base):
            return
        try:
            resource = json.load_object(ehr.read(f"Patient/{target.id}").body or b"")
        except ProviderRefused:
            return
        found = person(resource)
        if found.id == target.id and not found.replaced:
            yield found
            return


def _see(source: Source, ehr: Ehr, answer: Answer, resource: Json) -> None:
    """The Patient is a record too: what changed in it without a contradiction stands anew."""
    key = key_of(source.id, resource)
    source.shelf.see(
        source.case.id,
        LedgerRow(key, original=answer.original.id),
        base=ehr.base,
        attachments=tuple(named(key, resource, ehr.base)),
        targets=frozenset(targets(resource, ehr.base, ehr.base, patient=str(resource["id"]))),
    )


def _pin(source: Source, outcome: Outcome, candidates: tuple[Person, ...]) -> Pin:
    if outcome is Outcome.ACCEPT:
        here = Pin(source.case.id, source.id, PinState.ACCEPTED, candidates[0].id, RULE)
        return replace(here, candidates=candidates)
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
