"""The one web application: every router behind the gate, inside the envelope of headers."""

from __future__ import annotations

import re
import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import structlog
from fastapi import APIRouter, FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.datastructures import MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from fhir_bridge import __version__
from fhir_bridge.case.signing import JWKS_MAX_AGE_SECONDS
from fhir_bridge.errors import BridgeError
from fhir_bridge.security.login import Door
from fhir_bridge.servers.gate import Gate, Rules
from fhir_bridge.servers.listing import listing
from fhir_bridge.servers.problems import ErrorPage, answer, invalid, problem_of
from fhir_bridge.settings import Settings
from fhir_bridge.standards.fhir import json

CSP = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; frame-src 'self'; form-action 'self'; base-uri 'none'; "
    "frame-ancestors 'none'"
)
# A route may set its own value of any of these (a document's frame, a key set); none may be absent.
HEADERS = {
    "Content-Security-Policy": CSP,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    "Cache-Control": "no-store",
}
_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
_log = structlog.get_logger("fhir_bridge.web")

Jwks = Callable[[], Mapping[str, Any]]
Ready = Callable[[], Mapping[str, bool]]


def make_app(
    *,
    routers: Sequence[APIRouter],
    door: Door,
    settings: Settings,
    jwks: Jwks,
    ready: Ready = dict,
    error_page: ErrorPage | None = None,
    open_paths: Sequence[str] = (),
) -> FastAPI:
    """
    Put the routers behind the gate. `jwks` gives our public keys, `ready` named checks,
    `error_page` renders a problem for people, `open_paths` are let through without a login.
    """
    rules = Rules.of(settings, open_paths=open_paths)
    app = FastAPI(
        title="fhir-bridge", version=__version__, docs_url=None, redoc_url=None, openapi_url=None
    )
    app.add_middleware(Gate, door=door, rules=rules)
    app.add_middleware(Envelope, page=error_page, secure=rules.secure)
    _answer_errors(app, error_page)
    app.include_router(_housekeeping(app, jwks, ready))
    for router in routers:
        app.include_router(router)
    return app


class Envelope:
    """
    Around every answer: request id, security headers, one log line, and the last catch.

    The log line carries the route's template, never an address with identifiers or a query.
    """

    def __init__(self, app: ASGIApp, *, page: ErrorPage | None, secure: bool) -> None:
        self._app, self._page = app, page
        extra = {"Strict-Transport-Security": "max-age=31536000"} if secure else {}
        self._headers = {**HEADERS, **extra}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Hand on, and answer whatever comes back as an exception."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request, started = Request(scope), time.monotonic()
        request_id = _request_id(request)
        scope.setdefault("state", {})["request_id"] = request_id
        status = 0

        async def dressed(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                self._dress(MutableHeaders(scope=message), request_id)
            await send(message)

        try:
            await self._app(scope, receive, dressed)
        except Exception as error:  # noqa: BLE001 (the last catch: nothing may escape unanswered)
            if not isinstance(error, HTTPException | BridgeError):
                # The text of a foreign exception may quote what it failed on: its type is enough.
                _log.error("request failed", error=type(error).__name__, request=request_id)
            if not status:
                response = answer(request, problem_of(request, error), self._page)
                await response(scope, receive, dressed)
        _log_request(scope, status, request_id, time.monotonic() - started)

    def _dress(self, headers: MutableHeaders, request_id: str) -> None:
        headers["X-Request-Id"] = request_id
        for name, value in self._headers.items():
            headers.setdefault(name, value)


def _request_id(request: Request) -> str:
    given = request.headers.get("x-request-id", "")
    return given if _REQUEST_ID.fullmatch(given) else secrets.token_hex(8)


def _log_request(scope: Scope, status: int, request_id: str, seconds: float) -> None:
    route = getattr(scope.get("route"), "path", "-")
    _log.info(
        "request answered",
        method=scope["method"],
        route=route,
        status=status,
        milliseconds=round(seconds * 1000),
        request=request_id,
    )


def _answer_errors(app: FastAPI, page: ErrorPage | None) -> None:
    async def told(request: Request, error: Exception) -> Response:
        return answer(request, problem_of(request, error), page)

    async def unfit(request: Request, error: Exception) -> Response:
        places = error.errors() if isinstance(error, RequestValidationError) else ()
        # Only where it does not fit: pydantic would quote what was typed.
        fields = ", ".join(".".join(str(part) for part in place["loc"]) for place in places)
        return answer(request, invalid(request, fields), page)

    app.add_exception_handler(HTTPException, told)
    app.add_exception_handler(BridgeError, told)
    app.add_exception_handler(RequestValidationError, unfit)


def _housekeeping(app: FastAPI, jwks: Jwks, ready: Ready) -> APIRouter:
    router = APIRouter(tags=["service"])

    @router.get("/livez", summary="The process answers")
    def livez() -> Response:
        return _json({"status": "live"})

    @router.get("/readyz", summary="Database, storage and workers are usable")
    def readyz() -> Response:
        checks = dict(ready())
        good = all(checks.values())
        body = {"status": "ready" if good else "not ready", "checks": checks}
        return _json(body, 200 if good else 503)

    @router.get("/.well-known/jwks.json", summary="Our public keys (RFC 7517)")
    def key_set() -> Response:
        return _json(jwks(), cache=f"public, max-age={JWKS_MAX_AGE_SECONDS}")

    @router.get("/openapi.json", summary="This interface as OpenAPI")
    def openapi() -> Response:
        return _json(app.openapi())

    @router.get("/docs", summary="The routes on one page, without any foreign script")
    def docs() -> HTMLResponse:
        return HTMLResponse(listing(app.openapi()))

    return router


def _json(value: object, status: int = 200, cache: str = "no-store") -> Response:
    headers = {"Cache-Control": cache}
    return Response(json.dumps(value), status, headers, media_type="application/json")
