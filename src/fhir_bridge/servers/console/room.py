"""What every page of the console shares: the store, the door to a case, templates, the clock."""

from __future__ import annotations

import hmac
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Annotated, Any

from fastapi import Form, Request
from jinja2 import Environment, PackageLoader, StrictUndefined
from starlette.exceptions import HTTPException
from starlette.responses import HTMLResponse, RedirectResponse

from fhir_bridge.case.case import Case, TreatingProvider
from fhir_bridge.security.access import Access, Actor, Purpose
from fhir_bridge.security.login import Door
from fhir_bridge.servers.console import nouns, show, words
from fhir_bridge.servers.console.ports import Actions, Desk, Preview
from fhir_bridge.store.shelves import Store


def _templates() -> Environment:
    made = Environment(
        loader=PackageLoader("fhir_bridge.servers.console"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters.update(show.FILTERS)
    made.globals.update(State=words.State, things=nouns.things)
    return made


@dataclass(frozen=True, slots=True)
class Room:
    """
    One console. `running` turns false when the server is about to stop, so that open event
    streams end and a shutdown does not wait for them.
    """

    store: Store
    access: Access
    door: Door
    actions: Actions
    desk: Desk
    preview: Preview
    now: Callable[[], datetime]
    organisation: str = "Second Opinion Programme"
    secure: bool = False
    running: Callable[[], bool] = lambda: True
    templates: Environment = field(default_factory=_templates)

    def open_case(self, request: Request, case_id: str, purpose: Purpose = Purpose.COLLECT) -> Case:
        """The case, through the one door; raises CaseUnknown, NotAllowed."""
        return self.access.open_case(actor(request), case_id, purpose)

    def providers(self) -> Mapping[str, TreatingProvider]:
        """Every treating provider by id."""
        return {provider.id: provider for provider in self.store.providers.all()}

    def render(
        self, request: Request, template: str, status: int = 200, **facts: Any
    ) -> HTMLResponse:
        """A page or fragment; every value is escaped by the template engine."""
        state = request.scope.get("state", {})
        shared = {
            "now": self.now(),
            "organisation": self.organisation,
            "csrf": state.get("csrf", ""),
            "logged_in": bool(state.get("session")),
            "who": state["actor"].name if state.get("session") else "",
            "here": request.url.path,
            "form": "",
        }
        text = self.templates.get_template(template).render({**shared, **facts})
        return HTMLResponse(text, status)


def actor(request: Request) -> Actor:
    """Who passed the gate."""
    found = request.scope["state"]["actor"]
    assert isinstance(found, Actor)
    return found


def checked_form(request: Request, csrf: Annotated[str, Form()] = "") -> None:
    """The synchronizer token of a form; a bearer has no session and needs none."""
    state = request.scope["state"]
    if state["session"] and not hmac.compare_digest(csrf.encode(), state["csrf"].encode()):
        raise HTTPException(403)


def to(path: str) -> RedirectResponse:
    """After a form: see this page (303), so that reloading repeats nothing."""
    return RedirectResponse(path, 303)
