"""Our own signing keys: made on first start, sealed at rest, published as a JWKS, rotated."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Protocol, Self

from joserfc import jwt
from joserfc.jwk import ECKey, KeySet, RSAKey

from fhir_bridge import clock
from fhir_bridge.case.signing import (
    ANNOUNCED_FOR,
    JWKS_MAX_AGE_SECONDS,
    KEPT_FOR,
    KeyStage,
    SealedKey,
)
from fhir_bridge.errors import ConfigurationError, UsageError
from fhir_bridge.security.secrets import Seal

PrivateKey = RSAKey | ECKey


class KeyShelf(Protocol):
    """Where sealed keys are kept, for every process of this bridge."""

    def all(self) -> Sequence[SealedKey]:
        """Every key, oldest first."""

    def add_first(self, keys: Sequence[SealedKey]) -> None:
        """Store a first set, unless there is one."""

    def succeed(
        self, keys: Sequence[SealedKey], *, at: datetime, retires_at: datetime, gone_at: datetime
    ) -> bool:
        """
        Store successors and end the keys that have no end yet, at once or not at all.

        False when a key still waits at `at` for its first signature.
        """


class SigningKeys:
    """
    RS384 and ES384 key pairs (SMART App Launch: a client supports both), by stage.

    The rows are read again for each use, because another process may have begun a rotation.
    """

    def __init__(self, shelf: KeyShelf, seal: Seal, now: Callable[[], datetime]) -> None:
        self._shelf, self._seal, self._now = shelf, seal, now
        self._opened: dict[str, PrivateKey] = {}

    @classmethod
    def of_store(
        cls,
        shelf: KeyShelf,
        seal: Seal,
        *,
        at: datetime,
        now: Callable[[], datetime] = clock.now,
    ) -> Self:
        """
        The keys of this store, made on first start.

        Raises ConfigurationError when a stored key does not open with this seal.
        """
        if not shelf.all():
            shelf.add_first(_made(seal, at, signs_from=at))
        keys = cls(shelf, seal, now)
        for row in shelf.all():
            keys._open(row)
        return keys

    def rows(self) -> Sequence[tuple[SealedKey, KeyStage]]:
        """Every key with its stage, oldest first; those that are gone too."""
        return [(row, row.stage(self._now())) for row in self._shelf.all()]

    def algorithms(self) -> tuple[str, ...]:
        """The algorithms that these keys can sign with, RS384 first."""
        found = {row.alg for row, stage in self.rows() if stage is KeyStage.SIGNING}
        return tuple(sorted(found, reverse=True))

    def kid(self, alg: str) -> str:
        """The key that signs with an algorithm now."""
        return self._signing(alg).kid

    def sign(self, header: Mapping[str, Any], claims: Mapping[str, Any], alg: str) -> str:
        """A compact JWS with our kid in the header."""
        row = self._signing(alg)
        named = {**header, "alg": alg, "kid": row.kid}
        return jwt.encode(named, dict(claims), self._open(row), [alg])

    def jwks(self) -> dict[str, Any]:
        """The public keys as a JWK Set (RFC 7517): announced, signing and lately retired ones."""
        shown = [row for row, stage in self.rows() if stage is not KeyStage.GONE]
        published = KeySet([self._open(row) for row in shown]).as_dict(private=False)
        algorithms = {row.kid: row.alg for row in shown}
        return {
            "keys": [
                {**key, "use": "sig", "alg": algorithms[str(key["kid"])]}
                for key in published["keys"]
            ]
        }

    def rotate(
        self, *, announce: timedelta = ANNOUNCED_FOR, keep: timedelta = KEPT_FOR
    ) -> datetime:
        """
        Publish new keys now, sign with them after `announce`, drop the old ones `keep` later.

        Returns when the new keys begin to sign. Raises UsageError while a rotation is under way,
        and for times within which a server may still know the old key set only.
        """
        if min(announce, keep) <= timedelta(seconds=JWKS_MAX_AGE_SECONDS) + timedelta(minutes=5):
            raise UsageError("a key is announced and kept for more than 10 minutes")
        now = self._now()
        return self._succeed(now, now + announce, keep)

    def replace_at_once(self) -> datetime:
        """After a leak: new keys sign and the old ones are unpublished from this moment."""
        now = self._now()
        return self._succeed(now, now, timedelta(0))

    def _succeed(self, now: datetime, from_: datetime, keep: timedelta) -> datetime:
        made = _made(self._seal, now, signs_from=from_)
        if not self._shelf.succeed(made, at=now, retires_at=from_, gone_at=from_ + keep):
            raise UsageError("a rotation is under way: see `fhir-bridge keys list`")
        return from_

    def _signing(self, alg: str) -> SealedKey:
        found = [r for r, stage in self.rows() if r.alg == alg and stage is KeyStage.SIGNING]
        if not found:
            raise ConfigurationError(f"no key signs with {alg}")
        return max(found, key=lambda row: row.signs_from)

    def _open(self, row: SealedKey) -> PrivateKey:
        if row.kid not in self._opened:
            self._opened[row.kid] = _opened(self._seal, row)
        return self._opened[row.kid]


def _made(seal: Seal, at: datetime, *, signs_from: datetime) -> list[SealedKey]:
    made = (("RS384", RSAKey.generate_key(2048)), ("ES384", ECKey.generate_key("P-384")))
    return [
        SealedKey(kid := key.thumbprint(), alg, _sealed(seal, kid, key), at, signs_from)
        for alg, key in made
    ]


def _sealed(seal: Seal, kid: str, key: PrivateKey) -> bytes:
    return seal.seal(key.as_pem(private=True), f"signing-key/{kid}")


def _opened(seal: Seal, row: SealedKey) -> PrivateKey:
    pem = seal.open(row.sealed, f"signing-key/{row.kid}")
    kind = RSAKey if row.alg.startswith("RS") else ECKey
    return kind.import_key(pem, {"kid": row.kid, "use": "sig"})
