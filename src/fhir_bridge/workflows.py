"""
The durable order of the stages: what is a step, what is retried, what is resumed.

The only module that knows dbos. Bodies are deterministic (no clock, no chance, no I/O, no reads);
inputs and outputs are ids and counters; expected failures are return values; every step finds out
by itself what is done already, because a step that was killed between its own commit and the
engine's record runs again.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any, Protocol

from dbos import (
    DBOS,
    DBOSClient,
    DBOSConfig,
    EnqueueOptions,
    Serializer,
    SetWorkflowID,
    StepOptions,
    WorkflowHandle,
)

from fhir_bridge import errors
from fhir_bridge.errors import BridgeError, ConfigurationError, StoreError
from fhir_bridge.standards.fhir import json

# Bumped only for an incompatible change, after draining: another version neither recovers nor
# dequeues the work of this one.
APPLICATION_VERSION = "fb-1"
CASES, SOURCES, DELIVERIES = "fb-cases", "fb-sources", "fb-deliveries"
MAX_RECOVERY_ATTEMPTS = 5
MAX_STEPS = 1_500
MAX_RUNGS = 500
LONGEST_REST = 900.0
POLL_SECONDS = 0.2
UNFINISHED = ("PENDING", "ENQUEUED", "DELAYED")


class PullSteps(Protocol):
    """The steps of a pull. Each may run twice: it finds out by itself what is done already."""

    def connect(self, case_id: str, source: str, run: int) -> Mapping[str, Any]:
        """Log in and settle the patient: `{"ready": bool, "types": [...], "error": code}`."""

    def turn(self, case_id: str, source: str, type_: str) -> bool:
        """Turn one page; True while there is more."""

    def fill(self, case_id: str, source: str) -> int:
        """Read a batch of referred records and attachments; how many remain."""

    def image(self, case_id: str, source: str, run: int) -> int:
        """Fetch one study; how many remain."""

    def close(self, case_id: str, source: str) -> str:
        """Ask for the counts again and grade; returns the source's grade."""


class CaseSteps(Protocol):
    """The steps after the pull."""

    def assemble(self, case_id: str) -> int:
        """Normalize and assemble; returns the version of the case record."""

    def advance(self, delivery_id: str) -> Mapping[str, Any]:
        """Move a delivery one rung: `{"done": bool, "wait": seconds}`."""

    def stopped(self, case_id: str, source: str, error: str) -> None:
        """Tell the nurse that a source (or, without one, the case) stopped by our own fault."""


class Slots(Protocol):
    """Who is alive, by the database's rows."""

    def beat(self, slot: str, *, at: datetime, serving: str = "") -> None:
        """Say that this slot is alive."""

    def leave(self, slot: str) -> None:
        """Say that this slot is alive no more."""

    def dead(self, *, at: datetime) -> Sequence[str]:
        """Slots whose lease has run out."""

    def bury(self, slot: str, *, at: datetime) -> bool:
        """Remove a slot if it is still dead; True for the one that removed it."""

    def count_takeover(self, slot: str) -> None:
        """Note that this slot took a dead one's work."""


@dataclass(slots=True)
class _Rooms:
    """What the workflow bodies call; set once by the engine of this process."""

    pull: PullSteps
    case: CaseSteps


_rooms: list[_Rooms] = []


class _Leaving(BaseException):
    """
    This process stops: the workflow is put down between two steps, as a crash would put it down.

    No Exception, because those are recorded as the workflow's end; this one leaves it PENDING, and
    whoever recovers it goes on with the next step.
    """


class _Shift:
    """Whether this process still begins steps, and how many it has in hand."""

    def __init__(self) -> None:
        self.over = threading.Event()
        self._busy, self._calm = 0, threading.Condition()

    def run(self, work: Callable[..., Any], *arguments: Any) -> Any:
        """Do a step's work; raises _Leaving instead once the shift is over."""
        with self._calm:
            if self.over.is_set():
                raise _Leaving
            self._busy += 1
        try:
            return work(*arguments)
        finally:
            with self._calm:
                self._busy -= 1
                self._calm.notify_all()

    def rest(self, seconds: float) -> None:
        """Sleep; raises _Leaving as soon as the shift is over."""
        if self.over.wait(seconds):
            raise _Leaving

    def end(self, grace_seconds: float) -> bool:
        """Begin nothing more and wait for what is in hand; False when it outlives the grace."""
        self.over.set()
        with self._calm:
            return self._calm.wait_for(lambda: self._busy == 0, grace_seconds)


_shift = [_Shift()]


