"""The composition root: settings in, a wired bridge out; read it in the order data flows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any, Self

from fhir_bridge import clock
from fhir_bridge.case.case import Case, CaseState, Pin, PinState, TreatingProvider
from fhir_bridge.case.events import Event, Happened
from fhir_bridge.clients.ask import Limits
from fhir_bridge.clients.manners import Rules
from fhir_bridge.errors import BridgeError, NotReady, PortTaken, UsageError, WrongMoment
from fhir_bridge.pipeline.receive.receiver import Receiver
from fhir_bridge.security.access import Access, Actor, Purpose
from fhir_bridge.security.keys import SigningKeys
from fhir_bridge.security.login import Door
from fhir_bridge.security.secrets import Seal
from fhir_bridge.servers.dimse.scp import ScpSettings, StorageScp
from fhir_bridge.settings import Settings
from fhir_bridge.standards.fhir.moments import sort_key
from fhir_bridge.standards.fhir.person import person
from fhir_bridge.steps import accounts
from fhir_bridge.steps.assembling import Assembling
from fhir_bridge.steps.hospitals import Hospitals, Issuers
from fhir_bridge.steps.opinions import OpinionDesk
from fhir_bridge.steps.pulling import Pulling, is_complete, lines
from fhir_bridge.steps.runs import Runs
from fhir_bridge.store.database import make_job_engine
from fhir_bridge.store.shelves import Store
from fhir_bridge.store.slots import Slot, is_abandoned, take_slot
from fhir_bridge.workflows import Engine

MIB = 1024 * 1024


@dataclass(slots=True)
class Bridge:
    """
    One process's bridge over a store that others may share.

    `start` makes it a worker: it receives images and runs workflows. Without it, it reads the
    store and hands work to the workers that run.
    """

    settings: Settings
    store: Store
    seal: Seal
    keys: SigningKeys
    door: Door
    access: Access
    receiver: Receiver
    hospitals: Hospitals
    pulling: Pulling
    assembling: Assembling
    desk: OpinionDesk
    runs: Runs
    engine: Engine
    _slot: Slot | None = None
    _scp: StorageScp | None = None
    calm: bool = True
    """False when `close` left a step in hand: then the process should end at once."""

    @classmethod
    def open(cls, settings: Settings) -> Self:
        """Open the store and wire every room; starts nothing."""
        store = Store.open(
            settings.database, settings.data, lease=timedelta(seconds=settings.lease_seconds)
        )
        seal = Seal.in_folder(settings.data / "keys")
        keys = SigningKeys.of_store(store.keys, seal, at=clock.now())
        engine = _engine(settings, store)
        receiver = Receiver(
            store.images,
            store.images,
            keep=store.originals.keep,
            clock=clock.now,
            new_id=clock.new_id,
            systems=Issuers(store.providers),
        )
        bridge: Bridge
        hospitals = Hospitals(
            keep=store.originals,
            seal=seal,
            signer=keys,
            now=clock.now,
            new_id=clock.new_id,
            limits=_limits(settings),
            aet=settings.dimse_aet,
            receiving=lambda: bridge.dimse_port,
            endpoints=store.endpoints,
            rules=Rules(most=settings.requests_per_provider),
        )
        access = Access(store.cases, store.events, clock.now)
        bridge = cls(
            settings=settings,
            store=store,
            seal=seal,
            keys=keys,
            door=Door(store.logins, clock.now, fixed_token=settings.login_token.get_secret_value()),
            access=access,
            receiver=receiver,
            hospitals=hospitals,
            pulling=Pulling(store, hospitals, receiver.accept, clock.now),
            assembling=Assembling(store, clock.now),
            desk=OpinionDesk(
                store,
                access,
                hospitals,
                engine,
                clock.now,
                settings.organisation,
                alive=lambda: bridge.alive(),  # noqa: PLW0108 (the bridge is made by this call)
            ),
            runs=Runs(store, access, engine, clock.now),
            engine=engine,
        )
        engine.stand_in = bridge.stand_in
        return bridge

    # -- running ---------------------------------------------------------------------------------

    def start(self, *, serving: str = "") -> None:
        """Become a worker: sweep, receive images, take work from the queues."""
        self.store.originals.sweep()
        self._listen(required=bool(serving))
        self._slot = take_slot(self._slots)
        steps = _Steps(self.pulling, self.assembling, self.desk, self.runs)
        self.engine.start(self._slot.name, self.pulling, steps, serving=serving)

    def alive(self) -> bool:
        """Whether this worker's heartbeat is fresh enough to act on the world (self-fencing)."""
        slot = self._slot
        return slot is None or self.store.workers.still_mine(slot.name, at=clock.now())

    def stand_in(self) -> None:
        """Become a worker, unless this is one or a service runs on this store."""
        if self._slot is None and not self.running_at():
            self.start()

    def _listen(self, *, required: bool) -> None:
        scp = StorageScp(self.receiver, self._scp_settings(), source_of=self.source_of)
        try:
            scp.start()
        except PortTaken:
            # A second process on this store leaves the port to the first; only `serve` insists.
            if required:
                raise
            return
        self._scp = scp

    def _scp_settings(self) -> ScpSettings:
        senders = [s.strip() for s in self.settings.dimse_senders.split(",") if s.strip()]
        return ScpSettings(
            aet=self.settings.dimse_aet,
            host=self.settings.dimse_host,
            port=self.settings.dimse_port,
            senders=None if senders == ["*"] else frozenset(senders),
        )

    @property
    def public_url(self) -> str:
        """How hospitals and browsers reach us."""
        settings = self.settings
        scheme = "https" if settings.tls_certificate else "http"
        return settings.public_url.rstrip("/") or f"{scheme}://{settings.host}:{settings.port}"

    def running_at(self) -> str:
        """The address of a service that runs on this store, here or elsewhere; else empty."""
        serving = self.store.workers.serving(at=clock.now())
        alive = [at for slot, at in serving.items() if not is_abandoned(self._slots, slot)]
        return next(iter(alive), "")

    @property
    def _slots(self) -> Path:
        return self.settings.data / "slots"

    def ready(self) -> Mapping[str, bool]:
        """What /readyz tells."""
        checks = {"database": False, "receiver": self._scp is not None}
        with suppress(BridgeError):
            self.store.events.newest()
            checks["database"] = True
        return checks

    def certificate(self, case_id: str) -> list[dict[str, Any]]:
        """Per source and type: what they said, what came, the grade."""
        return accounts.certificate(self.store, case_id)

    def deliveries(self, case_id: str) -> list[dict[str, Any]]:
        """Where each delivery of a case stands."""
        return accounts.deliveries(self.store, case_id)

    @property
    def dimse_port(self) -> int:
        """Where our receiver listens; 0 when it does not."""
        return self._scp.port if self._scp is not None else 0

    def source_of(self, calling_aet: str) -> str:
        """The source that pushes: the provider with this AE title, else the title itself."""
        for provider in self.store.providers.all():
            if provider.dimse is not None and provider.dimse.aet == calling_aet.strip():
                return provider.id
        return f"push:{calling_aet.strip()}"

    def close(self) -> None:
        """Stop receiving, finish the steps in hand, close everything."""
        if self._scp is not None:
            self._scp.stop()
        if self._slot is not None:
            self.calm = self.engine.stop()
        if not self.calm:
            # A step that loses its connection would write down that the hospital broke off.
            return
        if self._slot is not None:
            self._slot.free()
        self.hospitals.close()
        self.engine.close()
        self.store.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # -- what people make happen (servers.console.ports.Actions) -----------------------------------

    def new_case(
        self,
        actor: Actor,
        patient: Mapping[str, object],
        specialty: str,
        question: str,
        providers: Sequence[str],
        *,
        case_id: str | None = None,
    ) -> str:
        """Open a case for a patient; every provider must be known."""
        known = {provider.id for provider in self.store.providers.all()}
        unknown = [name for name in providers if name not in known]
        if unknown or not providers:
            raise UsageError("name at least one known provider: see `fhir-bridge provider list`")
        who = person(patient)
        if not (who.family and who.birth_date):
            raise UsageError("the patient needs a family name and a birth date")
        if sort_key(who.birth_date)[0] < 0:
            raise UsageError("the patient's birth date is written YYYY-MM-DD")
        if not question.strip():
            raise UsageError("a case needs the question that the specialist is asked")
        case = Case(
            id=case_id or clock.new_id(),
            patient=patient,
            person=who,
            specialty=specialty,
            question=question,
            providers=tuple(providers),
            opened_at=clock.now(),
        )
        self.store.cases.open(case, _event(Happened.CASE_OPENED, case.id, actor))
        return case.id

    def start_pull(self, actor: Actor, case_id: str, source: str | None) -> None:
        """Start a pull of every source, or of one; a pull that still runs goes on."""
        self.begin_pull(actor, case_id, source)

    def begin_pull(
        self, actor: Actor, case_id: str, source: str | None, *, full: bool = False
    ) -> str:
        """The same; returns the workflow that a caller may wait for. A paused pull goes on."""
        return self.runs.begin(actor, case_id, source, full=full)

    def pause_pull(self, actor: Actor, case_id: str, source: str | None) -> None:
        """Put the pull down after what is in hand."""
        self.runs.pause(actor, case_id, source)

    def resume_pull(self, actor: Actor, case_id: str, source: str | None) -> None:
        """Go on with a paused pull, from the page where it was put down."""
        self.runs.resume(actor, case_id, source)

    def cancel_pull(self, actor: Actor, case_id: str, source: str | None) -> None:
        """End a running or paused pull; what came stays."""
        self.runs.cancel(actor, case_id, source)

    def confirm_patient(self, actor: Actor, case_id: str, source: str, patient_id: str) -> None:
        """
        A person says who the patient is at a source; empty means none of the candidates.

        Where workers run, the pull of that source goes on by itself.
        """
        self.access.open_case(actor, case_id, Purpose.COLLECT)
        state = PinState.ACCEPTED if patient_id else PinState.REFUSED
        pin = next((p for p in self.store.cases.pins(case_id) if p.source == source), None)
        if pin is None:
            raise UsageError("the case has no such provider")
        decided = replace(
            Pin(case_id, source), state=state, patient_id=patient_id,
            decided_by=actor.name, reason="chosen by a person", candidates=pin.candidates,
        )  # fmt: skip
        fact = _event(Happened.PATIENT_PINNED, case_id, actor, source=source, state=state.value)
        self.store.cases.pin(decided, fact)
        if patient_id and (self._slot is not None or self.running_at()):
            self.begin_pull(actor, case_id, source)

    def assign(self, actor: Actor, study_uid: str, case_id: str) -> None:
        """Give an unassigned study to a case and make its record anew."""
        case = self.access.open_case(actor, case_id, Purpose.COLLECT)
        fact = _event(Happened.ASSIGNED, case_id, actor)
        if not self.store.images.assign(study_uid, case_id, fact):
            raise UsageError("no such study waits in Unassigned")
        if case.record_version:
            self.assembling.assemble(case_id)

    def release(self, actor: Actor, case_id: str, reason: str) -> None:
        """Let the specialist open the newest record; below *complete* a reason is needed."""
        case = self.access.open_case(actor, case_id, Purpose.COLLECT)
        record = self.store.records.get(case_id)
        complete = is_complete(lines(self.store, case_id), case)
        if not complete and not reason.strip():
            raise NotReady("not everything is here: releasing it needs a reason")
        if case.state not in (CaseState.ASSEMBLED, CaseState.RELEASED):
            raise WrongMoment(f"the case is {case.state.value}")
        if not complete:
            record = self.assembling.assemble_released(case_id, by=actor.name, reason=reason)
        fact = _event(Happened.RECORD_RELEASED, case_id, actor, version=record.version)
        self.store.records.release(record, fact, by=actor.name, reason=reason)

    def add_provider(self, provider: TreatingProvider) -> None:
        """Add or change a treating provider."""
        self.store.providers.add(provider, at=clock.now())


