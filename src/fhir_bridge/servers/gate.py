"""The gate before every route: known host, bounded body, logged-in caller, own origin."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import SplitResult, urlsplit

from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from fhir_bridge.security.access import LOCAL
from fhir_bridge.security.login import Door
from fhir_bridge.servers.problems import is_machine
from fhir_bridge.settings import Settings

SESSION_COOKIE = "fhir_bridge_session"
_SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
_OPEN = ("/login", "/static", "/livez", "/readyz", "/.well-known", "/fhir/metadata")
_LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})
MIB = 1024 * 1024
BODY_CAPS: tuple[tuple[str, int], ...] = (("/dicom-web", 8 * 1024 * MIB), ("/", 4 * MIB))


@dataclass(frozen=True, slots=True)
class Rules:
    """What the gate lets through: host names, open paths, body caps in bytes by path prefix."""

    hosts: frozenset[str]
    secure: bool
    token: str = ""
    open_paths: tuple[str, ...] = _OPEN
    body_caps: tuple[tuple[str, int], ...] = BODY_CAPS

    @classmethod
    def of(cls, settings: Settings, *, open_paths: Sequence[str] = ()) -> Rules:
        """The rules that follow from the settings."""
        public = urlsplit(settings.public_url)
        return cls(
            hosts=_LOOPBACK | {settings.host, public.hostname or settings.host},
            secure=public.scheme == "https" or settings.tls_certificate is not None,
            token=settings.login_token.get_secret_value(),
            open_paths=(*_OPEN, *open_paths),
        )


def csrf_token(session: str) -> str:
    """The synchronizer token of a session: bound to it, and of no use without it."""
    return hashlib.sha256(f"csrf\x1f{session}".encode()).hexdigest()


def _split(url: str) -> SplitResult:
    """An address taken apart; of one that cannot be read nothing is left."""
    try:
        return urlsplit(url)
    except ValueError:
        return SplitResult("", "", "", "", "")


class Gate:
    """
    Refuses by raising, so that every refusal is answered in the words of the error pages.

    Who passed stands in `request.state`: `actor`, `session` (empty for a bearer), `csrf`.
    """

    def __init__(self, app: ASGIApp, *, door: Door, rules: Rules) -> None:
        self._app, self._door, self._rules = app, door, rules

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Check, then hand on."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request = Request(scope)
        self._check_host(request)
        receive = self._capped(request, receive)
        known = await self._admit(request)
        if not known and not self._is_open(request.url.path):
            await self._turn_away(request)(scope, receive, send)
            return
        await self._app(scope, receive, send)

    def _check_host(self, request: Request) -> None:
        # DNS rebinding: a page of somebody else may resolve its own name to our address.
        name = _split(f"//{request.headers.get('host', '')}").hostname
        if (name or "") not in self._rules.hosts:
            raise HTTPException(421)

    def _capped(self, request: Request, receive: Receive) -> Receive:
        path = request.url.path
        cap = next((size for prefix, size in self._rules.body_caps if path.startswith(prefix)), MIB)
        announced = request.headers.get("content-length", "0")
        if not announced.isdigit() or int(announced) > cap:
            raise HTTPException(413)
        taken = 0

        async def bounded() -> Message:
            nonlocal taken
            message = await receive()
            taken += len(message.get("body", b""))
            if taken > cap:
                raise HTTPException(413)
            return message

        return bounded

    async def _admit(self, request: Request) -> bool:
        """Whether the caller is known; an unsafe request of a browser must come from our page."""
        state = request.scope.setdefault("state", {})
        state.update(actor=LOCAL, session="", csrf="")
        if await self._bearer(request):
            return True
        unsafe = request.method not in _SAFE
        if unsafe and not self._is_ours(request):
            raise HTTPException(403)
        session = request.cookies.get(SESSION_COOKIE, "")
        if not await run_in_threadpool(self._door.knows, session):
            return False
        state.update(session=session, csrf=csrf_token(session))
        # Forms of the console carry the token in a field, which the route checks; an interface
        # called with a browser's cookie must send it as a header.
        if unsafe and is_machine(request.url.path):
            given = request.headers.get("x-csrf-token", "")
            if not hmac.compare_digest(given, state["csrf"]):
                raise HTTPException(403)
        return True

    async def _bearer(self, request: Request) -> bool:
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not token:
            return False
        fixed = self._rules.token.encode()
        if fixed and hmac.compare_digest(token.encode(), fixed):
            return True
        return await run_in_threadpool(self._door.knows, token)

    def _is_ours(self, request: Request) -> bool:
        """Fetch metadata where the browser sends it, and the Origin wherever it says something."""
        site = request.headers.get("sec-fetch-site")
        origin = request.headers.get("origin")
        # Our Referrer-Policy makes browsers write the origin of our forms as `null` (Fetch 4.6).
        if origin is None or (origin == "null" and site is not None):
            return site == "same-origin" or (site is None and is_machine(request.url.path))
        ours = _split(origin).netloc == request.headers.get("host", "")
        return ours and site in (None, "same-origin", "none")

    def _is_open(self, path: str) -> bool:
        return any(path == root or path.startswith(root + "/") for root in self._rules.open_paths)

    def _turn_away(self, request: Request) -> RedirectResponse:
        page = request.headers.get("sec-fetch-dest", "document") == "document"
        if request.method in _SAFE and page and not is_machine(request.url.path):
            return RedirectResponse("/login", 303)
        raise HTTPException(401)
