"""Our client's login at token servers that we did not write: what they take and refuse."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import pytest

from fhir_bridge import clock
from fhir_bridge.clients.http import Wire
from fhir_bridge.clients.smart import ASSERTION_TYPE, Tokens

from . import job, oidc_provider, sekmet
from .fhir_server import request

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from fhir_bridge.bridge import Bridge
    from fhir_bridge.security.keys import SigningKeys

    from .fhir_server import Answer

CLIENT = "fhir-bridge"
SCOPES = "system/*.rs system/DocumentReference.c system/Binary.c"


@dataclass(slots=True)
class Remembering:
    """Our signing keys, and every assertion that they signed."""

    keys: SigningKeys
    signed: list[str] = field(default_factory=list)

    def algorithms(self) -> tuple[str, ...]:
        return self.keys.algorithms()

    def sign(self, header: Mapping[str, Any], claims: Mapping[str, Any], alg: str) -> str:
        self.signed.append(self.keys.sign(header, claims, alg))
        return self.signed[-1]


@pytest.fixture(scope="module")
def bridge(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bridge]:
    """Its web server publishes the keys that it signs with."""
    with job.running_bridge(tmp_path_factory.mktemp("bridge")) as bridge:
        yield bridge


@pytest.fixture
def signer(bridge: Bridge) -> Remembering:
    return Remembering(bridge.keys)


def _jwks(bridge: Bridge) -> str:
    return f"{bridge.public_url}/.well-known/jwks.json"


def _login(bridge: Bridge, signer: Remembering, base: str) -> str:
    """The Authorization header that our client gets at an endpoint."""
    wire = Wire.open("peer", base, keep=bridge.store.originals, now=clock.now, new_id=clock.new_id)
    try:
        return Tokens(wire, base, CLIENT, signer=signer).header()
    finally:
        wire.close()


def _hand_in(token_url: str, assertion: str) -> Answer:
    form = {
        "grant_type": "client_credentials",
        "scope": SCOPES,
        "client_assertion_type": ASSERTION_TYPE,
        "client_assertion": assertion,
    }
    kind = {"Content-Type": "application/x-www-form-urlencoded"}
    return request("POST", token_url, urlencode(form).encode(), kind)


def _signed(bridge: Bridge, alg: str, token_url: str, **changed: object) -> str:
    now = int(clock.now().timestamp())
    claims = {"iss": CLIENT, "sub": CLIENT, "aud": token_url, "iat": now, "exp": now + 240}
    return bridge.keys.sign({"typ": "JWT"}, {**claims, "jti": clock.new_id(), **changed}, alg)


@pytest.mark.parametrize("alg", ["RS384", "ES384"])
def test_oidc_provider_gives_us_a_token_once_an_assertion(
    alg: str, bridge: Bridge, signer: Remembering, tmp_path: Path
) -> None:
    client = oidc_provider.RegisteredClient(CLIENT, alg, _jwks(bridge))
    with oidc_provider.serving(tmp_path, [client]) as server:
        token = _login(bridge, signer, server.issuer).removeprefix("Bearer ")
        known = request(
            "POST",
            f"{server.issuer}/introspect",
            urlencode({"token": token}).encode(),
            {"Content-Type": "application/x-www-form-urlencoded"},
        ).json()
        assert (known["active"], known["client_id"], known["scope"]) == (True, CLIENT, SCOPES)
        (assertion,) = signer.signed
        assert _hand_in(server.token_url, assertion).status == 401
        assert server.refusals() == ["client assertion tokens must only be used once"]


WRONG_AUDIENCE = (
    "audience (aud) must equal the endpoint url, issuer identifier or token endpoint url"
)


@pytest.mark.parametrize(
    ("wrong", "why"),
    [({"aud": "http://127.0.0.1:1/token"}, WRONG_AUDIENCE), ({"exp": 1}, "jwt expired")],
    ids=["audience", "expiry"],
)
def test_oidc_provider_refuses_a_wrong_assertion_of_ours(
    wrong: dict[str, Any], why: str, bridge: Bridge, tmp_path: Path
) -> None:
    client = oidc_provider.RegisteredClient(CLIENT, "ES384", _jwks(bridge))
    with oidc_provider.serving(tmp_path, [client]) as server:
        right = _signed(bridge, "ES384", server.token_url)
        assert _hand_in(server.token_url, right).status == 200
        refused = _hand_in(server.token_url, _signed(bridge, "ES384", server.token_url, **wrong))
        assert (refused.status, refused.json()["error"]) == (401, "invalid_client")
        assert server.refusals() == [why]


def test_sekmet_gives_us_a_token_that_opens_its_chart(
    bridge: Bridge, signer: Remembering, tmp_path: Path
) -> None:
    with sekmet.serving(tmp_path, [sekmet.SmartClient(CLIENT, _jwks(bridge))]) as server:
        header = _login(bridge, signer, server.base)
        assert server.ask("GET", "/Patient", headers={"Authorization": ""}).status == 401
        assert server.ask("GET", "/Patient", headers={"Authorization": header}).status == 200
        discovered = request("GET", f"{server.base}/.well-known/smart-configuration").json()
        (assertion,) = signer.signed
        assert _hand_in(discovered["token_endpoint"], assertion).status == 401
