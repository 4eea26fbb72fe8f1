"""SMART Backend Services: where the token endpoint is, and a token when one is needed."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Protocol
from urllib.parse import quote, urlsplit

from fhir_bridge.case.original import Answer
from fhir_bridge.clients.ask import Ask, basic
from fhir_bridge.clients.capability import Capability
from fhir_bridge.clients.http import Reply, Wire
from fhir_bridge.clients.origins import joined
from fhir_bridge.clients.patience import retry_after_seconds
from fhir_bridge.errors import (
    BridgeError,
    LoginRefused,
    NotFhir,
    ProviderBusy,
    ProviderFailed,
    ProviderRefused,
)
from fhir_bridge.standards.fhir import json

ASSERTION_TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
ASSERTION_SECONDS = 240
EARLY_SECONDS = 30
USUAL_LIFETIME_SECONDS = 300
SKEW_WORTH_ANOTHER_TRY_SECONDS = 30
_OAUTH_ERROR = re.compile(r"[a-z_]{1,40}")


class Signer(Protocol):
    """Our private keys. SMART asks a client to support both RS384 and ES384."""

    def algorithms(self) -> tuple[str, ...]:
        """What the keys can sign with."""

    def sign(self, header: Mapping[str, Any], claims: Mapping[str, Any], alg: str) -> str:
        """A compact JWS; the key's `kid` and `alg` are added to the header."""


@dataclass(frozen=True, slots=True)
class Smart:
    """What an endpoint says of its login (SMART App Launch 2.2, conformance)."""

    token_endpoint: str = ""
    capabilities: frozenset[str] = frozenset()
    algorithms: tuple[str, ...] = ()

    @classmethod
    def of(cls, document: Mapping[str, Any], base: str) -> Smart:
        """Read a smart-configuration; wrong types count as absent, relative URLs are resolved."""
        endpoint = document.get("token_endpoint")
        return cls(
            joined(f"{base}/", endpoint) if isinstance(endpoint, str) and endpoint else "",
            frozenset(_strings(document.get("capabilities"))),
            tuple(_strings(document.get("token_endpoint_auth_signing_alg_values_supported"))),
        )


def _strings(value: object) -> list[str]:
    return [v for v in value if isinstance(v, str)] if isinstance(value, list) else []


def discover(wire: Wire, base: str) -> Smart:
    """
    The login of an endpoint, from `/.well-known/smart-configuration` below the FHIR base, else
    from the oauth-uris extension of its CapabilityStatement. Asked without login.

    Raises LoginRefused when neither names a token endpoint on the scheme of the base.
    """
    smart = _well_known(wire, base)
    if not smart.token_endpoint:
        answer = wire.ask(Ask(f"{base}/metadata"))
        uris = Capability.of(json.load_object(answer.body or b""))
        smart = Smart.of({"token_endpoint": uris.token_endpoint}, base)
    if urlsplit(smart.token_endpoint).scheme != urlsplit(base).scheme:
        raise LoginRefused("the endpoint names no token endpoint of its own scheme")
    return smart


def _well_known(wire: Wire, base: str) -> Smart:
    ask = Ask(
        f"{base}/.well-known/smart-configuration", accept="application/json", judge=_expect_json
    )
    try:
        answer = wire.ask(ask)
    except (ProviderRefused, NotFhir):
        return Smart()
    return Smart.of(json.load_object(answer.body or b""), base)


def _expect_json(answer: Answer) -> None:
    try:
        json.load_object(answer.body or b"")
    except BridgeError:
        raise NotFhir("the smart-configuration is no JSON object") from None


def scopes(*, v2: bool, writes: Sequence[str]) -> str:
    """
    What we ask for: to read everything, and to create the types of `writes`.

    >>> scopes(v2=True, writes=["DocumentReference"])
    'system/*.rs system/DocumentReference.c'
    >>> scopes(v2=False, writes=["DocumentReference"])
    'system/*.read system/DocumentReference.write'
    """
    read, write = ("rs", "c") if v2 else ("read", "write")
    return " ".join([f"system/*.{read}", *(f"system/{kind}.{write}" for kind in writes)])


@dataclass(frozen=True, slots=True)
class _Token:
    header: str
    until: datetime


