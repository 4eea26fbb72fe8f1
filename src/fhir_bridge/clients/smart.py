"""SMART Backend Services: where the token endpoint is, and a token when one is needed."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Protocol
from urllib.parse import urlsplit

from fhir_bridge.case.original import Answer
from fhir_bridge.clients.ask import Ask
from fhir_bridge.clients.capability import Capability
from fhir_bridge.clients.http import Reply, Wire
from fhir_bridge.clients.origins import joined
from fhir_bridge.clients.patience import retry_after_seconds
from fhir_bridge.clients.proofs import (
    ASSERTION_TYPE,
    SECRET_BASIC,
    SECRET_POST,
    Proof,
    Server,
    SharedSecret,
    SignedAssertion,
    Signer,
)
from fhir_bridge.clients.scopes import scopes
from fhir_bridge.errors import (
    BridgeError,
    LoginRefused,
    NotFhir,
    ProviderBusy,
    ProviderFailed,
    ProviderRefused,
)
from fhir_bridge.standards.fhir import json

__all__ = ["ASSERTION_TYPE", "Account", "Memory", "Signer", "Smart", "Tokens", "discover", "scopes"]

WRITES = ("DocumentReference", "Binary")
EARLY_SECONDS = 30
USUAL_LIFETIME_SECONDS = 300
SKEW_WORTH_ANOTHER_TRY_SECONDS = 30
_OAUTH_ERROR = re.compile(r"[a-z_]{1,40}")
_SCOPES = re.compile(r"[\x20\x21\x23-\x5b\x5d-\x7e]*")
_MOST_SCOPE_CHARACTERS = 4000
# RFC 6750 2.1 says b64token; servers are freer, but a header has no blanks or control characters.
_TOKEN = re.compile(r"[\x21-\x7e]+")


class Memory(Protocol):
    """What is learnt of one endpoint and outlives this process (clients.manners)."""

    def fact(self, name: str) -> object:
        """What was learnt under a name; None for nothing."""

    def learn(self, **facts: object) -> None:
        """Add to it, or change it."""


@dataclass(frozen=True, slots=True)
class Smart:
    """What an endpoint says of its login (SMART App Launch 2.2, conformance)."""

    token_endpoint: str = ""
    capabilities: frozenset[str] = frozenset()
    algorithms: tuple[str, ...] = ()
    methods: tuple[str, ...] = ()

    @classmethod
    def of(cls, document: Mapping[str, Any], base: str) -> Smart:
        """Read a smart-configuration; wrong types count as absent, relative URLs are resolved."""
        endpoint = document.get("token_endpoint")
        return cls(
            joined(f"{base}/", endpoint) if isinstance(endpoint, str) and endpoint else "",
            frozenset(_strings(document.get("capabilities"))),
            tuple(_strings(document.get("token_endpoint_auth_signing_alg_values_supported"))),
            tuple(_strings(document.get("token_endpoint_auth_methods_supported"))),
        )

    @property
    def server(self) -> Server:
        """The part that a proof needs to know."""
        return Server(self.token_endpoint, self.methods, self.algorithms)


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


@dataclass(frozen=True, slots=True)
class _Token:
    header: str
    until: datetime


@dataclass(frozen=True, slots=True)
class _Manner:
    """How a token is asked for: the spelling of scopes, and the way in which the proof goes."""

    v2: bool
    way: str


@dataclass(frozen=True, slots=True)
class Account:
    """
    The last login, for whoever compares our side with the hospital's; holds no secret.

    `proof` names algorithm and key id. `granted` is empty when the login was refused.
    """

    token_endpoint: str
    method: str
    proof: str
    asked: str
    granted: str = ""
    lifetime_seconds: float = 0.0


class Tokens:
    """
    The access token of one provider for one subject and purpose, in memory only.

    Threads share it; one at a time fetches. With a `signer` the client proves itself by a signed
    assertion, with a `secret` by that, with `proof` by anything else, whose endpoint `find` finds.
    `scope` is asked for word by word, in place of our own choice. What the server turns out to
    understand goes into `memory`, which is the manners of the wire when nothing else is given.
    """

    name = "Authorization"

    def __init__(
        self,
        wire: Wire,
        base: str,
        client_id: str = "",
        *,
        signer: Signer | None = None,
        secret: str = "",
        proof: Proof | None = None,
        find: Callable[[], Smart] | None = None,
        writes: Sequence[str] = WRITES,
        scope: str = "",
        memory: Memory | None = None,
    ) -> None:
        self._wire, self._base = wire, base
        own = SignedAssertion(client_id, signer) if signer else SharedSecret(client_id, secret)
        self._proof: Proof = proof or own
        self._find = find or (lambda: discover(wire, base))
        self._writes, self._scope = tuple(writes), scope
        self._memory: Memory = memory or wire.manners
        self._lock = threading.Lock()
        self._smart: Smart | None = None
        self._manner: _Manner | None = None
        self._token: _Token | None = None
        self._account: Account | None = None

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

    def account(self) -> Account | None:
        """The last login that was tried; None before the first."""
        return self._account

    def _fetched(self) -> _Token:
        smart = self._smart = self._smart or self._find()
        try:
            return self._logged_in(smart)
        except LoginRefused:
            # The endpoint may have moved: the next attempt looks for it again.
            self._smart = None
            raise

    def _logged_in(self, smart: Smart) -> _Token:
        manner = self._manner or self._first(smart)
        asked = self._wire.now()
        reply = self._asked(smart, manner)
        if _is_stranger(reply):
            others = [w for w in self._proof.ways(smart.server) if w != manner.way]
            if others:
                manner = replace(manner, way=others[0])
                reply = self._asked(smart, manner)
        if _error(reply) == "invalid_scope" and not self._scope:
            manner = replace(manner, v2=not manner.v2)
            reply = self._asked(smart, manner)
        token, self._account = _token(reply, asked), self._granted(reply)
        self._learn(manner)
        return token

    def _first(self, smart: Smart) -> _Manner:
        """As it went the last time, else as the server describes itself."""
        ways = self._proof.ways(smart.server)
        syntax, way = (self._memory.fact(n) for n in ("scope_syntax", "token_auth_method"))
        v2 = syntax == "v2" if syntax in ("v1", "v2") else "permission-v2" in smart.capabilities
        return _Manner(v2, str(way) if way in ways else ways[0])

    def _learn(self, manner: _Manner) -> None:
        if manner == self._manner:
            return
        self._manner = manner
        learnt = {} if self._scope else {"scope_syntax": "v2" if manner.v2 else "v1"}
        if manner.way in (SECRET_BASIC, SECRET_POST):
            learnt["token_auth_method"] = manner.way
        if any(self._memory.fact(name) != value for name, value in learnt.items()):
            self._memory.learn(**learnt)

    def _asked(self, smart: Smart, manner: _Manner) -> Reply:
        """The endpoint's last word; once more when its clock turns out to differ from ours."""
        used = self._wire.skew_seconds(smart.token_endpoint) or self._wire.skew_seconds(self._base)
        reply = self._wire.patience.run(lambda: self._reply(smart, manner, used))
        learnt = self._wire.skew_seconds(smart.token_endpoint)
        differs = abs(learnt - used) > SKEW_WORTH_ANOTHER_TRY_SECONDS
        if self._proof.signs and differs and _error(reply) in {"invalid_client", "invalid_grant"}:
            reply = self._reply(smart, manner, learnt)
        return reply

    def _reply(self, smart: Smart, manner: _Manner, skew_seconds: float) -> Reply:
        issued = int(self._wire.now().timestamp() + skew_seconds)
        jti = self._wire.new_id()
        shown = self._proof.show(manner.way, smart.server, issued=issued, jti=jti)
        scope = self._scope or scopes(v2=manner.v2, writes=self._writes)
        self._account = Account(smart.token_endpoint, manner.way, shown.account, scope)
        form = {"grant_type": "client_credentials", "scope": scope, **shown.form}
        reply = self._wire.confide(smart.token_endpoint, form, login=shown.login)
        _raise_if_passing(reply, self._wire.now)
        return reply

    def _granted(self, reply: Reply) -> Account | None:
        if self._account is None:
            return None
        answer = _object(reply)
        # RFC 6749 5.1: the scope may be left out when it is what was asked for.
        scope = answer.get("scope", self._account.asked)
        fit = isinstance(scope, str) and _SCOPES.fullmatch(scope)
        return replace(
            self._account,
            granted=scope[:_MOST_SCOPE_CHARACTERS] if fit else "",
            lifetime_seconds=_lifetime(answer),
        )


def _is_stranger(reply: Reply) -> bool:
    # Some servers answer a proof in the wrong place with a bare 401.
    return _error(reply) == "invalid_client" or (reply.status == 401 and not _error(reply))


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
    access = answer.get("access_token")
    if reply.status >= 300 or not isinstance(access, str) or not _TOKEN.fullmatch(access):
        raise LoginRefused(f"token endpoint: HTTP {reply.status} {_error(reply)}".rstrip())
    seconds = _lifetime(answer)
    # A token of a few seconds is used at least half its life, or it would be fetched each time.
    usable = max(seconds - EARLY_SECONDS, seconds / 2)
    return _Token(f"Bearer {access}", asked + timedelta(seconds=min(usable, 86_400.0)))


def _lifetime(answer: Mapping[str, Any]) -> float:
    try:
        seconds = float(answer.get("expires_in", USUAL_LIFETIME_SECONDS))
    except (TypeError, ValueError):
        return USUAL_LIFETIME_SECONDS
    return seconds if 0 <= seconds < float("inf") else USUAL_LIFETIME_SECONDS