def _step(name: str, work: Callable[..., Any], *arguments: Any) -> Any:
    """Run one recorded step; only faults of our own store are retried here."""
    options = StepOptions(
        name=name,
        retries_allowed=True,
        max_attempts=4,
        interval_seconds=0.5,
        should_retry=lambda error: isinstance(error, StoreError),
    )
    return DBOS.run_step(options, _shift[0].run, work, *arguments)


def _rest(seconds: float) -> None:
    """
    A pause between two rungs, recorded when it is over.

    Not the engine's own sleep, which holds a stopping process until it ends. A pause that was cut
    short begins again: what it waits for is read from our rows, not from the time that passed.
    """
    DBOS.run_step(StepOptions(name="rest"), _shift[0].rest, seconds)


def _end_of(handle: WorkflowHandle[Any]) -> dict[str, Any]:
    """A child's result, without holding a process that stops."""

    def watch() -> None:
        while handle.get_status().status in UNFINISHED:
            _shift[0].rest(POLL_SECONDS)

    DBOS.run_step(StepOptions(name="watch"), watch)
    end: dict[str, Any] = handle.get_result(polling_interval_sec=POLL_SECONDS)
    return end


@DBOS.workflow(name="pull", max_recovery_attempts=MAX_RECOVERY_ATTEMPTS)
def pull(case_id: str, run: int, sources: list[str]) -> dict[str, Any]:
    """All sources of a case beside each other, then the case record."""
    handles = [_enqueue_source(case_id, source, run, 0) for source in sources]
    ends = [
        _finish_source(case_id, source, run, h) for source, h in zip(sources, handles, strict=True)
    ]
    version = 0
    if any(end["state"] == "done" for end in ends):
        try:
            version = _step("assemble", _rooms[0].case.assemble, case_id)
        except Exception as error:
            # Nobody may wait for a record that will not come: said first, then raised.
            _step("stopped", _rooms[0].case.stopped, case_id, "", _code(error))
            raise
    return {"sources": ends, "version": version}


def _code(error: Exception) -> str:
    return error.code if isinstance(error, BridgeError) else BridgeError.code


def _enqueue_source(case_id: str, source: str, run: int, part: int) -> WorkflowHandle[Any]:
    with SetWorkflowID(f"{pull_id(case_id, run)}:{source}:{part}"):
        return DBOS.enqueue_workflow(SOURCES, pull_source, case_id, source, run)


def _finish_source(
    case_id: str, source: str, run: int, handle: WorkflowHandle[Any]
) -> dict[str, Any]:
    """A long pull goes on in further parts, because replay costs grow with the steps."""
    end = _end_of(handle)
    part = 0
    while end["state"] == "more":
        part += 1
        end = _end_of(_enqueue_source(case_id, source, run, part))
    return end


@DBOS.workflow(name="pull-source", max_recovery_attempts=MAX_RECOVERY_ATTEMPTS)
def pull_source(case_id: str, source: str, run: int) -> dict[str, Any]:
    """One treating provider; a fault of our own ends it as failed, and the others go on."""
    try:
        return _pulled(case_id, source, run)
    except Exception as error:  # noqa: BLE001 (whatever it was, the nurse must not wait for it)
        code = _code(error)
        _step("stopped", _rooms[0].case.stopped, case_id, source, code)
        return {"source": source, "state": "failed", "error": code}


def _pulled(case_id: str, source: str, run: int) -> dict[str, Any]:
    """Connect, pages, what they refer to, images, the verdict."""
    rooms = _rooms[0].pull
    begun = _step("connect", rooms.connect, case_id, source, run)
    if not begun["ready"]:
        return {"source": source, "state": begun["state"], "error": begun["error"]}
    left = MAX_STEPS
    stretches: list[tuple[str, Callable[..., Any], list[Any]]] = [
        *(("turn", rooms.turn, [type_]) for type_ in begun["types"]),
        ("fill", rooms.fill, []),
        ("image", rooms.image, [run]),
    ]
    for name, work, more in stretches:
        while _step(name, work, case_id, source, *more):
            left -= 1
            if left <= 0:
                return {"source": source, "state": "more"}
    grade = _step("close", rooms.close, case_id, source)
    return {"source": source, "state": "done", "grade": grade}


