"""UDAP, the hospital's side: signed metadata, registration by certificate, tokens; all checked."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qsl

from fastapi import APIRouter, Request
from starlette.responses import JSONResponse, Response

from fhir_bridge.errors import BridgeError
from fhir_bridge.security.certificates import Anchors, Certified
from fhir_bridge.simulators.login import ASSERTION_TYPE, OAuthRefusal
from fhir_bridge.simulators.wire import read_json

LIFETIME_SECONDS = 300
TREAT = "urn:oid:2.16.840.1.113883.5.8#TREAT"
_NO_STORE = {"Cache-Control": "no-store"}


@dataclass(slots=True)
class UdapDesk:
    """
    Who may register and log in at one hospital (UDAP Security IG). `clock` is epoch seconds.

    `changes` and `says` overrule claims and plain elements of the metadata, for a server that is
    not what it should be.
    """

    base: str
    root: str
    certified: Certified
    anchors: Anchors
    clock: Callable[[], float]
    changes: Mapping[str, Any] = field(default_factory=dict)
    says: Mapping[str, Any] = field(default_factory=dict)
    clients: dict[str, str] = field(default_factory=dict)
    tokens: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    seen: set[tuple[str, str]] = field(default_factory=set)

    def metadata(self) -> dict[str, Any]:
        """What `/.well-known/udap` answers."""
        endpoints = {
            "token_endpoint": f"{self.root}/udap/token",
            "registration_endpoint": f"{self.root}/udap/register",
        }
        now = int(self.clock())
        claims = {
            "iss": self.base, "sub": self.base, "iat": now, "exp": now + 3600,
            "jti": secrets.token_urlsafe(12), **endpoints, **self.changes,
        }  # fmt: skip
        return {
            "udap_versions_supported": ["1"],
            "udap_profiles_supported": ["udap_dcr", "udap_authn", "udap_authz"],
            "udap_authorization_extensions_supported": ["hl7-b2b"],
            "grant_types_supported": ["client_credentials"],
            "scopes_supported": ["system/*.rs"],
            "token_endpoint_auth_methods_supported": ["private_key_jwt"],
            "token_endpoint_auth_signing_alg_values_supported": ["RS256"],
            **endpoints,
            "signed_metadata": self.certified.sign(claims),
            **self.says,
        }

    def register(self, body: Mapping[str, Any]) -> tuple[int, dict[str, Any]]:
        """201 for a new client, 200 for one that is known by its certificate's URI."""
        if body.get("udap") != "1":
            raise OAuthRefusal("invalid_client_metadata", "udap is not 1")
        statement, uris = self._opened(str(body.get("software_statement", "")))
        issuer = statement.get("iss")
        if issuer != statement.get("sub") or issuer not in uris:
            raise OAuthRefusal("invalid_software_statement", "iss is not the certificate's URI")
        self._check(statement, f"{self.root}/udap/register")
        contacts = statement.get("contacts") or [""]
        good = statement.get("grant_types") == ["client_credentials"] and statement.get("scope")
        if not (good and statement.get("client_name") and contacts[0].startswith("mailto:")):
            raise OAuthRefusal("invalid_client_metadata", "a required claim is missing")
        known = issuer in self.clients
        self.clients.setdefault(issuer, f"client-{secrets.token_hex(4)}")
        return (200 if known else 201), {**statement, "client_id": self.clients[issuer]}

    def grant(self, form: Mapping[str, str]) -> dict[str, Any]:
        """The token answer, or OAuthRefusal."""
        if form.get("udap") != "1" or form.get("client_assertion_type") != ASSERTION_TYPE:
            raise OAuthRefusal("invalid_request", "this is no UDAP request")
        claims, uris = self._opened(form.get("client_assertion", ""))
        registered = {self.clients.get(uri) for uri in uris} - {None}
        if claims.get("iss") != claims.get("sub") or claims.get("sub") not in registered:
            raise OAuthRefusal("invalid_client", "not registered")
        self._check(claims, f"{self.root}/udap/token")
        business = claims.get("extensions", {}).get("hl7-b2b", {})
        organisation = business.get("version") == "1" and business.get("organization_id")
        if not organisation or business.get("purpose_of_use") != [TREAT]:
            raise OAuthRefusal("invalid_grant", "hl7-b2b is missing, or for another purpose")
        token = secrets.token_urlsafe(24)
        self.tokens[token] = business
        return {
            "access_token": token, "token_type": "Bearer", "expires_in": LIFETIME_SECONDS,
            "scope": form.get("scope", ""),
        }  # fmt: skip

    def _opened(self, token: str) -> tuple[Mapping[str, Any], tuple[str, ...]]:
        try:
            signed = self.anchors.opened(token, datetime.fromtimestamp(self.clock(), UTC))
        except BridgeError as error:
            raise OAuthRefusal("invalid_client", error.detail) from None
        return signed.claims, signed.uris

    def _check(self, claims: Mapping[str, Any], audience: str) -> None:
        now, issued, expires = self.clock(), claims.get("iat", 0), claims.get("exp", 0)
        if claims.get("aud") != audience:
            raise OAuthRefusal("invalid_client", "aud is not this endpoint")
        if not now < expires <= issued + LIFETIME_SECONDS:
            raise OAuthRefusal("invalid_client", "exp is past, or more than five minutes ahead")
        mark = (str(claims.get("iss")), str(claims.get("jti", "")))
        if not mark[1] or mark in self.seen:
            raise OAuthRefusal("invalid_client", "jti is missing or was used before")
        self.seen.add(mark)


def udap_router(desk: UdapDesk) -> APIRouter:
    """The metadata below the FHIR base, and the two endpoints below `/udap`."""
    router = APIRouter()

    @router.get("/fhir/.well-known/udap")
    def metadata() -> Response:
        return JSONResponse(desk.metadata())

    @router.post("/udap/register")
    async def register(request: Request) -> Response:
        body = read_json(await request.body())
        return _told(lambda: desk.register(body))

    @router.post("/udap/token")
    async def token(request: Request) -> Response:
        form = dict(parse_qsl((await request.body()).decode("utf-8", "replace")))
        return _told(lambda: (200, desk.grant(form)))

    return router


def _told(work: Callable[[], tuple[int, dict[str, Any]]]) -> Response:
    try:
        status, answer = work()
    except OAuthRefusal as refusal:
        body = {"error": refusal.error, "error_description": refusal.words}
        return JSONResponse(body, refusal.status, headers=_NO_STORE)
    return JSONResponse(answer, status, headers=_NO_STORE)
