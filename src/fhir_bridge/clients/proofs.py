"""How we prove who we are at a token endpoint: a signed assertion or a shared secret."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol
from urllib.parse import quote

from fhir_bridge.clients.ask import basic
from fhir_bridge.errors import LoginRefused
from fhir_bridge.standards.fhir import json

ASSERTION_TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
ASSERTION_SECONDS = 240
SECRET_BASIC, SECRET_POST = "client_secret_basic", "client_secret_post"


class Signer(Protocol):
    """Our private keys. SMART asks a client to support both RS384 and ES384."""

    def algorithms(self) -> tuple[str, ...]:
        """What the keys can sign with."""

    def sign(self, header: Mapping[str, Any], claims: Mapping[str, Any], alg: str) -> str:
        """A compact JWS; the key's `kid` and `alg` are added to the header."""


@dataclass(frozen=True, slots=True)
class Server:
    """What a token endpoint says of itself; `methods` and `algorithms` may be empty."""

    token_endpoint: str
    methods: tuple[str, ...] = ()
    algorithms: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Shown:
    """
    One proof: fields of the form, and the Authorization header (empty for none).

    `account` is the algorithm and key id, for whoever compares the two sides; never a secret.
    """

    form: Mapping[str, str]
    login: str = ""
    account: str = ""


class Proof(Protocol):
    """One way to prove who we are."""

    @property
    def signs(self) -> bool:
        """Whether it carries times, which another clock may not accept."""

    def ways(self, server: Server) -> tuple[str, ...]:
        """How it can be sent, best first, in the words of `token_endpoint_auth_method`."""

    def show(self, way: str, server: Server, *, issued: int, jti: str) -> Shown:
        """The proof itself; `issued` in epoch seconds by the server's clock, `jti` never used."""


@dataclass(frozen=True, slots=True)
class SignedAssertion:
    """SMART App Launch 2.2, client-confidential-asymmetric (`private_key_jwt`)."""

    client_id: str
    signer: Signer
    signs: bool = True

    def ways(self, server: Server) -> tuple[str, ...]:  # noqa: ARG002 (others choose by it)
        """One way only."""
        return ("private_key_jwt",)

    def show(self, way: str, server: Server, *, issued: int, jti: str) -> Shown:  # noqa: ARG002 (others choose by it)
        """A new one each time: servers refuse a `jti` that they have seen, even unanswered."""
        claims = {
            "iss": self.client_id,
            "sub": self.client_id,
            "aud": server.token_endpoint,
            "iat": issued,
            "exp": issued + ASSERTION_SECONDS,
            "jti": jti,
        }
        signed = self.signer.sign({"typ": "JWT"}, claims, self._algorithm(server))
        return Shown(assertion_form(signed), account=_account(signed))

    def _algorithm(self, server: Server) -> str:
        ours = [alg for alg in ("RS384", "ES384") if alg in self.signer.algorithms()]
        if not ours:
            raise LoginRefused("no key for RS384 or ES384")
        return next((alg for alg in ours if alg in server.algorithms), ours[0])


def _account(signed: str) -> str:
    """`RS384, kid ...` out of a JWS that we made."""
    header = signed.partition(".")[0]
    facts = json.load_object(base64.urlsafe_b64decode(header + "=" * (-len(header) % 4)))
    return f"{facts['alg']}, kid {facts['kid']}"


def assertion_form(signed: str) -> Mapping[str, str]:
    """The fields of an assertion (RFC 7523 2.2)."""
    return {"client_assertion_type": ASSERTION_TYPE, "client_assertion": signed}


@dataclass(frozen=True, slots=True)
class SharedSecret:
    """
    A client secret (RFC 6749 2.3.1), in the Authorization header or, where the server says so or
    refuses the header, in the form. Neither is remembered as refused: the server may change.
    """

    client_id: str
    secret: str
    signs: bool = False

    def ways(self, server: Server) -> tuple[str, ...]:
        """What the server lists first, then the other one."""
        said = [way for way in server.methods if way in (SECRET_BASIC, SECRET_POST)]
        first = SECRET_BASIC if SECRET_BASIC in said or not said else SECRET_POST
        return (first, SECRET_POST if first == SECRET_BASIC else SECRET_BASIC)

    def show(self, way: str, server: Server, *, issued: int, jti: str) -> Shown:  # noqa: ARG002 (others choose by it)
        """The secret, form-encoded in the header as RFC 6749 wants it, or as a field."""
        if way == SECRET_POST:
            return Shown({"client_id": self.client_id, "client_secret": self.secret})
        return Shown({}, basic(quote(self.client_id, safe=""), quote(self.secret, safe="")))
