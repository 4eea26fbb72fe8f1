"""A worker's shift: steps are begun while it lasts, and put down between two of them at its end."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from dbos import DBOS, StepOptions, WorkflowHandle

from fhir_bridge.errors import StoreError
from fhir_bridge.workflows.ports import POLL_SECONDS, UNFINISHED


class Leaving(BaseException):
    """
    This process stops: the workflow is put down between two steps, as a crash would put it down.

    No Exception, because those are recorded as the workflow's end; this one leaves it PENDING, and
    whoever recovers it goes on with the next step.
    """


class Shift:
    """Whether this process still begins steps, and how many it has in hand."""

    def __init__(self) -> None:
        self.over = threading.Event()
        self._busy, self._calm = 0, threading.Condition()

    def run(self, work: Callable[..., Any], *arguments: Any) -> Any:
        """Do a step's work; raises Leaving instead once the shift is over."""
        with self._calm:
            if self.over.is_set():
                raise Leaving
            self._busy += 1
        try:
            return work(*arguments)
        finally:
            with self._calm:
                self._busy -= 1
                self._calm.notify_all()

    def rest(self, seconds: float) -> None:
        """Sleep; raises Leaving as soon as the shift is over."""
        if self.over.wait(seconds):
            raise Leaving

    def end(self, grace_seconds: float) -> bool:
        """Begin nothing more and wait for what is in hand; False when it outlives the grace."""
        self.over.set()
        with self._calm:
            return self._calm.wait_for(lambda: self._busy == 0, grace_seconds)


current_shift = [Shift()]


def step(name: str, work: Callable[..., Any], *arguments: Any) -> Any:
    """Run one recorded step; only faults of our own store are retried here."""
    options = StepOptions(
        name=name,
        retries_allowed=True,
        max_attempts=4,
        interval_seconds=0.5,
        should_retry=lambda error: isinstance(error, StoreError),
    )
    return DBOS.run_step(options, current_shift[0].run, work, *arguments)


def rest_for(seconds: float) -> None:
    """
    A pause between two rungs, recorded when it is over.

    Not the engine's own sleep, which holds a stopping process until it ends. A pause that was cut
    short begins again: what it waits for is read from our rows, not from the time that passed.
    """
    DBOS.run_step(StepOptions(name="rest"), current_shift[0].rest, seconds)


def end_of(handle: WorkflowHandle[Any]) -> dict[str, Any]:
    """A child's result, without holding a process that stops."""

    def watch() -> None:
        while handle.get_status().status in UNFINISHED:
            current_shift[0].rest(POLL_SECONDS)

    DBOS.run_step(StepOptions(name="watch"), watch)
    end: dict[str, Any] = handle.get_result(polling_interval_sec=POLL_SECONDS)
    return end
