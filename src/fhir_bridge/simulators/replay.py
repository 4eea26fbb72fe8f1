"""The EHR of other people's answers: each capture is given under its vendor's own paths."""

from __future__ import annotations

from pathlib import Path

from fastapi import APIRouter, Request
from starlette.responses import JSONResponse, Response

from fhir_bridge.simulators.captures import SEARCHED, Home, homes_of, rebased, told
from fhir_bridge.simulators.door import PREFIX
from fhir_bridge.simulators.login import Login
from fhir_bridge.simulators.rules import PAGE_PARAMETERS
from fhir_bridge.simulators.wire import CONTENT_TYPE, Resource, outcome, write_json

_ASKED_FOR_PEOPLE = frozenset(
    {"_id", "identifier", "name", "family", "given", "birthdate", "gender", "email", "phone"}
)


class Replay:
    """
    Answers what was captured; what was not is refused in the vendor's words, where they are known.

    `patient` stands under the id of whom the captures are about where no capture is that person.
    """

    def __init__(self, folder: Path, origin: str, patient: Resource, login: Login) -> None:
        self.homes, self._origin, self._patient = homes_of(folder), origin, patient
        self._login = login

    def answer(self, path: str, query: dict[str, str], form: bytes, login: str) -> Response:
        """The answer to a GET, or to a POST search with a form."""
        home = max(
            (one for one in self.homes if path.startswith(f"{one.path}/")),
            key=lambda one: len(one.path), default=None,
        )  # fmt: skip
        if home is None:
            return _said(404, write_json(outcome("error", "not-found", "no such base")))
        rest = path.removeprefix(f"{home.path}/").removesuffix("/_search")
        if rest not in ("metadata", ".well-known/smart-configuration") and not (
            self._login.admits(login)
        ):
            return self._error(home, 401)
        return self._given(home, rest, query, form) or self._error(home, 404)

    def _given(self, home: Home, rest: str, query: dict[str, str], form: bytes) -> Response | None:
        if rest == "metadata":
            return self._as_is(home, home.statement or _statement(home))
        if rest == ".well-known/smart-configuration":
            return self._as_is(home, home.smart) if home.smart else None
        if rest.startswith("Binary/") and rest[7:] in home.held:
            held = home.held[rest[7:]]
            return Response(held.body, 200, media_type=held.content_type)
        if "/" in rest:
            body = self._person(home) if rest == f"Patient/{home.patient}" else home.reads.get(rest)
            return self._as_is(home, body) if body else None
        return self._search(home, rest, query, form)

    def _search(self, home: Home, kind: str, query: dict[str, str], form: bytes) -> Response | None:
        if any(name in query for name in PAGE_PARAMETERS):
            return None  # the page that follows was not captured
        if kind == "Patient" and "Patient" not in home.searches:
            names = {*query, *(pair.partition("=")[0] for pair in form.decode().split("&"))}
            if not names & _ASKED_FOR_PEOPLE:
                return self._error(home, 400)
            return self._as_is(home, _found(self._person(home)))
        body = home.answer(kind)
        if body is None and kind in SEARCHED:
            body = write_json({"resourceType": "Bundle", "type": "searchset", "total": 0})
        return self._as_is(home, body) if body else None

    def _person(self, home: Home) -> bytes:
        captured = home.reads.get(f"Patient/{home.patient}")
        return captured or write_json(self._patient | {"id": home.patient})

    def _as_is(self, home: Home, body: bytes) -> Response:
        return _said(200, rebased(body, home, self._origin))

    def _error(self, home: Home, status: int) -> Response:
        """The captured refusal with this status, or a plain one."""
        for (number, kind), capture in sorted(home.errors.items()):
            if number == status:
                return Response(capture.body, status, media_type=kind)
        return _said(status, write_json(outcome("error", "not-found", "not captured")))


def _said(status: int, body: bytes) -> Response:
    return Response(body, status, media_type=CONTENT_TYPE)


def _found(person: bytes) -> bytes:
    entry = b'{"resource":' + person + b',"search":{"mode":"match"}}'
    return b'{"resourceType":"Bundle","type":"searchset","total":1,"entry":[' + entry + b"]}"


def _statement(home: Home) -> bytes:
    """Whose statement was not captured offers what there is."""
    kinds = sorted({"Patient", *SEARCHED, *home.searches})
    codes = [{"code": "read"}, {"code": "search-type"}]
    resources = [{"type": kind, "interaction": codes} for kind in kinds]
    return write_json(
        {
            "resourceType": "CapabilityStatement", "status": "active", "kind": "instance",
            "date": "2026-01-01", "fhirVersion": "4.0.1", "format": ["json"],
            "rest": [{"mode": "server", "resource": resources}],
        }
    )  # fmt: skip


def replay_router(replay: Replay, origin: str) -> APIRouter:
    """Every captured base, and `/simulator/captures`, which lists them."""
    router = APIRouter()

    @router.get(f"{PREFIX}/captures")
    def listed() -> Response:
        return JSONResponse(told(replay.homes, origin))

    @router.get("/{path:path}")
    def given(request: Request, path: str) -> Response:
        login = request.headers.get("authorization", "")
        return replay.answer(f"/{path}", dict(request.query_params), b"", login)

    @router.post("/{path:path}")
    async def searched(request: Request, path: str) -> Response:
        login, form = request.headers.get("authorization", ""), await request.body()
        return replay.answer(f"/{path}", dict(request.query_params), form, login)

    return router
