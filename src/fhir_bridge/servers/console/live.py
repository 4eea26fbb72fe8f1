"""Live pages: events of a case as server-sent events, resumed from where a browser left off."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Mapping, Sequence

from fastapi import APIRouter, Request
from starlette.concurrency import run_in_threadpool
from starlette.responses import StreamingResponse

from fhir_bridge.case.events import Event, Happened
from fhir_bridge.servers.console.counting import Watch
from fhir_bridge.servers.console.room import Room

POLL_SECONDS, HEARTBEAT_SECONDS, LIFE_SECONDS = 0.5, 15.0, 900.0
_PULL, _PAPERS = ("sources", "head", "checklist"), ("timeline", "documents")
TOUCHES: Mapping[Happened, Sequence[str]] = {
    Happened.CASE_OPENED: (),
    Happened.CASE_READ: (),
    Happened.PULL_STARTED: _PULL,
    Happened.PULL_PAUSED: _PULL,
    Happened.PULL_RESUMED: _PULL,
    Happened.PULL_CANCELLED: _PULL,
    Happened.SOURCE_CONNECTED: _PULL,
    Happened.PATIENT_PINNED: _PULL,
    Happened.PATIENT_ASKED: _PULL,
    Happened.PAGE_STORED: ("sources",),
    Happened.RECORDS_SEEN: ("sources", *_PAPERS),
    Happened.RECORD_GONE: ("sources", *_PAPERS),
    Happened.ATTACHMENT_STORED: ("sources", "documents"),
    Happened.INSTANCE_STORED: ("sources", "images"),
    Happened.INSTANCE_RECEIVED: ("images",),
    Happened.SLICE_ENDED: ("sources", *_PAPERS),
    Happened.SOURCE_ENDED: (*_PULL, *_PAPERS, "images"),
    Happened.SOURCE_FAILED: _PULL,
    Happened.RECORD_ASSEMBLED: (*_PULL, *_PAPERS, "images"),
    Happened.RECORD_FAILED: (*_PULL, *_PAPERS, "images"),
    Happened.RECORD_RELEASED: ("head", "checklist"),
    Happened.ASSIGNED: ("images", "head"),
    Happened.OPINION_SIGNED: ("head", "checklist", "opinion"),
    Happened.DELIVERY_MOVED: ("head", "checklist", "opinion"),
    Happened.DELIVERY_RESUMED: ("head", "checklist", "opinion"),
}


class Live:
    """The event streams."""

    def __init__(self, room: Room) -> None:
        self._room = room

    def router(self) -> APIRouter:
        """The routes."""
        router = APIRouter(tags=["console"])
        router.get("/cases/{case_id}/events", summary="Events of a case, live")(self.case)
        router.get("/events", summary="Events of all cases, live")(self.everything)
        return router

    def case(self, request: Request, case_id: str, after: int = 0) -> StreamingResponse:
        """Which parts of the case's page changed."""
        self._room.open_case(request, case_id)
        return self._stream(request, case_id, after)

    def everything(self, request: Request, after: int = 0) -> StreamingResponse:
        """That the worklist changed."""
        return self._stream(request, None, after)

    def _stream(self, request: Request, case_id: str | None, after: int) -> StreamingResponse:
        resumed = request.headers.get("last-event-id", "")
        number = int(resumed) if resumed.isdecimal() and len(resumed) < 19 else max(after, 0)
        session = str(request.scope["state"]["session"])
        headers = {"X-Accel-Buffering": "no"}
        lines = self._lines(case_id, number, session)
        return StreamingResponse(lines, media_type="text/event-stream", headers=headers)

    async def _lines(self, case_id: str | None, number: int, session: str) -> AsyncIterator[str]:
        """Until the browser leaves, the server stops, or a quarter of an hour is over."""
        store, started = self._room.store, time.monotonic()
        watch = Watch(self._room, case_id) if case_id else None
        yield "retry: 2000\n\n"
        beat = time.monotonic()
        while self._room.running() and time.monotonic() - started < LIFE_SECONDS:
            found = await run_in_threadpool(store.events.after, number, case_id=case_id)
            if found:
                number = found[-1].number
            told = message(found, whole=case_id is None) if found else ""
            told += await run_in_threadpool(watch.news) if watch else ""
            if told:
                yield told
            if time.monotonic() - beat >= HEARTBEAT_SECONDS:
                beat = time.monotonic()
                if session and not await run_in_threadpool(self._room.door.knows, session):
                    return
                yield ": still here\n\n"
            await asyncio.sleep(POLL_SECONDS)


def message(events: Sequence[Event], *, whole: bool) -> str:
    """
    One SSE message for a run of events: the parts they touch, and the last number as its id.

    Names of parts only: what they show is fetched through the gate.
    """
    touched = {part: None for event in events for part in TOUCHES[event.name]}
    if whole:
        changed = any(event.name is not Happened.CASE_READ for event in events)
        touched = {"worklist": None} if changed else {}
    if not touched:
        return ""
    return f"id: {events[-1].number}\nevent: changed\ndata: {' '.join(touched)}\n\n"
