"""The token endpoint on its bad days."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from dataclasses import replace
from email.utils import formatdate

from fhir_bridge.simulators import edges
from fhir_bridge.simulators.edges import Answer, Ask, Edge, Next
from fhir_bridge.simulators.faults.fault import Fault, with_rules
from fhir_bridge.simulators.wire import Resource, read_json, write_json

TOKEN_USES = 10
CLOCK_AHEAD_SECONDS = 600.0
V1 = re.compile(r"\.(read|write|\*)(\s|$)")
V2 = re.compile(r"\.c?r?u?d?s?(\?\S*)?(\s|$)")


def _oauth(status: int, error: str, words: str) -> Answer:
    body = write_json({"error": error, "error_description": words})
    return edges.said(status, "application/json", body, (b"cache-control", b"no-store"))


def scope_refused(syntax: re.Pattern[str]) -> Callable[[], Edge]:
    """Scopes of one syntax are not known here."""

    async def edge(ask: Ask, go_on: Next) -> Answer:
        refused = syntax.search(ask.form.get("scope", ""))
        return _oauth(400, "invalid_scope", "") if refused else await go_on()

    return lambda: edge


def burns_the_assertion() -> Edge:
    """The first login is checked and its jti is used up, but the answer is 503."""
    left = [edges.said(503, "text/plain", b"try again", (b"retry-after", b"1"))]

    async def edge(_ask: Ask, go_on: Next) -> Answer:
        answer = await go_on()
        return left.pop() if left and answer.status == 200 else answer

    return edge


def ahead(seconds: float) -> Callable[[], Edge]:
    """Every answer's Date is ahead."""

    async def edge(_ask: Ask, go_on: Next) -> Answer:
        answer = await go_on()
        date = formatdate(time.time() + seconds, usegmt=True).encode()
        return replace(answer, headers=(*answer.headers, (b"date", date)))

    return lambda: edge


def _rewrites(change: Callable[[Resource], Resource]) -> Callable[[], Edge]:
    return lambda: edges.changes(
        lambda _ask, answer: replace(answer, body=write_json(change(read_json(answer.body))))
    )


def _token(name: str, shows: str, edge: Callable[[], Edge]) -> Fault:
    return Fault(name, shows, "login", reach=edges.token_asks, edge=edge)


ROWS = (
    Fault("token-expires", f"a token dies after {TOKEN_USES} requests", "login",
          with_rules(token_uses=TOKEN_USES)),
    Fault("token-dies-at-once", "a token dies after 2 requests", "login", with_rules(token_uses=2)),
    Fault("clock-ahead", f"the hospital's clock is {CLOCK_AHEAD_SECONDS:g} s ahead, also in Date",
          "login", with_rules(clock_ahead_seconds=CLOCK_AHEAD_SECONDS), edges.everything,
          ahead(CLOCK_AHEAD_SECONDS)),
    _token("scope-v1-refused", "scopes like system/*.read are refused: invalid_scope",
           scope_refused(V1)),
    _token("scope-v2-refused", "scopes like system/*.rs are refused: invalid_scope",
           scope_refused(V2)),
    _token("assertion-burnt", "the first login is answered 503, and its assertion is used up",
           burns_the_assertion),
    _token("token-429-once", "the first login is refused once, Retry-After: 1",
           lambda: edges.once(lambda: edges.said(
               429, "text/plain", b"slow down", (b"retry-after", b"1")))),
    _token("token-html", "the token endpoint answers 200 with a web page",
           lambda: edges.answers(edges.said(200, "text/html", b"<html>Sign in</html>"))),
    _token("token-refused", "every login is refused: invalid_client",
           lambda: edges.answers(_oauth(401, "invalid_client", "unknown client"))),
    _token("token-without-expiry", "tokens do not say how long they live", _rewrites(
        lambda token: {key: value for key, value in token.items() if key != "expires_in"})),
)  # fmt: skip
