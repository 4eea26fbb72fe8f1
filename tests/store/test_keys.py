"""Logins and keys as they lie in the database: once, for a time, and never in clear."""

from __future__ import annotations

from datetime import timedelta

from fhir_bridge.case.signing import SealedKey

HOUR = timedelta(hours=1)


def test_a_link_opens_once(store, at):
    store.logins.add("h", "link", at=at, until=at + HOUR)
    assert store.logins.spend("h", at=at)
    assert not store.logins.spend("h", at=at)


def test_a_link_that_is_over_or_unknown_opens_nothing(store, at):
    store.logins.add("h", "link", at=at, until=at + HOUR)
    assert not store.logins.spend("h", at=at + HOUR)
    assert not store.logins.spend("other", at=at)


def test_a_session_is_good_until_its_end_and_is_no_link(store, at):
    store.logins.add("s", "session", at=at, until=at + HOUR)
    assert store.logins.valid("s", at=at + HOUR - timedelta(seconds=1))
    assert not store.logins.valid("s", at=at + HOUR)
    assert not store.logins.spend("s", at=at)


def test_a_link_is_no_session(store, at):
    store.logins.add("h", "link", at=at, until=at + HOUR)
    assert not store.logins.valid("h", at=at)


def test_a_session_that_was_ended_is_over(store, at):
    store.logins.add("s", "session", at=at, until=at + HOUR)
    store.logins.end("s")
    assert not store.logins.valid("s", at=at)


def key(kid, alg, at, **more):
    return SealedKey(kid, alg, kid.encode(), at, at, **more)


def test_the_first_set_of_keys_stays(store, at):
    store.keys.add_first([key("k1", "RS384", at), key("k2", "ES384", at)])
    store.keys.add_first([key("k3", "RS384", at + HOUR)])
    assert store.keys.all() == [key("k1", "RS384", at), key("k2", "ES384", at)]


def test_successors_end_the_keys_before_them_and_one_rotation_runs_at_a_time(store, at):
    store.keys.add_first([key("k1", "RS384", at)])
    times = {"at": at, "retires_at": at + HOUR, "gone_at": at + 2 * HOUR}
    successor = SealedKey("k2", "RS384", b"k2", at, at + HOUR)
    assert store.keys.succeed([successor], **times)
    assert not store.keys.succeed([key("k3", "RS384", at)], **times)
    first, second = store.keys.all()
    assert (first.retires_at, first.gone_at) == (at + HOUR, at + 2 * HOUR)
    assert second == successor
