"""Our signing keys: made once, sealed, published without their private half."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from joserfc import jwt
from joserfc.jwk import KeySet

from fhir_bridge.case.signing import (
    JWKS_MAX_AGE_SECONDS,
    KEPT_FOR,
    LONGEST_ASSERTION,
    KeyStage,
    SealedKey,
)
from fhir_bridge.errors import ConfigurationError, UsageError
from fhir_bridge.security.keys import SigningKeys
from fhir_bridge.security.secrets import KEY_BYTES, Seal

NOW = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
SEAL = Seal(b"k" * KEY_BYTES)
PRIVATE = {"d", "p", "q", "dp", "dq", "qi"}


class Shelf:
    """Satisfies KeyShelf in memory."""

    def __init__(self) -> None:
        self.kept: list[SealedKey] = []

    def all(self):
        return list(self.kept)

    def add_first(self, keys):
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
    assert not any(b"PRIVATE KEY" in sealed for sealed in (key.sealed for key in shelf.kept))
    with pytest.raises(ConfigurationError):
        SigningKeys.of_store(shelf, Seal(b"j" * KEY_BYTES), at=NOW)


def test_two_keys_that_were_swapped_do_not_open(shelf, keys):
    swapped = Shelf()
    first, second = shelf.kept
    swapped.kept = [replace(first, sealed=second.sealed)]
    with pytest.raises(ConfigurationError):
        SigningKeys.of_store(swapped, SEAL, at=NOW)


HOUR = timedelta(hours=1)
MAX_AGE = timedelta(seconds=JWKS_MAX_AGE_SECONDS)


@pytest.fixture
def rotating(store):
    """Keys of a real store, and a clock that the test moves."""
    moment = [NOW]
    keys = SigningKeys.of_store(store.keys, SEAL, at=NOW, now=lambda: moment[0])
    return keys, moment


def _kid_of_signature(keys):
    token = keys.sign({"typ": "JWT"}, {"iss": "bridge"}, "RS384")
    return jwt.decode(token, KeySet.import_key_set(keys.jwks()), ["RS384"]).header["kid"]


def _published(keys):
    return {key["kid"] for key in keys.jwks()["keys"]}


def test_a_rotation_moves_by_time_alone_and_every_signature_verifies_all_along(rotating):
    """Whoever fetched the key set at most max-age ago can check what was signed 5 minutes ago."""
    keys, moment = rotating
    old = _kid_of_signature(keys)
    signs_from = keys.rotate(announce=24 * HOUR)
    assert signs_from == NOW + 24 * HOUR
    cached, last = set(), None
    for minute in range(0, 27 * 60, 5):
        moment[0] = NOW + timedelta(minutes=minute)
        kid = _kid_of_signature(keys)
        assert last is None or {kid, last} <= _published(keys) | cached
        assert last is None or last in cached
        cached, last = _published(keys), kid
    assert last != old
    assert old not in cached
    assert len(cached) == 2


def test_the_old_key_outlives_its_last_assertion_and_every_cached_key_set(rotating):
    keys, moment = rotating
    old = _kid_of_signature(keys)
    moment[0] = keys.rotate() + LONGEST_ASSERTION + MAX_AGE
    assert old in _published(keys)
    assert {stage for key, stage in keys.rows() if key.kid == old} == {KeyStage.RETIRED}
    moment[0] += KEPT_FOR
    assert old not in _published(keys)
    assert KEPT_FOR > LONGEST_ASSERTION + MAX_AGE


def test_another_process_sees_the_rotation_without_a_restart(rotating, store):
    keys, moment = rotating
    other = SigningKeys.of_store(store.keys, SEAL, at=NOW, now=lambda: moment[0])
    moment[0] = keys.rotate()
    assert _kid_of_signature(other) == _kid_of_signature(keys)
    assert other.jwks() == keys.jwks()


def test_times_within_which_a_server_may_know_the_old_set_only_are_refused(rotating):
    keys, _ = rotating
    for times in ({"announce": MAX_AGE}, {"keep": LONGEST_ASSERTION}):
        with pytest.raises(UsageError):
            keys.rotate(**times)


def test_rotations_can_follow_each_other(rotating):
    keys, moment = rotating
    for _ in range(3):
        moment[0] = keys.rotate() + 2 * HOUR
    assert len(_published(keys)) == 2
    assert len(keys.rows()) == 8
