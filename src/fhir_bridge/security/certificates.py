"""X.509 as trust communities use it (UDAP): our certified key, and whom their anchors vouch for."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Self

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_pem_private_key,
)
from cryptography.x509.verification import (
    ExtensionPolicy,
    PolicyBuilder,
    Store,
    VerificationError,
)
from joserfc import jws, jwt
from joserfc.errors import JoseError
from joserfc.jwk import RSAKey

from fhir_bridge.errors import ConfigurationError, LoginRefused

RS256 = "RS256"
MOST_CERTIFICATES = 8
_MOST_TOKEN_CHARACTERS = 64 * 1024


class _WithChain(jws.JWSRegistry):
    """The library's rules, with room for certificates in the header."""

    max_header_length = _MOST_TOKEN_CHARACTERS


_RULES = _WithChain(algorithms=[RS256])


@dataclass(frozen=True, slots=True)
class Certified:
    """A private RSA key with its certificate chain, leaf first (UDAP Security IG 1.2: RS256)."""

    chain: tuple[x509.Certificate, ...]
    key: RSAKey

    @classmethod
    def of_pem(cls, chain: str, key: bytes) -> Self:
        """
        From PEM texts; the key is not encrypted.

        Raises ConfigurationError unless both can be read, belong together, and the leaf has a URI
        among its names.
        """
        try:
            certificates = tuple(x509.load_pem_x509_certificates(chain.encode()))
            private = load_pem_private_key(key, None)
        except (ValueError, TypeError):
            raise ConfigurationError("the certificate or its key is no PEM") from None
        if not isinstance(private, RSAPrivateKey):
            raise ConfigurationError("the key of a UDAP certificate has to be RSA")
        if private.public_key() != certificates[0].public_key():
            raise ConfigurationError("the key is not the certificate's")
        if not uris_of(certificates[0]):
            raise ConfigurationError("the certificate names no URI (subjectAltName)")
        return cls(certificates, RSAKey.import_key(key))

    @property
    def uri(self) -> str:
        """Who we are in the community: the first URI among the leaf's names."""
        return uris_of(self.chain[0])[0]

    def sign(self, claims: Mapping[str, Any]) -> str:
        """A compact JWS, RS256, with the chain in `x5c` (RFC 7515 4.1.6)."""
        x5c = [base64.b64encode(one.public_bytes(Encoding.DER)).decode() for one in self.chain]
        header = {"typ": "JWT", "alg": RS256, "x5c": x5c}
        return jwt.encode(header, dict(claims), self.key, [RS256])


@dataclass(frozen=True, slots=True)
class Signed:
    """What a JWT claims, and the URIs of the certificate that signed it."""

    claims: Mapping[str, Any]
    uris: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Anchors:
    """The trust anchors of a community, as the operator gave them."""

    certificates: tuple[x509.Certificate, ...]

    @classmethod
    def of_pem(cls, text: str) -> Self:
        """From a PEM text; raises ConfigurationError when it holds no certificate."""
        try:
            return cls(tuple(x509.load_pem_x509_certificates(text.encode())))
        except ValueError:
            raise ConfigurationError("the trust anchors are no PEM certificates") from None

    def opened(self, token: str, at: datetime) -> Signed:
        """
        The claims of a JWT whose signature and chain hold at a moment (aware UTC).

        The algorithm is RS256 whatever the header says, the key is that of `x5c`, and `x5c` leads
        to an anchor. Whether the claims make sense is left to the caller. Revocation lists are not
        asked for. Raises LoginRefused, whose detail names what does not hold.
        """
        chain = _x5c(token)
        self._check(chain, at)
        try:
            key = RSAKey.import_key(_public_pem(chain[0]))
            claims = jwt.decode(token, key, registry=_RULES).claims
        except (JoseError, ValueError):
            raise LoginRefused("signed by another key than the certificate's") from None
        return Signed(claims, uris_of(chain[0]))

    def _check(self, chain: Sequence[x509.Certificate], at: datetime) -> None:
        # Community certificates have no key usage of the web: the names are judged by the caller.
        policy = (
            PolicyBuilder()
            .store(Store(list(self.certificates)))
            .time(at)
            .extension_policies(
                ca_policy=ExtensionPolicy.webpki_defaults_ca(),
                ee_policy=ExtensionPolicy.permit_all(),
            )
        )
        try:
            policy.build_client_verifier().verify(chain[0], list(chain[1:]))
        except (VerificationError, ValueError):
            raise LoginRefused("the certificate leads to none of the trust anchors") from None


def fingerprint(pem: str) -> str:
    """The SHA-256 of a PEM's first certificate, as engineers compare it (`AB:CD:...`)."""
    return _certificate(pem).fingerprint(SHA256()).hex(":").upper()


def ends(pem: str) -> datetime:
    """When a PEM's first certificate ends (aware UTC)."""
    return _certificate(pem).not_valid_after_utc


def _certificate(pem: str) -> x509.Certificate:
    try:
        return x509.load_pem_x509_certificates(pem.encode())[0]
    except ValueError:
        raise ConfigurationError("the certificate is no PEM") from None


def uris_of(certificate: x509.Certificate) -> tuple[str, ...]:
    """The uniformResourceIdentifier entries of the subject's alternative names (RFC 5280)."""
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    except (x509.ExtensionNotFound, ValueError):
        return ()
    return tuple(names.value.get_values_for_type(x509.UniformResourceIdentifier))


def _public_pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def _x5c(token: str) -> tuple[x509.Certificate, ...]:
    if len(token) > _MOST_TOKEN_CHARACTERS:
        raise LoginRefused("the signed text is too long")
    try:
        header = jws.extract_compact(token.encode(), registry=_RULES).headers()
        listed = header["x5c"]
        if header.get("alg") != RS256 or "crit" in header or len(listed) > MOST_CERTIFICATES:
            raise LoginRefused("it is not signed with RS256 and a certificate chain")
        found = tuple(x509.load_der_x509_certificate(base64.b64decode(one)) for one in listed)
    except (JoseError, ValueError, KeyError, TypeError, RecursionError):
        raise LoginRefused("it is no JWT with a certificate chain") from None
    if not found:
        raise LoginRefused("its certificate chain is empty")
    return found
