"""Secrets at rest: sealed with AES-256-GCM under a key that lies beside the store, mode 0600."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from fhir_bridge.errors import ConfigurationError

_NONCE = 12


class Seal:
    """Seals and opens secrets; the purpose is bound in, so that ciphertexts cannot be swapped."""

    def __init__(self, key: bytes) -> None:
        self._cipher = AESGCM(key)

    @classmethod
    def in_folder(cls, folder: Path) -> Seal:
        """The key of this store, made on first use."""
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        path = folder / "seal.key"
        if not path.exists():
            _write_once(path, secrets.token_bytes(32))
        key = path.read_bytes()
        if len(key) != 32:
            raise ConfigurationError("seal.key does not hold 32 bytes")
        return cls(key)

    def seal(self, clear: bytes, purpose: str) -> bytes:
        """Encrypt for one purpose (`provider/general-hospital/secret`)."""
        nonce = secrets.token_bytes(_NONCE)
        return nonce + self._cipher.encrypt(nonce, clear, purpose.encode())

    def open(self, sealed: bytes, purpose: str) -> bytes:
        """Decrypt; raises ConfigurationError when the key or the purpose is another one."""
        try:
            return self._cipher.decrypt(sealed[:_NONCE], sealed[_NONCE:], purpose.encode())
        except InvalidTag:
            raise ConfigurationError(
                "a stored secret cannot be opened: is seal.key of this store?"
            ) from None


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
