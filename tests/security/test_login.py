"""Console logins: a link opens once, a session ends, a token is never kept in clear."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import pytest

from fhir_bridge.security.login import LINK_LIFE, SESSION_LIFE, Door

NOW = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)


@dataclass(slots=True)
class Shelf:
    """Satisfies LoginShelf in memory."""

    links: dict[str, datetime] = field(default_factory=dict)
    sessions: dict[str, datetime] = field(default_factory=dict)

    def add(self, token_sha256, kind, *, at, until):
        (self.links if kind == "link" else self.sessions)[token_sha256] = until

    def spend(self, token_sha256, *, at):
        return at < self.links.pop(token_sha256, at)

    def valid(self, token_sha256, *, at):
        return at < self.sessions.get(token_sha256, at)

    def end(self, token_sha256):
        self.sessions.pop(token_sha256, None)


@dataclass(slots=True)
class Clock:
    now: datetime = NOW

    def __call__(self) -> datetime:
        return self.now


@pytest.fixture
def shelf():
    return Shelf()


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def door(shelf, clock):
    return Door(shelf, clock)


def test_a_link_opens_the_console_once(door):
    link = door.link()
    session = door.enter(link)
    assert session
    assert door.knows(session)
    assert door.enter(link) is None


def test_a_link_ends_by_itself(door, clock):
    link = door.link()
    clock.now += LINK_LIFE
    assert door.enter(link) is None


def test_a_session_ends_by_itself_and_when_it_is_left(door, clock):
    first, second = door.enter(door.link()), door.enter(door.link())
    door.leave(first)
    assert [door.knows(first), door.knows(second)] == [False, True]
    clock.now += SESSION_LIFE - timedelta(seconds=1)
    assert door.knows(second)
    clock.now += timedelta(seconds=1)
    assert not door.knows(second)


@pytest.mark.parametrize("token", ["", "guess", "' OR 1=1 --", "\udcff"])
def test_a_guess_opens_nothing(door, token):
    door.link()
    assert door.enter(token) is None
    assert not door.knows(token)


def test_a_configured_token_opens_as_often_as_it_is_given(shelf, clock):
    door = Door(shelf, clock, fixed_token="configured")
    assert door.enter("configured")
    assert door.enter("configured")
    assert door.enter("configure") is None


def test_without_a_configured_token_the_empty_one_opens_nothing(door):
    assert door.enter("") is None


def test_tokens_are_kept_by_their_hash_only(door, shelf):
    link = door.link()
    session = door.enter(door.link())
    kept = {*shelf.links, *shelf.sessions}
    assert not {link, session} & kept
    assert all(len(name) == 64 for name in kept)


def test_a_session_is_no_link_and_a_link_no_session(door):
    link = door.link()
    assert not door.knows(link)
    assert door.enter(door.enter(link)) is None
