"""The engine of one process: a worker that takes work, or a client that only hands it on."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any

from dbos import DBOS, DBOSClient, DBOSConfig, EnqueueOptions

from fhir_bridge.errors import BridgeError, ConfigurationError
from fhir_bridge.workflows.orders import Rooms, rooms_here
from fhir_bridge.workflows.ports import (
    APPLICATION_VERSION,
    CASES,
    DELIVERIES,
    POLL_SECONDS,
    SOURCES,
    UNFINISHED,
    CaseSteps,
    PullSteps,
    Slots,
    deliver_id,
    pull_id,
)
from fhir_bridge.workflows.serializer import OurJson
from fhir_bridge.workflows.shift import Shift, current_shift


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
        rooms_here[:] = [Rooms(pull_steps, case_steps)]
        current_shift[:] = [Shift()]
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
        calm = current_shift[0].end(grace_seconds)
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

    def pull_in(
        self, connection: Any, case_id: str, run: int, sources: Sequence[str], resumed: int = 0
    ) -> None:
        """Enqueue a pull on the caller's own transaction; the same run twice is one pull."""
        options = self._options("pull", CASES, pull_id(case_id, run, resumed))
        self.client().enqueue_in_transaction(
            connection, options, case_id, run, list(sources), resumed
        )

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
