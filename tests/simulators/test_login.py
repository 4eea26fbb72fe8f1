"""The token endpoint and the locked doors behind it, over their port."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from fhir_bridge.simulators.hospital import Options

from .small_case import ASSERTION_TYPE, CLIENT, Keys, Visit, visiting

SCOPE = "system/*.rs system/DocumentReference.crs"


@pytest.fixture(scope="module")
def locked(case: Path, keys: Keys, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Visit]:
    """A hospital that knows our client."""
    state = tmp_path_factory.mktemp("state")
    with visiting(Options(case, state, client_id=CLIENT, jwks_url=keys.url)) as visit:
        yield visit


def token_url(visit: Visit) -> str:
    found = visit.get(".well-known/smart-configuration").json()["token_endpoint"]
    assert found == f"{visit.base}/auth/token"
    return str(found)


def ask(visit: Visit, assertion: str, **changes: str) -> httpx2.Response:
    form = {
        "grant_type": "client_credentials",
        "scope": SCOPE,
        "client_assertion_type": ASSERTION_TYPE,
        "client_assertion": assertion,
    } | changes
    return visit.http.post(token_url(visit), data=form)


@pytest.mark.parametrize("alg", ["RS384", "ES384"])
def test_a_good_assertion_opens_every_door(locked: Visit, keys: Keys, alg: str) -> None:
    answer = ask(locked, keys.assertion(token_url(locked), alg))
    granted = answer.json()
    assert (granted["token_type"], granted["expires_in"]) == ("bearer", 300)
    assert granted["scope"] == SCOPE
    assert answer.headers["cache-control"] == "no-store"
    bearer = {"authorization": f"Bearer {granted['access_token']}"}
    assert locked.get("Patient/p-1", headers=bearer).status_code == 200
    assert locked.get(f"{locked.urls['dicomweb']}/studies", headers=bearer).status_code == 200


def test_without_a_token_only_the_descriptions_are_open(locked: Visit) -> None:
    for path in ("Patient", "Patient/p-1", "Binary/b-pdf", f"{locked.urls['dicomweb']}/studies"):
        answer = locked.get(path)
        assert answer.status_code == 401
        assert answer.headers["www-authenticate"].startswith("Bearer")
    assert locked.get("Patient", headers={"authorization": "Bearer guess"}).status_code == 401
    assert locked.get("metadata").status_code == 200


def test_a_replayed_assertion_is_refused(locked: Visit, keys: Keys) -> None:
    assertion = keys.assertion(token_url(locked))
    assert ask(locked, assertion).status_code == 200
    refused = ask(locked, assertion)
    assert (refused.status_code, refused.json()["error"]) == (401, "invalid_client")


@pytest.mark.parametrize(
    "changes",
    [
        {"aud": "https://elsewhere.example/token"},
        {"iss": "somebody"},
        {"sub": "somebody"},
        {"exp": -10},
        {"exp": 900},
        {"exp": None},
        {"jti": ""},
    ],
    ids=["aud", "iss", "sub", "exp past", "exp far", "exp missing", "jti"],
)
def test_an_assertion_with_a_wrong_claim_is_refused(
    locked: Visit, keys: Keys, changes: dict[str, Any]
) -> None:
    wrong = {"aud": token_url(locked)} | changes
    if wrong.get("exp"):
        wrong["exp"] += int(time.time())  # seconds from now, not from when tests were collected
    refused = ask(locked, keys.assertion(**wrong))
    assert (refused.status_code, refused.json()["error"]) == (401, "invalid_client")


def test_a_signature_of_another_key_is_refused(locked: Visit, keys: Keys) -> None:
    good = keys.assertion(token_url(locked))
    other = keys.assertion(token_url(locked))
    forged = ".".join([*good.split(".")[:2], other.split(".")[2]])
    assert ask(locked, forged).json()["error"] == "invalid_client"
    assert ask(locked, "no.jwt").json()["error"] == "invalid_client"


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"grant_type": "password"}, "unsupported_grant_type"),
        ({"scope": ""}, "invalid_scope"),
        ({"client_assertion_type": "secret"}, "invalid_request"),
    ],
)
def test_a_wrong_request_gets_the_oauth_error_for_it(
    locked: Visit, keys: Keys, changes: dict[str, str], error: str
) -> None:
    refused = ask(locked, keys.assertion(token_url(locked)), **changes)
    assert (refused.status_code, refused.json()["error"]) == (400, error)


def test_keys_that_cannot_be_fetched_refuse_the_client(
    case: Path, keys: Keys, tmp_path: Path
) -> None:
    away = Options(case, tmp_path, client_id=CLIENT, jwks_url="http://127.0.0.1:1/", only="ehr")
    with visiting(away) as visit:
        assert ask(visit, keys.assertion(token_url(visit))).json()["error"] == "invalid_client"