@dataclass(frozen=True, slots=True)
class _Steps:
    """workflows.CaseSteps of four rooms."""

    pulling: Pulling
    assembling: Assembling
    desk: OpinionDesk
    runs: Runs

    def assemble(self, case_id: str) -> int:
        """Make the case record."""
        return self.assembling.assemble(case_id)

    def advance(self, delivery_id: str) -> Mapping[str, Any]:
        """Move a delivery one rung."""
        return self.desk.advance(delivery_id)

    def retry(self, case_id: str, run: int, sources: Sequence[str]) -> None:
        """Ask sources that failed once more."""
        self.runs.again(case_id, run, sources)

    def stopped(self, case_id: str, source: str, error: str) -> None:
        """Tell the nurse what stopped by our own fault."""
        if source:
            self.pulling.stopped(case_id, source, error)
        else:
            self.assembling.stopped(case_id, error)


def _engine(settings: Settings, store: Store) -> Engine:
    return Engine(
        store.database.engine,
        connections=make_job_engine(settings.database),
        slots=store.workers,
        now=clock.now,
        lease_seconds=settings.lease_seconds,
        workers=settings.workers,
    )


def _limits(settings: Settings) -> Limits:
    return Limits(
        total_seconds=settings.http_timeout_seconds, file_bytes=settings.max_attachment_mb * MIB
    )


def _event(name: Happened, case_id: str, actor: Actor, **facts: str | int) -> Event:
    return Event(name, case_id, actor.name, clock.now(), facts)
