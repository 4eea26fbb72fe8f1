"""The orders: a pull, one source of it, a delivery. Each line is a step that is recorded."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from dbos import DBOS, SetEnqueueOptions, SetWorkflowID, WorkflowHandle

from fhir_bridge.errors import BridgeError
from fhir_bridge.workflows.ports import (
    CASES,
    LONGEST_REST,
    MAX_RECOVERY_ATTEMPTS,
    MAX_RESTS,
    MAX_RUNGS,
    MAX_STEPS,
    SOURCES,
    CaseSteps,
    PullSteps,
    pull_id,
)
from fhir_bridge.workflows.shift import end_of, rest_for, step


@dataclass(slots=True)
class Rooms:
    """What the workflow bodies call; set once by the engine of this process."""

    pull: PullSteps
    case: CaseSteps


rooms_here: list[Rooms] = []


@DBOS.workflow(name="pull", max_recovery_attempts=MAX_RECOVERY_ATTEMPTS)
def pull(case_id: str, run: int, sources: list[str], resumed: int = 0) -> dict[str, Any]:
    """All sources of a case beside each other, then the case record."""
    order = _Order(case_id, run, resumed)
    handles = [order.enqueue(source, 0) for source in sources]
    ends = [order.finish(source, handle) for source, handle in zip(sources, handles, strict=True)]
    version = 0
    if any(end["state"] in {"done", "cancelled"} for end in ends):
        try:
            version = step("assemble", rooms_here[0].case.assemble, case_id)
        except Exception as error:
            # Nobody may wait for a record that will not come: said first, then raised.
            step("stopped", rooms_here[0].case.stopped, case_id, "", _code(error))
            raise
    _try_again(case_id, run, resumed, ends)
    return {"sources": ends, "version": version}


def _try_again(case_id: str, run: int, resumed: int, ends: list[dict[str, Any]]) -> None:
    """What was away or busy is asked again by itself, as long as the case's deadline allows."""
    failed = [end for end in ends if end["state"] == "failed"]
    again = rooms_here[0].pull.again
    rests = {
        end["source"]: step("again", again, case_id, end["source"], end["error"]) for end in failed
    }
    sources = [source for source, rest in rests.items() if rest]
    if sources:
        with (
            SetWorkflowID(f"{pull_id(case_id, run, resumed)}:again"),
            SetEnqueueOptions(delay_seconds=min(rests[source] for source in sources)),
        ):
            DBOS.enqueue_workflow(CASES, retry, case_id, run, sources)


@DBOS.workflow(name="retry", max_recovery_attempts=MAX_RECOVERY_ATTEMPTS)
def retry(case_id: str, run: int, sources: list[str]) -> None:
    """The next run for sources that failed; nothing when somebody has begun one meanwhile."""
    step("retry", rooms_here[0].case.retry, case_id, run, sources)


def _code(error: Exception) -> str:
    return error.code if isinstance(error, BridgeError) else BridgeError.code


@dataclass(frozen=True, slots=True)
class _Order:
    """One run of a pull, or what was resumed of it."""

    case_id: str
    run: int
    resumed: int

    def enqueue(self, source: str, part: int) -> WorkflowHandle[Any]:
        """Hand one source to the workers."""
        with SetWorkflowID(f"{pull_id(self.case_id, self.run, self.resumed)}:{source}:{part}"):
            return DBOS.enqueue_workflow(SOURCES, pull_source, self.case_id, source, self.run)

    def finish(self, source: str, handle: WorkflowHandle[Any]) -> dict[str, Any]:
        """A long pull goes on in further parts, because replay costs grow with the steps."""
        end = end_of(handle)
        part = 0
        while end["state"] == "more":
            part += 1
            end = end_of(self.enqueue(source, part))
        return end


@DBOS.workflow(name="pull-source", max_recovery_attempts=MAX_RECOVERY_ATTEMPTS)
def pull_source(case_id: str, source: str, run: int) -> dict[str, Any]:
    """One treating provider; a fault of our own ends it as failed, and the others go on."""
    try:
        return _pulled(case_id, source, run)
    except Exception as error:  # noqa: BLE001 (whatever it was, the nurse must not wait for it)
        code = _code(error)
        step("stopped", rooms_here[0].case.stopped, case_id, source, code)
        return {"source": source, "state": "failed", "error": code}


def _pulled(case_id: str, source: str, run: int) -> dict[str, Any]:
    """Connect, collect, images, the verdict."""
    rooms = rooms_here[0].pull
    begun = step("connect", rooms.connect, case_id, source, run)
    if not begun["ready"]:
        return {"source": source, "state": begun["state"], "error": begun["error"]}
    end = _collected(case_id, source)
    if end:
        return end
    for _ in range(MAX_STEPS):
        if not step("image", rooms.image, case_id, source, run):
            break
    else:
        return {"source": source, "state": "more"}
    grade = step("close", rooms.close, case_id, source)
    return {"source": source, "state": "done", "grade": grade}


def _collected(case_id: str, source: str) -> dict[str, Any]:
    """Round after round until nothing is left: then empty, else how the source ends instead."""
    collect, stuck = rooms_here[0].pull.collect, 0
    for _ in range(MAX_STEPS):
        state = step("collect", collect, case_id, source, stuck >= MAX_RESTS)
        if state["told"]:
            return _told(case_id, source, state["told"])
        if not state["more"]:
            return {}
        stuck = stuck + 1 if state["rest"] and not state["moved"] else 0
        if state["rest"]:
            rest_for(state["rest"])
    return {"source": source, "state": "more"}


def _told(case_id: str, source: str, told: str) -> dict[str, Any]:
    """A person paused or cancelled the pull of this source."""
    if told == "pause":
        return {"source": source, "state": "paused"}
    grade = step("close", rooms_here[0].pull.close, case_id, source)
    return {"source": source, "state": "cancelled", "grade": grade}


@DBOS.workflow(name="deliver", max_recovery_attempts=MAX_RECOVERY_ATTEMPTS)
def deliver(delivery_id: str) -> dict[str, Any]:
    """
    One opinion version to one chart, rung by rung, until confirmed or a person is needed.

    Rests grow while a rung does not move: a chart that is away for days is asked a few hundred
    times, not all night every two seconds.
    """
    state, stuck = "", 0
    for _ in range(MAX_RUNGS):
        rung = step("advance", rooms_here[0].case.advance, delivery_id)
        if rung["done"]:
            return {"delivery": delivery_id, "state": rung["state"]}
        stuck = stuck + 1 if rung["state"] == state else 0
        state = rung["state"]
        if rung["wait"]:
            rest_for(min(rung["wait"] * 2.0 ** min(stuck, 16), max(LONGEST_REST, rung["wait"])))
    return {"delivery": delivery_id, "state": "waiting"}
