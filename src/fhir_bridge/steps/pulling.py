"""The steps of a pull: connect, turn pages, fill in, fetch images, close with a grade."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from fhir_bridge.case.case import Case, Pin, PinState
from fhir_bridge.case.certificate import COMPLETE, Line, worst
from fhir_bridge.case.events import Event, Happened
from fhir_bridge.case.imaging import Arrival, Instance
from fhir_bridge.errors import (
    BridgeError,
    PatientNotCertain,
    PatientNotFound,
    StoreError,
    by_code,
)
from fhir_bridge.pipeline.pull import attachments, pages, patient, references, studies
from fhir_bridge.pipeline.pull.certify import certificate
from fhir_bridge.pipeline.pull.source import TYPES, Ehr, Source
from fhir_bridge.steps.hospitals import Hospitals
from fhir_bridge.store.shelves import Store


@dataclass(frozen=True, slots=True)
class Pulling:
    """The steps of a pull (workflows.PullSteps)."""

    store: Store
    hospitals: Hospitals
    deliver: Callable[[Arrival], Instance]
    now: Callable[[], datetime]

    def connect(self, case_id: str, source: str, run: int) -> Mapping[str, Any]:
        """Log in, settle the patient, begin the slices. Nothing is fetched for an open question."""
        here = self._source(case_id, source)
        self._note(here, "connecting", here.event(Happened.SOURCE_CONNECTED))
        try:
            pin = patient.settle_patient(here, here.ehr) if here.ehr else here.pin()
            if pin.state is not PinState.ACCEPTED:
                return self._asks(here, pin, run)
            types = self._begun(here, run)
        except StoreError:
            raise  # our own fault, not the hospital's: the step is taken again
        except BridgeError as error:
            return self._failed(here, error, run)
        self._note(here, "listing")
        return {"ready": True, "types": types}

    def _begun(self, here: Source, run: int) -> list[str]:
        """The types that the hospital offers; an archive alone has no chart that could be asked."""
        if here.ehr is not None:
            return [t for t in TYPES if pages.begin(here, here.ehr, t, run)]
        for type_ in TYPES:
            pages.leave_out(here, type_, run, not_asked="no way to this hospital's chart is set up")
        return []

    def _asks(self, here: Source, pin: Pin, run: int) -> Mapping[str, Any]:
        """The certificate says of every type that it was not asked, and why."""
        for type_ in TYPES:
            pages.leave_out(here, type_, run, not_asked="it is not settled who the patient is here")
        kind = PatientNotCertain if pin.candidates else PatientNotFound
        self._note(here, "asks who the patient is", error=kind.code)
        return {"ready": False, "state": "needs-person", "error": kind.code}

    def _failed(self, here: Source, error: BridgeError, run: int) -> Mapping[str, Any]:
        """A hospital that could not be asked stands on the certificate as refused."""
        for type_ in TYPES:
            pages.leave_out(here, type_, run, refused=error.advice)
        fact = here.event(Happened.SOURCE_FAILED, code=error.code)
        self._note(here, "failed", fact, error=error.code)
        return {"ready": False, "state": "failed", "error": error.code}

    def stopped(self, case_id: str, source: str, error: str) -> None:
        """A fault of our own: the nurse is told, and the certificate claims nothing."""
        here = self._source(case_id, source)
        run = int(here.case.facts.get("run", "1"))
        for type_ in TYPES:
            pages.leave_out(here, type_, run, refused=by_code(error).advice)
        self._note(here, "failed", here.event(Happened.SOURCE_FAILED, code=error), error=error)

    def turn(self, case_id: str, source: str, type_: str) -> bool:
        """Turn one page of a slice."""
        here = self._source(case_id, source)
        return here.ehr is not None and pages.turn(here, here.ehr, type_)

    def fill(self, case_id: str, source: str) -> int:
        """A batch of referred records, then a batch of attachments."""
        here = self._source(case_id, source)
        if here.ehr is None:
            return 0
        self._note(here, "fetching documents")
        left = references.read_some(here, here.ehr)
        return left + attachments.fetch_some(here, here.ehr)

    def image(self, case_id: str, source: str, run: int) -> int:
        """List the studies once, then fetch one a step."""
        here = self._source(case_id, source)
        self._note(here, "fetching images")
        studies.list_studies(here, run)
        return studies.fetch_next(here)

    def close(self, case_id: str, source: str) -> str:
        """Ask for the counts again, after the pull, and grade the source."""
        here = self._source(case_id, source)
        self._note(here, "checking")
        for type_ in TYPES if here.ehr else ():
            pages.recount(here, _ehr(here), type_)
        studies.close(here, here.ehr)
        grade = worst(line.grade for line in lines(self.store, case_id) if line.source == source)
        self._note(here, "done", here.event(Happened.SOURCE_ENDED, grade=grade.value))
        return grade.value

    def _note(self, here: Source, step: str, *events: Event, error: str = "") -> None:
        self.store.cases.step(here.case.id, here.id, step, *events, error=error, at=self.now())

    def _source(self, case_id: str, source: str) -> Source:
        provider, store = self.store.providers.get(source), self.store

        def held() -> frozenset[str]:
            return store.images.held(case_id, source)

        def deliver(arrival: Arrival) -> Instance:
            return self.deliver(arrival)

        return Source(
            id=source,
            name=provider.name,
            case=store.cases.get(case_id),
            ehr=self.hospitals.ehr(provider, case_id),
            archives=self.hospitals.archives(provider, case_id, held),
            shelf=store.ledgers,
            files=store.ledgers,
            bodies=store.originals,
            claims=store.ledgers,
            pins=store.cases,
            deliver=deliver,
            held=held,
            now=self.now,
        )


def _ehr(here: Source) -> Ehr:
    assert here.ehr is not None
    return here.ehr


def lines(store: Store, case_id: str) -> Sequence[Line]:
    """The certificate of a case as it stands."""
    ledgers = store.ledgers
    return certificate(
        ledgers.slices(case_id), ledgers.attachments(case_id), ledgers.failed_reads(case_id)
    )


def is_complete(lines_: Sequence[Line], case: Case) -> bool:
    """Whether the word *complete* may be used: every source asked, every slice agreed."""
    return all(
        worst(line.grade for line in lines_ if line.source == source) in COMPLETE
        for source in case.providers
    )