@DBOS.workflow(name="deliver", max_recovery_attempts=MAX_RECOVERY_ATTEMPTS)
def deliver(delivery_id: str) -> dict[str, Any]:
    """
    One opinion version to one chart, rung by rung, until confirmed or a person is needed.

    Rests grow while a rung does not move: a chart that is away for days is asked a few hundred
    times, not all night every two seconds.
    """
    state, stuck = "", 0
    for _ in range(MAX_RUNGS):
        rung = _step("advance", _rooms[0].case.advance, delivery_id)
        if rung["done"]:
            return {"delivery": delivery_id, "state": rung["state"]}
        stuck = stuck + 1 if rung["state"] == state else 0
        state = rung["state"]
        if rung["wait"]:
            _rest(min(rung["wait"] * 2.0 ** min(stuck, 16), max(LONGEST_REST, rung["wait"])))
    return {"delivery": delivery_id, "state": "waiting"}


class OurJson(Serializer):
    """
    JSON for inputs, outputs and errors: no pickle, and no error text in the engine's tables.

    An exception keeps its type over a replay through the registry of our error tree; its detail
    is not written.
    """

    def name(self) -> str:
        """Stored in every row: never renamed."""
        return "fb_json"

    def serialize(self, data: Any) -> str:
        """Values as `{"v": ...}`, exceptions as their registered name."""
        if isinstance(data, BaseException):
            return json.dumps({"$exc": type(data).__name__}).decode()
        return json.dumps({"v": data}).decode()

    def deserialize(self, serialized_data: str) -> Any:
        """The value, or an exception of the same type."""
        found = json.load_object(serialized_data.encode())
        if "$exc" not in found:
            return _plain(found["v"])
        kind = getattr(errors, found["$exc"], None)
        if isinstance(kind, type) and issubclass(kind, BridgeError):
            return kind()
        return RuntimeError(found["$exc"])


def _plain(value: Any) -> Any:
    """The wire's exact decimals as the floats that were written: a replay sees what the run saw."""
    if isinstance(value, Decimal):
        return float(value)
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, list) else value


