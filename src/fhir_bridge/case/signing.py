"""The stages of a signing key: published first, signing later, published a while longer, gone."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

JWKS_MAX_AGE_SECONDS = 300
"""How long a server may keep our key set (Cache-Control of /.well-known/jwks.json)."""

LONGEST_ASSERTION = timedelta(minutes=5)
"""SMART App Launch 2.2, client-confidential-asymmetric: `exp` is at most five minutes ahead."""

ANNOUNCED_FOR = timedelta(hours=24)
"""How long a new key is published before it signs: far beyond max-age, because vendors cache."""

KEPT_FOR = timedelta(hours=1)
"""How long an old key stays published after its last signature: above 5 minutes + max-age."""


class KeyStage(StrEnum):
    """Where a key stands; time alone moves it."""

    ANNOUNCED = "announced"
    SIGNING = "signing"
    RETIRED = "retired"
    GONE = "gone"


@dataclass(frozen=True, slots=True)
class SealedKey:
    """
    One private key as it is stored: `sealed` is its PEM, encrypted. Times are aware UTC.

    It is published from `announced_at` until `gone_at` and signs from `signs_from` until
    `retires_at`; None is without end.
    """

    kid: str
    alg: str
    sealed: bytes
    announced_at: datetime
    signs_from: datetime
    retires_at: datetime | None = None
    gone_at: datetime | None = None

    def stage(self, now: datetime) -> KeyStage:
        """Where it stands at a moment."""
        if self.gone_at is not None and now >= self.gone_at:
            return KeyStage.GONE
        if self.retires_at is not None and now >= self.retires_at:
            return KeyStage.RETIRED
        return KeyStage.SIGNING if now >= self.signs_from else KeyStage.ANNOUNCED
