"""TLS of one endpoint: its private authorities, and our certificate for mutual TLS."""

from __future__ import annotations

import os
import secrets
import ssl
import tempfile
from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)

from fhir_bridge.errors import ConfigurationError


def context(
    *, authorities: str = "", certificate: str = "", key: bytes = b""
) -> ssl.SSLContext | None:
    """
    The TLS of an endpoint from PEM texts, or None where the usual one will do.

    `authorities` are trusted besides the machine's own. `certificate` (leaf first) and its
    unencrypted private `key` are shown when the server asks for them (RFC 8446 4.3.2).
    Raises ConfigurationError when a text is no PEM or the key is not the certificate's.
    """
    if not (authorities or certificate):
        return None
    made = ssl.create_default_context()
    try:
        if authorities:
            made.load_verify_locations(cadata=authorities)
        if certificate:
            _load(made, certificate, key)
    except (ssl.SSLError, ValueError, TypeError, UnsupportedAlgorithm):
        raise ConfigurationError("the certificate, its key or the authorities are no PEM") from None
    return made


def _load(made: ssl.SSLContext, certificate: str, key: bytes) -> None:
    # The library reads files only: for the moment of reading, the key lies there encrypted under
    # a password that is never written.
    password = secrets.token_bytes(32).hex().encode()
    locked = load_pem_private_key(key, None).private_bytes(
        Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(password)
    )
    number, name = tempfile.mkstemp(suffix=".pem")
    try:
        with os.fdopen(number, "wb") as file:
            file.write(certificate.encode("ascii") + b"\n" + locked)
        made.load_cert_chain(name, password=password)
    finally:
        Path(name).unlink()