class Engine:
    """
    Runs workflows in this process (a worker), or only starts them (`Engine.client`).

    `database` is the store's own SQLAlchemy engine: one database serves both, so that outgoing
    work commits with the rows that cause it. The job engine uses connections of its own there
    (`connections`, or such as it makes itself).
    """

    def __init__(
        self,
        database: Any,
        *,
        connections: Any = None,
        slots: Slots,
        now: Callable[[], datetime],
        lease_seconds: float,
        workers: int,
    ) -> None:
        self._database, self._connections = database, connections
        self._slots, self._slot = slots, ""
        self._now, self._lease, self._workers = now, lease_seconds, workers
        self._stop = threading.Event()
        self._heart = threading.Thread(target=self._keep_beating, name="heart", daemon=True)
        self._client: DBOSClient | None = None
        self._serving = ""
        self.stand_in: Callable[[], None] = _nobody

    def start(
        self, slot: str, pull_steps: PullSteps, case_steps: CaseSteps, *, serving: str = ""
    ) -> None:
        """Launch: recovers what this slot left unfinished, then takes work from the queues."""
        if os.environ.get("DBOS__CLOUD"):
            raise ConfigurationError("DBOS__CLOUD is set: the bridge runs its own workers only")
        _rooms[:] = [_Rooms(pull_steps, case_steps)]
        _shift[:] = [_Shift()]
        self._slot, self._serving = slot, serving
        self._slots.beat(self._slot, at=self._now(), serving=serving)
        DBOS(config=self._config())
        _quieten()
        DBOS.launch()
        _quieten()
        for queue in (CASES, SOURCES, DELIVERIES):
            DBOS.register_queue(
                queue, worker_concurrency=self._workers, polling_interval_sec=POLL_SECONDS
            )
        self._heart.start()

    def _config(self) -> DBOSConfig:
        return DBOSConfig(
            name="fhir-bridge",
            system_database_url=self._database.url.render_as_string(hide_password=False),
            system_database_engine=self._connections,
            application_version=APPLICATION_VERSION,
            executor_id=self._slot,
            serializer=OurJson(),
            enable_otlp=False,
            log_level="WARNING",
            max_executor_threads=max(16, self._workers * 4),
            sys_db_pool_size=8,
            use_listen_notify=False,
            notification_listener_polling_interval_sec=0.5,
        )

    def stop(self, *, grace_seconds: float = 10) -> bool:
        """
        Finish the steps in hand and hand the slot back; what remains waits for the next worker.

        False when a step outlived the grace: its result is not recorded and it runs again there.
        """
        calm = _shift[0].end(grace_seconds)
        self._stop.set()
        DBOS.destroy(workflow_completion_timeout_sec=2 if calm else 0)
        if self._heart.is_alive():
            self._heart.join(timeout=2)
        self._slots.leave(self._slot)
        return calm

    def close(self) -> None:
        """Give the connections back; after `stop`, where this was a worker."""
        if self._client is not None:
            self._client.destroy()
            self._client = None
        if self._connections is not None:
            self._connections.dispose()

    def _keep_beating(self) -> None:
        while not self._stop.wait(self._lease / 4):
            try:
                self._slots.beat(self._slot, at=self._now(), serving=self._serving)
                self._take_over()
            except Exception as error:  # noqa: BLE001 (a heart that stops gives our work away)
                kind = type(error).__name__
                logging.getLogger(__name__).warning("heartbeat failed (%s)", kind)

    def _take_over(self) -> None:
        """
        The work of a dead worker, by the survivors.

        The open engine recovers only at launch and only its own executor id; its one internal
        call does the rest and is held by a contract test (dbos is pinned for it). Each workflow
        goes back to its queue once, however many survivors ask. The slot is buried afterwards: a
        survivor that dies in between leaves it to be found again.
        """
        for slot in self._slots.dead(at=self._now()):
            if slot != self._slot:
                DBOS._recover_pending_workflows([slot])  # noqa: SLF001 (see above)
                if self._slots.bury(slot, at=self._now()):
                    self._slots.count_takeover(self._slot)

    def client(self) -> DBOSClient:
        """Starts work without being a worker; works beside a running one on the same database."""
        if self._client is None:
            self._client = DBOSClient(
                system_database_url=self._database.url.render_as_string(hide_password=False),
                system_database_engine=self._connections,
                serializer=OurJson(),
                application_name="fhir-bridge",
            )
        return self._client

    def pull_in(self, connection: Any, case_id: str, run: int, sources: Sequence[str]) -> None:
        """Enqueue a pull on the caller's own transaction; the same run twice is one pull."""
        options = self._options("pull", CASES, pull_id(case_id, run))
        self.client().enqueue_in_transaction(connection, options, case_id, run, list(sources))

    def deliver_in(self, connection: Any, delivery_id: str, again: str = "") -> None:
        """Enqueue a delivery on the caller's own transaction: the outbox."""
        options = self._options("deliver", DELIVERIES, deliver_id(delivery_id, again))
        self.client().enqueue_in_transaction(connection, options, delivery_id)

    def _options(self, workflow: str, queue: str, id_: str) -> EnqueueOptions:
        return EnqueueOptions(
            workflow_name=workflow,
            queue_name=queue,
            workflow_id=id_,
            app_version=APPLICATION_VERSION,
        )

    def result(self, workflow_id: str) -> Mapping[str, Any]:
        """
        Wait for a workflow's result; `stand_in` is asked all the while to see to the work.

        Raises what the workflow raised, and BridgeError when it was given up.
        """
        while self.unfinished(workflow_id):
            self.stand_in()
            time.sleep(POLL_SECONDS)
        if self.status(workflow_id) not in ("SUCCESS", "ERROR"):
            raise BridgeError("the work was given up: it ended its worker again and again")
        handle: Any = self.client().retrieve_workflow(workflow_id)
        return dict(handle.get_result(polling_interval_sec=POLL_SECONDS))

    def unfinished(self, workflow_id: str) -> bool:
        """Whether it waits or runs."""
        return self.status(workflow_id) in UNFINISHED

    def status(self, workflow_id: str) -> str:
        """PENDING, ENQUEUED, SUCCESS, ERROR, ...; empty when it is not known."""
        found = self.client().list_workflows(workflow_ids=[workflow_id])
        return str(found[0].status) if found else ""


def pull_id(case_id: str, run: int) -> str:
    """The workflow of one run of a case's pull."""
    return f"pull:{case_id}:{run}"


def deliver_id(delivery_id: str, again: str = "") -> str:
    """The workflow that carries a delivery; `again` tells a later one from the first."""
    return f"deliver:{delivery_id}:{again}" if again else f"deliver:{delivery_id}"


def _nobody() -> None:
    """Nobody stands in for a worker that is gone."""


def _quieten() -> None:
    """The engine prints failures with their text; ours carries none, others' might."""
    logger = logging.getLogger("dbos")
    logger.setLevel(logging.WARNING)
    if not any(isinstance(f, _OnlyConstants) for f in logger.filters):
        logger.addFilter(_OnlyConstants())


class _OnlyConstants(logging.Filter):
    """Keeps the first words of the engine's own sentence, and of an exception only its type."""

    def filter(self, record: logging.LogRecord) -> bool:
        kind = record.exc_info[0].__name__ if record.exc_info and record.exc_info[0] else ""
        record.msg = f"{str(record.msg).partition(':')[0][:80]} {kind}".strip()
        record.args, record.exc_info, record.exc_text = (), None, None
        return True
