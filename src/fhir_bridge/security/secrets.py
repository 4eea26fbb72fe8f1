"""Secrets at rest: sealed with AES-256-GCM under a key that lies beside the store, mode 0600."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from fhir_bridge.errors import ConfigurationError

KEY_BYTES = 32
_NONCE, _TAG = 12, 16
_ANOTHER = "a stored secret cannot be opened: is seal.key of this store?"


class Seal:
    """Seals and opens secrets; the purpose is bound in, so that ciphertexts cannot be swapped."""

    def __init__(self, key: bytes) -> None:
        self._cipher = AESGCM(key)

    @classmethod
    def in_folder(cls, folder: Path) -> Seal:
        """
        The key of this store, made on first use.

        Raises ConfigurationError for a key that is damaged or cannot be read or made.
        """
        path = folder / "seal.key"
        try:
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            if not path.exists():
                _write_once(path, secrets.token_bytes(KEY_BYTES))
            key = path.read_bytes()
        except OSError as error:
            raise ConfigurationError(f"seal.key: {type(error).__name__}") from None
        if len(key) != KEY_BYTES:
            raise ConfigurationError(f"seal.key does not hold {KEY_BYTES} bytes")
        return cls(key)

    def seal(self, clear: bytes, purpose: str) -> bytes:
        """Encrypt for one purpose (`provider/general-hospital/secret`)."""
        nonce = secrets.token_bytes(_NONCE)
        return nonce + self._cipher.encrypt(nonce, clear, purpose.encode())

    def open(self, sealed: bytes, purpose: str) -> bytes:
        """
        Decrypt; raises ConfigurationError when nothing was sealed, or when the key or the purpose
        is another one.
        """
        if len(sealed) < _NONCE + _TAG:
            raise ConfigurationError("no secret is stored for this login")
        try:
            return self._cipher.decrypt(sealed[:_NONCE], sealed[_NONCE:], purpose.encode())
        except InvalidTag:
            raise ConfigurationError(_ANOTHER) from None


def _write_once(path: Path, key: bytes) -> None:
    # Whole or not at all, and the first of two processes wins.
    draft = path.with_suffix(f".{secrets.token_hex(4)}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(key)
        file.flush()
        os.fsync(file.fileno())
    try:
        os.link(draft, path)
    except FileExistsError:
        pass
    finally:
        draft.unlink()
    # The name has to be as durable as what will be sealed with it.
    descriptor = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
