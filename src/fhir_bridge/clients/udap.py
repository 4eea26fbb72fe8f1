"""UDAP B2B: signed metadata believed first, then registration by certificate, then tokens."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol
from urllib.parse import urlencode, urlsplit

from fhir_bridge.case.original import Answer
from fhir_bridge.clients.ask import Ask
from fhir_bridge.clients.http import Reply, Wire
from fhir_bridge.clients.proofs import ASSERTION_SECONDS, Server, Shown, assertion_form
from fhir_bridge.clients.scopes import scopes
from fhir_bridge.clients.smart import WRITES, Smart
from fhir_bridge.errors import BridgeError, LoginRefused, NotFhir, ProviderBusy, ProviderFailed
from fhir_bridge.standards.fhir import json

TREAT = "urn:oid:2.16.840.1.113883.5.8#TREAT"
CLOCKS_DIFFER_SECONDS = 60
YEAR_SECONDS = 366 * 24 * 3600
REGISTERED, REGISTER_ANEW = "udap", "udap, registered anew"
_ENDPOINTS = ("token_endpoint", "registration_endpoint", "authorization_endpoint")


class Certificate(Protocol):
    """Our key in the trust community."""

    @property
    def uri(self) -> str:
        """Who we are there: a URI of the certificate."""

    def sign(self, claims: Mapping[str, Any]) -> str:
        """A compact JWS, RS256, with the chain in `x5c`."""


class Believed(Protocol):
    """A JWT whose signature and certificate chain hold."""

    @property
    def claims(self) -> Mapping[str, Any]:
        """What it says."""

    @property
    def uris(self) -> tuple[str, ...]:
        """The URIs of the certificate that signed it."""


class Trust(Protocol):
    """The anchors of the trust community."""

    def opened(self, token: str, at: datetime) -> Believed:
        """Raises LoginRefused unless signature and chain hold."""


@dataclass(frozen=True, slots=True)
class Business:
    """
    The `hl7-b2b` authorization extension object (UDAP Security IG, b2b): on whose behalf.

    A token is good for what was asserted, and is never used for anything else: one `Tokens` serves
    one subject and purpose.
    """

    organization_id: str
    organization_name: str = ""
    purpose_of_use: tuple[str, ...] = (TREAT,)

    def extension(self) -> Mapping[str, Any]:
        """As a claim."""
        named = {"organization_name": self.organization_name} if self.organization_name else {}
        return {
            "version": "1",
            "organization_id": self.organization_id,
            "purpose_of_use": list(self.purpose_of_use),
            **named,
        }


@dataclass(frozen=True, slots=True)
class Metadata:
    """The endpoints of a server, out of its signed metadata."""

    token_endpoint: str
    registration_endpoint: str
    scopes: tuple[str, ...] = ()


def discover(wire: Wire, base: str, trust: Trust, *, community: str = "") -> Metadata:
    """
    `GET [base]/.well-known/udap` (UDAP Security IG, discovery), believed only as far as it is
    signed: RS256, a chain to the anchors, `iss` = `sub` = the FHIR base = a URI of the
    certificate, at most one year of life, not over, and the same endpoints as the plain document.

    Raises LoginRefused, whose detail names what does not hold.
    """
    query = f"?{urlencode({'community': community})}" if community else ""
    url = f"{base}/.well-known/udap{query}"
    answer = wire.ask(Ask(url, accept="application/json", judge=_expect_json))
    plain = json.load_object(answer.body or b"")
    signed = plain.get("signed_metadata")
    if not isinstance(signed, str):
        raise LoginRefused("UDAP: the metadata is not signed")
    believed = trust.opened(signed, wire.now())
    _check_issuer(believed, base)
    _check_times(believed.claims, wire.now())
    _check_endpoints(believed.claims, plain, base)
    listed = plain.get("scopes_supported")
    offered = [s for s in listed if isinstance(s, str)] if isinstance(listed, list) else []
    claims = believed.claims
    return Metadata(claims["token_endpoint"], claims["registration_endpoint"], tuple(offered))


def _expect_json(answer: Answer) -> None:
    try:
        json.load_object(answer.body or b"")
    except BridgeError:
        raise NotFhir("the UDAP metadata is no JSON object") from None


def _check_issuer(believed: Believed, base: str) -> None:
    issuer = believed.claims.get("iss")
    if not isinstance(issuer, str) or issuer != believed.claims.get("sub"):
        raise LoginRefused("UDAP: iss and sub of the metadata differ")
    if issuer not in believed.uris:
        raise LoginRefused("UDAP: the certificate is not the issuer's (subjectAltName)")
    if issuer.rstrip("/") != base.rstrip("/"):
        raise LoginRefused("UDAP: the metadata is another server's")


def _check_times(claims: Mapping[str, Any], now: datetime) -> None:
    issued, expires, moment = _epoch(claims, "iat"), _epoch(claims, "exp"), now.timestamp()
    if not issued - CLOCKS_DIFFER_SECONDS <= moment < expires:
        raise LoginRefused("UDAP: the metadata is expired, or of the future")
    if expires - issued > YEAR_SECONDS:
        raise LoginRefused("UDAP: the metadata is signed for more than a year")


def _epoch(claims: Mapping[str, Any], name: str) -> float:
    value = claims.get(name)
    if not isinstance(value, int | float) or isinstance(value, bool):
        raise LoginRefused("UDAP: the metadata has no times")
    return float(value)


def _check_endpoints(claims: Mapping[str, Any], plain: Mapping[str, Any], base: str) -> None:
    for name in _ENDPOINTS:
        signed, said = claims.get(name), plain.get(name)
        if signed is None and (said is None or name == "authorization_endpoint"):
            continue
        if not isinstance(signed, str) or signed != said:
            raise LoginRefused(f"UDAP: {name} is not the signed one")
    for name in _ENDPOINTS[:2]:
        endpoint = claims.get(name)
        if not isinstance(endpoint, str) or urlsplit(endpoint).scheme != urlsplit(base).scheme:
            raise LoginRefused(f"UDAP: {name} is missing, or of another scheme")


@dataclass(slots=True)
class Udap:
    """
    The login of one provider by UDAP: a `Proof`, and (`find`) the way to its token endpoint.

    The client id that the server assigns is remembered; when the server has forgotten it, we
    register once more (UDAP Security IG, registration).
    """

    wire: Wire
    base: str
    certificate: Certificate
    trust: Trust
    business: Business
    contact: str
    client_name: str = "fhir-bridge"
    community: str = ""
    signs: bool = True
    _metadata: Metadata | None = None

    def find(self) -> Smart:
        """Discovery; raises LoginRefused unless the signed metadata hold."""
        found = discover(self.wire, self.base, self.trust, community=self.community)
        self._metadata = found
        spelling = ["permission-v2"] if _speaks_v2(found) else []
        return Smart(found.token_endpoint, frozenset(spelling))

    def ways(self, server: Server) -> tuple[str, ...]:  # noqa: ARG002 (others choose by it)
        """As the client that we are, then as one that registers anew."""
        return (REGISTERED, REGISTER_ANEW)

    def show(self, way: str, server: Server, *, issued: int, jti: str) -> Shown:
        """The assertion with the `hl7-b2b` extension (UDAP Security IG, b2b 5.2)."""
        client_id = self._client_id(anew=way == REGISTER_ANEW, issued=issued)
        claims = {
            "iss": client_id,
            "sub": client_id,
            "aud": server.token_endpoint,
            "iat": issued,
            "exp": issued + ASSERTION_SECONDS,
            "jti": jti,
            "extensions": {"hl7-b2b": self.business.extension()},
        }
        form = {**assertion_form(self.certificate.sign(claims)), "udap": "1"}
        return Shown(form, account=f"RS256, x5c of {self.certificate.uri}")

    def _client_id(self, *, anew: bool, issued: int) -> str:
        metadata = self._metadata
        if metadata is None:
            raise LoginRefused("UDAP: the endpoint was not discovered")
        known = self.wire.manners.fact("udap_registration")
        # A registration belongs to the certificate's URI and the server that gave it.
        mark = [self.certificate.uri, metadata.registration_endpoint]
        if isinstance(known, list) and known[:2] == mark and not anew:
            return str(known[2])
        client_id = self._registered(metadata, issued)
        self.wire.manners.learn(udap_registration=[*mark, client_id])
        return client_id

    def _registered(self, metadata: Metadata, issued: int) -> str:
        body = {"software_statement": self._statement(metadata, issued), "udap": "1"}
        reply = self.wire.confide(metadata.registration_endpoint, json.dumps(body))
        client_id = _answer(reply).get("client_id")
        if reply.status not in (200, 201) or not isinstance(client_id, str) or not client_id:
            raise _refusal(reply)
        return client_id

    def _statement(self, metadata: Metadata, issued: int) -> str:
        return self.certificate.sign(
            {
                "iss": self.certificate.uri,
                "sub": self.certificate.uri,
                "aud": metadata.registration_endpoint,
                "iat": issued,
                "exp": issued + ASSERTION_SECONDS,
                "jti": self.wire.new_id(),
                "client_name": self.client_name,
                "contacts": [self.contact],
                "grant_types": ["client_credentials"],
                "token_endpoint_auth_method": "private_key_jwt",
                "scope": scopes(v2=_speaks_v2(metadata), writes=WRITES),
            }
        )


def _speaks_v2(metadata: Metadata) -> bool:
    return any(scope.endswith((".rs", ".cruds", ".cud", ".r")) for scope in metadata.scopes)


def _answer(reply: Reply) -> Mapping[str, Any]:
    try:
        return json.load_object(reply.body)
    except BridgeError:
        return {}


def _refusal(reply: Reply) -> BridgeError:
    error = _answer(reply).get("error")
    code = error if isinstance(error, str) and error.replace("_", "").isalpha() else ""
    detail = f"UDAP registration: HTTP {reply.status} {code[:40]}".rstrip()
    if reply.status in {429, 503}:
        return ProviderBusy(detail)
    return ProviderFailed(detail) if reply.status >= 500 else LoginRefused(detail)
