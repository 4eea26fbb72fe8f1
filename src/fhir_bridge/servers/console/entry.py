"""The way in: the one-time link, the login form, the way out, and the console's own two files."""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from typing import Annotated

from fastapi import APIRouter, Depends, Form, Request
from starlette.exceptions import HTTPException
from starlette.responses import HTMLResponse, RedirectResponse, Response

from fhir_bridge.security.login import SESSION_LIFE
from fhir_bridge.servers.console.room import Room, checked_form, to
from fhir_bridge.servers.gate import SESSION_COOKIE

_STATIC = {"console.css": "text/css", "console.js": "text/javascript", "icon.svg": "image/svg+xml"}


class Entry:
    """Login pages and static files; all of them stand before the gate."""

    def __init__(self, room: Room) -> None:
        self._room = room

    def router(self) -> APIRouter:
        """The routes."""
        router = APIRouter(tags=["console"], include_in_schema=False)
        router.get("/login")(self.page)
        router.post("/login")(self.enter)
        router.post("/logout", dependencies=[Depends(checked_form)])(self.leave)
        router.get("/static/{name}")(static)
        return router

    def page(self, request: Request, t: str = "") -> Response:
        """The login form; with a one-time token it opens the console at once."""
        if t:
            return self._let_in(request, t)
        return self._room.render(request, "login.html", refused=False)

    def enter(self, request: Request, token: Annotated[str, Form()] = "") -> Response:
        """The form's token: the configured one or a one-time link's."""
        return self._let_in(request, token.strip())

    def leave(self, request: Request) -> RedirectResponse:
        """End the session on the server and forget the cookie."""
        self._room.door.leave(request.scope["state"]["session"])
        response = to("/login")
        response.delete_cookie(SESSION_COOKIE, path="/")
        return response

    def _let_in(self, request: Request, token: str) -> Response:
        session = self._room.door.enter(token)
        if session is None:
            refused: HTMLResponse = self._room.render(request, "login.html", 401, refused=True)
            return refused
        response = to("/")
        # Lax, not Strict: the portal links to a case, and the one-time link redirects here.
        response.set_cookie(
            SESSION_COOKIE,
            session,
            max_age=int(SESSION_LIFE.total_seconds()),
            path="/",
            httponly=True,
            samesite="lax",
            secure=self._room.secure,
        )
        return response


def static(name: str) -> Response:
    """One of the console's own files."""
    if name not in _STATIC:
        raise HTTPException(404)
    headers = {"Cache-Control": "no-cache"}
    return Response(_file(name), media_type=_STATIC[name], headers=headers)


@cache
def _file(name: str) -> bytes:
    return files("fhir_bridge.servers.console").joinpath("static", name).read_bytes()
