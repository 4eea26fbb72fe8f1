"""Console logins: a one-time link by default, then a session cookie; tokens are only hashed."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Protocol

LINK_LIFE = timedelta(hours=1)
SESSION_LIFE = timedelta(hours=10)


class LoginShelf(Protocol):
    """Where logins are kept, by hash."""

    def add(self, token_sha256: str, kind: str, *, at: datetime, until: datetime) -> None:
        """Note a link or a session."""

    def spend(self, token_sha256: str, *, at: datetime) -> bool:
        """Use a link once."""

    def valid(self, token_sha256: str, *, at: datetime) -> bool:
        """Whether a session is good."""

    def end(self, token_sha256: str) -> None:
        """End a session."""


class Door:
    """Lets people in."""

    def __init__(
        self, shelf: LoginShelf, now: Callable[[], datetime], *, fixed_token: str = ""
    ) -> None:
        self._shelf, self._now, self._fixed = shelf, now, fixed_token

    def link(self) -> str:
        """A token that opens the console once."""
        token = secrets.token_urlsafe(24)
        now = self._now()
        self._shelf.add(_hash(token), "link", at=now, until=now + LINK_LIFE)
        return token

    def enter(self, token: str) -> str | None:
        """A session for a valid link or the configured login token; None otherwise."""
        now = self._now()
        fixed = bool(self._fixed) and hmac.compare_digest(_hash(token), _hash(self._fixed))
        if not fixed and not self._shelf.spend(_hash(token), at=now):
            return None
        session = secrets.token_urlsafe(32)
        self._shelf.add(_hash(session), "session", at=now, until=now + SESSION_LIFE)
        return session

    def knows(self, session: str) -> bool:
        """Whether this session cookie is good."""
        return bool(session) and self._shelf.valid(_hash(session), at=self._now())

    def leave(self, session: str) -> None:
        """End a session."""
        self._shelf.end(_hash(session))


def _hash(token: str) -> str:
    # A cookie may hold anything, also what has no UTF-8.
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()
