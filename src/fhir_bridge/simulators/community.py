"""A trust community in a box: one authority, and certificates for whoever takes part."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from typing import Self

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

LIFETIME = timedelta(days=30)
_STARTED_EARLIER = timedelta(minutes=10)


@dataclass(frozen=True, slots=True)
class Member:
    """A certificate and its private key, as PEM."""

    certificate: str
    key: bytes


@dataclass(frozen=True, slots=True)
class Community:
    """An authority that lives as long as this object; nothing of it is real."""

    authority: x509.Certificate
    _key: rsa.RSAPrivateKey

    @classmethod
    def founded(cls, name: str) -> Self:
        """A new community with an authority of its own."""
        key = rsa.generate_private_key(65537, 2048)
        made = _begun(_named(name), _named(name), key)
        usage = x509.KeyUsage(
            digital_signature=False, content_commitment=False, key_encipherment=False,
            data_encipherment=False, key_agreement=False, key_cert_sign=True, crl_sign=True,
            encipher_only=False, decipher_only=False,
        )  # fmt: skip
        made = made.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        made = made.add_extension(usage, critical=True)
        identifier = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
        made = made.add_extension(identifier, critical=False)
        return cls(made.sign(key, SHA256()), key)

    @property
    def anchors(self) -> str:
        """The authority's certificate as PEM."""
        return self.authority.public_bytes(Encoding.PEM).decode()

    def member(self, name: str, *, uri: str = "", address: str = "") -> Member:
        """A certificate for a URI (UDAP) or an IP address (TLS)."""
        key = rsa.generate_private_key(65537, 2048)
        names: list[x509.GeneralName] = [x509.UniformResourceIdentifier(uri)] if uri else []
        names += [x509.IPAddress(ip_address(address))] if address else []
        issuer = self.authority.extensions.get_extension_for_class(x509.SubjectKeyIdentifier)
        made = (
            _begun(_named(name), self.authority.subject, key)
            .add_extension(x509.SubjectAlternativeName(names), critical=False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(issuer.value),
                critical=False,
            )
        )
        pem = made.sign(self._key, SHA256()).public_bytes(Encoding.PEM).decode()
        private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        return Member(pem, private)


def _named(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


def _begun(
    subject: x509.Name, issuer: x509.Name, key: rsa.RSAPrivateKey
) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _STARTED_EARLIER)
        .not_valid_after(now + LIFETIME)
    )
