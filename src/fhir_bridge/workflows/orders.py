"""The orders: a pull, one source of it, a delivery. Each line is a step that is recorded."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from dbos import DBOS, SetWorkflowID, WorkflowHandle

from fhir_bridge.errors import BridgeError
from fhir_bridge.workflows.ports import (
    LONGEST_REST,
    MAX_RECOVERY_ATTEMPTS,
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
def pull(case_id: str, run: int, sources: list[str]) -> dict[str, Any]:
    """All sources of a case beside each other, then the case record."""
    handles = [_enqueue_source(case_id, source, run, 0) for source in sources]
    ends = [
        _finish_source(case_id, source, run, h) for source, h in zip(sources, handles, strict=True)
    ]
    version = 0
    if any(end["state"] == "done" for end in ends):
        try:
            version = step("assemble", rooms_here[0].case.assemble, case_id)
        except Exception as error:
            # Nobody may wait for a record that will not come: said first, then raised.
            step("stopped", rooms_here[0].case.stopped, case_id, "", _code(error))
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
    end = end_of(handle)
    part = 0
    while end["state"] == "more":
        part += 1
        end = end_of(_enqueue_source(case_id, source, run, part))
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
    """Connect, pages, what they refer to, images, the verdict."""
    rooms = rooms_here[0].pull
    begun = step("connect", rooms.connect, case_id, source, run)
    if not begun["ready"]:
        return {"source": source, "state": begun["state"], "error": begun["error"]}
    left = MAX_STEPS
    stretches: list[tuple[str, Callable[..., Any], list[Any]]] = [
        *(("turn", rooms.turn, [type_]) for type_ in begun["types"]),
        ("fill", rooms.fill, []),
        ("image", rooms.image, [run]),
    ]
    for name, work, more in stretches:
        while step(name, work, case_id, source, *more):
            left -= 1
            if left <= 0:
                return {"source": source, "state": "more"}
    grade = step("close", rooms.close, case_id, source)
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
        rung = step("advance", rooms_here[0].case.advance, delivery_id)
        if rung["done"]:
            return {"delivery": delivery_id, "state": rung["state"]}
        stuck = stuck + 1 if rung["state"] == state else 0
        state = rung["state"]
        if rung["wait"]:
            rest_for(min(rung["wait"] * 2.0 ** min(stuck, 16), max(LONGEST_REST, rung["wait"])))
    return {"delivery": delivery_id, "state": "waiting"}
