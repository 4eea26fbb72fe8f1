"""Our own signing keys: made on first start, sealed at rest, published as a JWKS."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Protocol, Self

from joserfc import jwt
from joserfc.jwk import ECKey, KeySet, RSAKey

from fhir_bridge.security.secrets import Seal


class KeyShelf(Protocol):
    """Where sealed keys are kept."""

    def all(self) -> Sequence[tuple[str, str, bytes]]:
        """(kid, alg, sealed private PEM), oldest first."""

    def add_first(self, keys: Sequence[tuple[str, str, bytes]], *, at: datetime) -> None:
        """Store a first set, unless there is one."""


class SigningKeys:
    """One RS384 and one ES384 key pair (SMART App Launch: a client supports both)."""

    def __init__(self, keys: Mapping[str, RSAKey | ECKey]) -> None:
        self._keys = keys

    @classmethod
    def of_store(cls, shelf: KeyShelf, seal: Seal, *, at: datetime) -> Self:
        """The keys of this store, made on first start."""
        if not shelf.all():
            made = (("RS384", RSAKey.generate_key(2048)), ("ES384", ECKey.generate_key("P-384")))
            shelf.add_first([_sealed(seal, alg, key) for alg, key in made], at=at)
        return cls({alg: _opened(seal, kid, alg, pem) for kid, alg, pem in shelf.all()})

    def algorithms(self) -> tuple[str, ...]:
        """The algorithms that these keys can sign with."""
        return tuple(self._keys)

    def sign(self, header: Mapping[str, Any], claims: Mapping[str, Any], alg: str) -> str:
        """A compact JWS with our kid in the header."""
        key = self._keys[alg]
        return jwt.encode({**header, "alg": alg, "kid": key.kid}, dict(claims), key, [alg])

    def jwks(self) -> dict[str, Any]:
        """The public keys as a JWK Set (RFC 7517)."""
        published = KeySet(list(self._keys.values())).as_dict(private=False)
        algorithms = {str(key.kid): alg for alg, key in self._keys.items()}
        return {
            "keys": [
                {**key, "use": "sig", "alg": algorithms[str(key["kid"])]}
                for key in published["keys"]
            ]
        }


def _sealed(seal: Seal, alg: str, key: RSAKey | ECKey) -> tuple[str, str, bytes]:
    kid = key.thumbprint()
    return kid, alg, seal.seal(key.as_pem(private=True), f"signing-key/{kid}")


def _opened(seal: Seal, kid: str, alg: str, sealed: bytes) -> RSAKey | ECKey:
    pem = seal.open(sealed, f"signing-key/{kid}")
    kind = RSAKey if alg.startswith("RS") else ECKey
    return kind.import_key(pem, {"kid": kid, "use": "sig"})
