"""The steps of a pull: connect, collect, fetch images, check again, close with a grade."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from fhir_bridge.case import budget
from fhir_bridge.case.case import Case, Pin, PinState
from fhir_bridge.case.certificate import COMPLETE, Line, worst
from fhir_bridge.case.events import Event, Happened
from fhir_bridge.case.imaging import Arrival, Instance
from fhir_bridge.case.slice import kind_of
from fhir_bridge.clients.bulk import kick_offs
from fhir_bridge.errors import (
    BridgeError,
    PatientNotCertain,
    PatientNotFound,
    ProviderBusy,
    StoreError,
    by_code,
)
from fhir_bridge.pipeline.pull import (
    bulk,
    collecting,
    counting,
    learning,
    patient,
    plan,
    studies,
)
from fhir_bridge.pipeline.pull.certify import certificate
from fhir_bridge.pipeline.pull.source import Source
from fhir_bridge.steps.hospitals import Hospitals
from fhir_bridge.store.shelves import Store

# What a person can tell a pull that is under way.
PAUSE, CANCEL = "pause", "cancel"


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
        if self.store.cases.told(case_id, source):
            return {"ready": True}
        self._note(here, "connecting", here.event(Happened.SOURCE_CONNECTED))
        try:
            pin = self._settled(here)
            if pin.state is not PinState.ACCEPTED:
                return self._asks(here, pin, run)
            self._begin(here, run)
        except StoreError:
            raise  # our own fault, not the hospital's: the step is taken again
        except BridgeError as error:
            return self._failed(here, error, run)
        self._note(here, "listing")
        return {"ready": True}

    def _settled(self, here: Source) -> Pin:
        """Who the patient is; what the hospital declares is asked for meanwhile."""
        if here.ehr is None:
            return here.pin()
        with ThreadPoolExecutor(1, thread_name_prefix="metadata") as pool:
            pool.submit(here.ehr.capability)  # what goes wrong shows again where it is needed
            return patient.settle_patient(here, here.ehr)

    def _begin(self, here: Source, run: int) -> None:
        """Begin the slices; an archive alone has no chart that could be asked."""
        if here.ehr is None:
            plan.leave_out(here, run, not_asked="no way to this hospital's chart is set up")
            return
        bulk_of = self.store.providers.get(here.id).bulk
        full = bool(bulk_of or here.case.facts.get("full"))
        begun = plan.begin(here, here.ehr, run, full=full)
        if bulk_of:
            whole = [type_ for type_ in begun if type_ == kind_of(type_)]
            paths = kick_offs(bulk_of, here.pin().patient_id)
            bulk.begin(here, self.store.exports, whole, run, paths=paths)

    def _asks(self, here: Source, pin: Pin, run: int) -> Mapping[str, Any]:
        """The certificate says of every type that it was not asked, and why."""
        plan.leave_out(here, run, not_asked="it is not settled who the patient is here")
        kind = PatientNotCertain if pin.candidates else PatientNotFound
        self._note(here, "asks who the patient is", error=kind.code)
        return {"ready": False, "state": "needs-person", "error": kind.code}

    def _failed(self, here: Source, error: BridgeError, run: int) -> Mapping[str, Any]:
        """A hospital that could not be asked stands on the certificate as refused."""
        plan.leave_out(here, run, refused=error.advice)
        fact = here.event(Happened.SOURCE_FAILED, code=error.code)
        self._note(here, "failed", fact, error=error.code)
        return {"ready": False, "state": "failed", "error": error.code}

    def stopped(self, case_id: str, source: str, error: str) -> None:
        """A fault of our own: the nurse is told, and the certificate claims nothing."""
        here = self._source(case_id, source)
        run = int(here.case.facts.get("run", "1"))
        plan.leave_out(here, run, refused=by_code(error).advice)
        self._note(here, "failed", here.event(Happened.SOURCE_FAILED, code=error), error=error)

    def collect(self, case_id: str, source: str, impatient: bool) -> Mapping[str, Any]:
        """
        A round of pages, second witnesses, referred records and attachments.

        `{"more": bool, "moved": bool, "rest": seconds, "told": "" | "pause" | "cancel"}`.
        """
        here = replace(self._source(case_id, source), impatient=impatient)
        told = self.store.cases.told(case_id, source)
        if here.ehr is None or told:
            return self._obeyed(here, told)
        waits = self._exported(here)
        if waits is not None:
            return {"more": True, "moved": True, "rest": waits, "told": ""}
        self._note(here, "fetching documents")
        ended = collecting.collect(here, here.ehr, seconds=collecting.ROUND_SECONDS)
        if ended.rest_seconds:
            self._rests(here, ended.rest_seconds)
        return {"told": "", "more": ended.more, "moved": ended.moved, "rest": ended.rest_seconds}

    def _exported(self, here: Source) -> float | None:
        """Seconds until the next look at a bulk export that is still under way; else None."""
        provider = self.store.providers.get(here.id)
        desk = self.hospitals.exports(provider, here.case.id)
        if desk is None:
            return None
        self._note(here, "exporting")
        stood = bulk.step(here, desk, self.store.exports)
        return stood.seconds if isinstance(stood, bulk.Wait) else None

    def _obeyed(self, here: Source, told: str) -> Mapping[str, Any]:
        if told == CANCEL:
            self._cancel(here)
        elif told == PAUSE:
            self._note(here, "paused")
        return {"more": False, "moved": False, "rest": 0.0, "told": told}

    def _cancel(self, here: Source) -> None:
        provider = self.store.providers.get(here.id)
        desk = self.hospitals.exports(provider, here.case.id)
        if desk is not None:
            bulk.cancel(here, desk, self.store.exports)
        plan.cancel(here)

    def _rests(self, here: Source, seconds: float) -> None:
        until = self.now() + timedelta(seconds=seconds)
        self._note(here, "waiting", error=ProviderBusy.code)
        self.store.cases.waits(here.case.id, here.id, until)

    def image(self, case_id: str, source: str, run: int) -> int:
        """List the studies once, then fetch one a step."""
        if self.store.cases.told(case_id, source):
            return 0
        here = self._source(case_id, source)
        self._note(here, "fetching images")
        studies.list_studies(here, run)
        return studies.fetch_next(here)

    def close(self, case_id: str, source: str) -> str:
        """Ask for the counts again, after the pull, and grade the source."""
        here = self._source(case_id, source)
        asks = self.store.cases.told(case_id, source) != CANCEL
        if asks:
            # A pause that is told now comes too late, and must not hold the next run.
            self.store.cases.tell(case_id, source, "")
        if asks:
            self._note(here, "checking")
        if here.ehr is not None and asks:
            for one in self.store.ledgers.slices(case_id, source):
                if one.question and counting.is_of_use(one):
                    counting.recount(here, here.ehr, one.type)
        if asks:
            bulk.set_aside(here, self.store.exports)
            studies.close(here, here.ehr)
        grade = worst(line.grade for line in lines(self.store, case_id) if line.source == source)
        fact = here.event(Happened.SOURCE_ENDED, grade=grade.value)
        slices = self.store.ledgers.slices(case_id, source)
        self.store.endpoints.learn(source, at=self.now(), **learning.learned(slices))
        self._note(here, "done" if asks else "cancelled", fact)
        return grade.value

    def again(self, case_id: str, source: str, error: str) -> float:
        """
        In how many seconds a source that was away, busy or broken is asked again; 0 for never.

        Minutes at first, hours later, and nothing after the case's deadline.
        """
        if by_code(error).default_retry_seconds is None:
            return 0.0
        facts, now = self.store.cases.get(case_id).facts, self.now()
        standing = self.store.endpoints.standing(source)
        asked = standing.next_attempt_at
        following = budget.next_attempt(
            datetime.fromisoformat(facts.get("began", now.isoformat())),
            now,
            max(standing.failures, 1),
            asked_seconds=(asked - now).total_seconds() if asked else 0.0,
        )
        if following.given_up:
            return 0.0
        self.store.cases.waits(case_id, source, following.at)
        return following.seconds

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
            halted=lambda: bool(store.cases.told(case_id, source)),
            vendor=provider.vendor,
            lies=learning.liars(store.endpoints.facts(source)),
        )


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
