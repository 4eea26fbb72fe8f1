"""Progress as numbers: one answer by JSON, and the same in the live stream while a pull runs."""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import Response

from fhir_bridge.case.progress import Progress
from fhir_bridge.servers.console.room import Room
from fhir_bridge.standards.fhir import json

COUNT_SECONDS = 1.0


class Counting:
    """The address that scripts ask."""

    def __init__(self, room: Room) -> None:
        self._room = room

    def router(self) -> APIRouter:
        """The route."""
        router = APIRouter(tags=["console"])
        router.get("/cases/{case_id}/progress", summary="How far each hospital's pull is (JSON)")(
            self.progress
        )
        return router

    def progress(self, request: Request, case_id: str) -> Response:
        """Counts and codes only, for every source of the case."""
        case = self._room.open_case(request, case_id)
        now = self._room.now()
        counted = self._room.store.progress.of_case(case.id, now=now)
        return Response(json.dumps(facts(case.id, counted, now)), media_type="application/json")


def facts(case_id: str, counted: Sequence[Progress], now: datetime) -> dict[str, Any]:
    """The JSON of a case's progress."""
    return {"case": case_id, "sources": [one.facts(now) for one in counted]}


class Watch:
    """What a live stream tells of progress; it also knows of rests, which no event says."""

    def __init__(self, room: Room, case_id: str) -> None:
        self._room, self._case_id = room, case_id
        self._last, self._next = "", 0.0

    def news(self) -> str:
        """
        One SSE message, at most every second, while a source is at work and when the last ends.

        It has no id, so that a resumed stream misses no event; empty when there is nothing to say.
        """
        if time.monotonic() < self._next:
            return ""
        self._next = time.monotonic() + COUNT_SECONDS
        now, last = self._room.now(), self._last
        counted = self._room.store.progress.of_case(self._case_id, now=now)
        told = json.dumps(facts(self._case_id, counted, now)).decode()
        self._last = told if any(one.at_work for one in counted) else ""
        news = told != last and bool(last or self._last)
        return f"event: progress\ndata: {told}\n\n" if news else ""
