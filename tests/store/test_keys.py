"""Logins and keys as they lie in the database: once, for a time, and never in clear."""

from __future__ import annotations

from datetime import timedelta

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


def test_the_first_set_of_keys_stays(store, at):
    store.keys.add_first([("k1", "RS384", b"a"), ("k2", "ES384", b"b")], at=at)
    store.keys.add_first([("k3", "RS384", b"c")], at=at + HOUR)
    assert [kid for kid, _, _ in store.keys.all()] == ["k1", "k2"]