class Tokens:
    """
    The access token of one provider, in memory only. Threads share it; one at a time fetches.

    With a `signer` the client proves itself by a signed assertion, else by `secret` (HTTP basic
    at the token endpoint, RFC 6749 2.3.1).
    """

    def __init__(
        self,
        wire: Wire,
        base: str,
        client_id: str,
        *,
        signer: Signer | None = None,
        secret: str = "",
        writes: Sequence[str] = ("DocumentReference", "Binary"),
    ) -> None:
        self._wire, self._base, self._client_id = wire, base, client_id
        self._signer, self._secret, self._writes = signer, secret, tuple(writes)
        self._lock = threading.Lock()
        self._smart: Smart | None = None
        self._v2: bool | None = None
        self._token: _Token | None = None

    def header(self) -> str:
        """`Bearer ...`, fetched or renewed when it has under 30 s left; raises LoginRefused."""
        with self._lock:
            if self._token is None or self._wire.now() >= self._token.until:
                self._token = self._fetched()
            return self._token.header

    def renewed(self, refused: str) -> str:
        """
        Another token after a 401. Of the threads that were refused with the same token the first
        fetches and the others take what it got.
        """
        with self._lock:
            if self._token is None or self._token.header == refused:
                self._token = None
                self._token = self._fetched()
            return self._token.header

    def _fetched(self) -> _Token:
        smart = self._smart = self._smart or discover(self._wire, self._base)
        if self._v2 is None:
            self._v2 = "permission-v2" in smart.capabilities
        asked = self._wire.now()
        reply = self._asked(smart)
        if _error(reply) == "invalid_scope":
            self._v2 = not self._v2
            reply = self._asked(smart)
        return _token(reply, asked)

    def _asked(self, smart: Smart) -> Reply:
        """The endpoint's last word; once more when its clock turns out to differ from ours."""
        used = self._wire.skew_seconds(smart.token_endpoint) or self._wire.skew_seconds(self._base)
        reply = self._wire.patience.run(lambda: self._reply(smart, used))
        learnt = self._wire.skew_seconds(smart.token_endpoint)
        differs = abs(learnt - used) > SKEW_WORTH_ANOTHER_TRY_SECONDS
        if self._signer and differs and _error(reply) in {"invalid_client", "invalid_grant"}:
            reply = self._reply(smart, learnt)
        return reply

    def _reply(self, smart: Smart, skew_seconds: float) -> Reply:
        form = {
            "grant_type": "client_credentials",
            "scope": scopes(v2=bool(self._v2), writes=self._writes),
        }
        login = ""
        if self._signer:
            form["client_assertion_type"] = ASSERTION_TYPE
            form["client_assertion"] = self._assertion(self._signer, smart, skew_seconds)
        else:
            login = basic(quote(self._client_id, safe=""), quote(self._secret, safe=""))
        reply = self._wire.confide(smart.token_endpoint, form, login=login)
        _raise_if_passing(reply, self._wire.now)
        return reply

    def _assertion(self, signer: Signer, smart: Smart, skew_seconds: float) -> str:
        """A new one each time: servers refuse a `jti` that they have seen, even unanswered."""
        issued = int(self._wire.now().timestamp() + skew_seconds)
        claims = {
            "iss": self._client_id,
            "sub": self._client_id,
            "aud": smart.token_endpoint,
            "iat": issued,
            "exp": issued + ASSERTION_SECONDS,
            "jti": self._wire.new_id(),
        }
        return signer.sign({"typ": "JWT"}, claims, _algorithm(smart, signer))


def _algorithm(smart: Smart, signer: Signer) -> str:
    ours = [alg for alg in ("RS384", "ES384") if alg in signer.algorithms()]
    if not ours:
        raise LoginRefused("no key for RS384 or ES384")
    return next((alg for alg in ours if alg in smart.algorithms), ours[0])


def _raise_if_passing(reply: Reply, now: Callable[[], datetime]) -> None:
    if reply.status in {429, 503}:
        wait = retry_after_seconds(reply.headers.get("retry-after", ""), now())
        raise ProviderBusy(f"token endpoint: HTTP {reply.status}", retry_after_seconds=wait)
    if reply.status >= 500:
        raise ProviderFailed(f"token endpoint: HTTP {reply.status}")


def _error(reply: Reply) -> str:
    """The OAuth error code (RFC 6749 5.2), never the free text beside it."""
    code = _object(reply).get("error") if reply.status >= 400 else ""
    return code if isinstance(code, str) and _OAUTH_ERROR.fullmatch(code) else ""


def _object(reply: Reply) -> Mapping[str, Any]:
    try:
        return json.load_object(reply.body)
    except BridgeError:
        return {}


def _token(reply: Reply, asked: datetime) -> _Token:
    answer = _object(reply)
    access, lifetime = answer.get("access_token"), answer.get("expires_in")
    if reply.status >= 300 or not isinstance(access, str) or not access.isascii():
        raise LoginRefused(f"token endpoint: HTTP {reply.status} {_error(reply)}".rstrip())
    try:
        seconds = float(lifetime) if lifetime is not None else USUAL_LIFETIME_SECONDS
    except (TypeError, ValueError):
        seconds = USUAL_LIFETIME_SECONDS
    # A token of a few seconds is used at least half its life, or it would be fetched each time.
    usable = max(seconds - EARLY_SECONDS, seconds / 2)
    return _Token(f"Bearer {access}", asked + timedelta(seconds=min(usable, 86_400.0)))
