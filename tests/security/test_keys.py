"""Our signing keys: made once, sealed, published without their private half."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from joserfc import jwt
from joserfc.jwk import KeySet

from fhir_bridge.errors import ConfigurationError
from fhir_bridge.security.keys import SigningKeys
from fhir_bridge.security.secrets import KEY_BYTES, Seal

NOW = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
SEAL = Seal(b"k" * KEY_BYTES)
PRIVATE = {"d", "p", "q", "dp", "dq", "qi"}


class Shelf:
    """Satisfies KeyShelf in memory."""

    def __init__(self) -> None:
        self.kept: list[tuple[str, str, bytes]] = []

    def all(self):
        return list(self.kept)

    def add_first(self, keys, *, at):
        self.kept = self.kept or list(keys)


@pytest.fixture(scope="module")
def shelf():
    return Shelf()


@pytest.fixture(scope="module")
def keys(shelf):
    return SigningKeys.of_store(shelf, SEAL, at=NOW)


def test_there_is_one_key_for_each_algorithm_that_servers_must_know(keys):
    assert keys.algorithms() == ("RS384", "ES384")


def test_the_same_keys_are_there_after_a_restart(keys, shelf):
    assert SigningKeys.of_store(shelf, SEAL, at=NOW).jwks() == keys.jwks()


def test_only_the_public_half_is_published(keys):
    published = keys.jwks()["keys"]
    assert {key["alg"] for key in published} == {"RS384", "ES384"}
    assert all(key["use"] == "sig" and key["kid"] for key in published)
    assert not any(PRIVATE & set(key) for key in published)


@pytest.mark.parametrize("alg", ["RS384", "ES384"])
def test_what_we_sign_verifies_with_what_we_publish(keys, alg):
    token = keys.sign({"typ": "JWT"}, {"iss": "bridge"}, alg)
    opened = jwt.decode(token, KeySet.import_key_set(keys.jwks()), [alg])
    assert (opened.claims, opened.header["alg"]) == ({"iss": "bridge"}, alg)
    assert opened.header["kid"] in {key["kid"] for key in keys.jwks()["keys"]}


def test_the_caller_cannot_choose_another_algorithm_by_a_header(keys):
    token = keys.sign({"alg": "none", "kid": "x"}, {}, "ES384")
    header = jwt.decode(token, KeySet.import_key_set(keys.jwks()), ["ES384"]).header
    assert header["alg"] == "ES384"


def test_keys_lie_sealed_and_open_with_no_other_seal(keys, shelf):
    assert not any(b"PRIVATE KEY" in sealed for _, _, sealed in shelf.kept)
    with pytest.raises(ConfigurationError):
        SigningKeys.of_store(shelf, Seal(b"j" * KEY_BYTES), at=NOW)


def test_two_keys_that_were_swapped_do_not_open(shelf, keys):
    swapped = Shelf()
    (kid, alg, _), (_, _, other) = shelf.kept
    swapped.kept = [(kid, alg, other)]
    with pytest.raises(ConfigurationError):
        SigningKeys.of_store(swapped, SEAL, at=NOW)
