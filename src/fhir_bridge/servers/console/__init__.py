"""
The nurse's pages: server-rendered, live by events, usable as plain forms.

Room: servers/console. It imports store, security, standards and case, never another server.
"""

from __future__ import annotations

from fastapi import APIRouter, Request
from starlette.responses import Response

from fhir_bridge.security.access import LOCAL
from fhir_bridge.servers.console import troubles
from fhir_bridge.servers.console.casepage import CasePage
from fhir_bridge.servers.console.chart import Charts
from fhir_bridge.servers.console.counting import Counting
from fhir_bridge.servers.console.entry import Entry
from fhir_bridge.servers.console.evidence import Evidence
from fhir_bridge.servers.console.files import Files
from fhir_bridge.servers.console.live import Live
from fhir_bridge.servers.console.office import Office
from fhir_bridge.servers.console.opinions import Opinions
from fhir_bridge.servers.console.pictures import Gallery
from fhir_bridge.servers.console.room import Room
from fhir_bridge.servers.console.worklist import Worklist
from fhir_bridge.servers.problems import ErrorPage, Problem

__all__ = ["Room", "error_page", "make_router"]


def make_router(room: Room) -> APIRouter:
    """Every route of the console."""
    charts, gallery = Charts(), Gallery(room.preview)
    router = APIRouter()
    for part in (
        Entry(room),
        Worklist(room),
        Live(room),
        Counting(room),
        Evidence(room),
        Files(room),
        Opinions(room, charts),
        CasePage(room, charts, gallery),
        Office(room),
    ):
        router.include_router(part.router())
    return router


def error_page(room: Room) -> ErrorPage:
    """The calm page for what went wrong: what happened, what it means, who acts next."""

    def page(request: Request, problem: Problem) -> Response:
        state = request.scope.setdefault("state", {})
        for name, value in (("actor", LOCAL), ("session", ""), ("csrf", "")):
            state.setdefault(name, value)
        next_ = troubles.who_next(problem.code)
        return room.render(request, "error.html", problem.status, problem=problem, next=next_)

    return page
