"""SMART Backend Services, the hospital's side: assertions are checked, tokens are handed out."""

from __future__ import annotations

import asyncio
import secrets
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from joserfc import jws, jwt
from joserfc.errors import JoseError
from joserfc.jwk import Key, KeySet

from fhir_bridge.simulators.rules import Rules
from fhir_bridge.simulators.wire import read_json

ALGORITHMS = ("RS384", "ES384")
LIFETIME_SECONDS = 300
ASSERTION_TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
_JWKS_CAP_BYTES = 65_536


class OAuthRefusal(Exception):
    """An error answer of the token endpoint (RFC 6749, 5.2)."""

    def __init__(self, error: str, words: str) -> None:
        super().__init__(words)
        self.error, self.words = error, words
        self.status = 401 if error == "invalid_client" else 400


@dataclass(frozen=True, slots=True)
class Client:
    """Who is registered here, and where its public keys are."""

    client_id: str
    jwks_url: str


@dataclass(slots=True)
class _Token:
    dies_at: float
    uses: int = 0


class Login:
    """Tokens live in memory: a restart of the hospital ends every session. `clock`: epoch s."""

    def __init__(
        self, client: Client | None, token_url: str, rules: Rules, clock: Callable[[], float]
    ) -> None:
        self.client, self.token_url = client, token_url
        self._rules, self._clock = rules, clock
        self._tokens: dict[str, _Token] = {}
        self._seen: dict[str, float] = {}

    def admits(self, authorization: str) -> bool:
        """Whether an Authorization header opens the door; counts one use of its token."""
        if self.client is None:
            return True
        scheme, _, secret = authorization.partition(" ")
        token = self._tokens.get(secret.strip()) if scheme.lower() == "bearer" else None
        if token is None or token.dies_at <= self._clock():
            return False
        token.uses += 1
        return self._rules.token_uses is None or token.uses <= self._rules.token_uses

    async def grant(self, form: Mapping[str, str]) -> dict[str, Any]:
        """
        The token answer to a client_credentials request, or OAuthRefusal.

        SMART App Launch 2.2, client-confidential-asymmetric: iss = sub = client_id, aud = the
        token URL, exp at most five minutes ahead, a jti never seen before.
        """
        if form.get("grant_type") != "client_credentials":
            raise OAuthRefusal("unsupported_grant_type", "only client_credentials")
        if not form.get("scope"):
            raise OAuthRefusal("invalid_scope", "scope is missing")
        if self.client is not None:
            await self._check_client(self.client, form)
        token = secrets.token_urlsafe(32)
        self._tokens[token] = _Token(self._clock() + LIFETIME_SECONDS)
        return {
            "access_token": token,
            "token_type": "bearer",
            "expires_in": LIFETIME_SECONDS,
            "scope": form["scope"],
        }

    async def _check_client(self, client: Client, form: Mapping[str, str]) -> None:
        if form.get("client_assertion_type") != ASSERTION_TYPE:
            raise OAuthRefusal("invalid_request", "client_assertion_type is not jwt-bearer")
        assertion = form.get("client_assertion", "")
        kid = _kid(assertion)
        keys = await asyncio.to_thread(_fetch_keys, client.jwks_url)
        matching = [key for key in keys if key.kid == kid]
        if len(matching) != 1:
            raise OAuthRefusal("invalid_client", "no single key of that kid in the JWKS")
        self._check_claims(client, _claims(assertion, matching[0]))

    def _check_claims(self, client: Client, claims: Mapping[str, Any]) -> None:
        now, expires, jti = self._clock(), claims.get("exp"), claims.get("jti")
        if not claims.get("iss") == claims.get("sub") == client.client_id:
            raise OAuthRefusal("invalid_client", "iss and sub are not the client id")
        if claims.get("aud") not in (self.token_url, [self.token_url]):
            raise OAuthRefusal("invalid_client", "aud is not this token endpoint")
        if not isinstance(expires, int | float) or not now < expires <= now + LIFETIME_SECONDS:
            raise OAuthRefusal("invalid_client", "exp is past or more than five minutes ahead")
        if not isinstance(jti, str) or not jti or jti in self._seen:
            raise OAuthRefusal("invalid_client", "jti is missing or was used before")
        self._seen[jti] = expires


def _kid(assertion: str) -> str:
    try:
        header = jws.extract_compact(assertion.encode()).headers()
    except (JoseError, ValueError) as broken:
        raise OAuthRefusal("invalid_client", "client_assertion is no signed JWT") from broken
    if header.get("alg") not in ALGORITHMS:
        raise OAuthRefusal("invalid_client", "the assertion has to be RS384 or ES384")
    kid = header.get("kid")
    if not isinstance(kid, str):
        raise OAuthRefusal("invalid_client", "the assertion has no kid")
    return kid


def _claims(assertion: str, key: Key) -> Mapping[str, Any]:
    try:
        return jwt.decode(assertion, key, algorithms=ALGORITHMS).claims
    except (JoseError, ValueError) as broken:
        raise OAuthRefusal("invalid_client", "the assertion's signature is not good") from broken


def _fetch_keys(url: str) -> list[Key]:
    """The registered JWKS, fetched anew each time: a rotated key counts at once."""
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with direct.open(url, timeout=5) as answer:
            body = answer.read(_JWKS_CAP_BYTES)
        return list(KeySet.import_key_set(read_json(body)))
    except (OSError, ValueError, KeyError, TypeError, JoseError) as broken:
        raise OAuthRefusal("invalid_client", "the registered JWKS cannot be read") from broken
