"""Signing keys of a test's own SMART client, and the JWKS URL where the peers fetch them."""

from __future__ import annotations

import threading
import time
import uuid
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import simplejson
from joserfc import jwt
from joserfc.jwk import ECKey, RSAKey

from .peer import LOOPBACK

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

CLIENT_IDS = {"RS384": "bridge-rs", "ES384": "bridge-es"}
"""The client ID under which the guarded peers know each signature algorithm's key."""

ASSERTION_TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"


@dataclass(frozen=True, slots=True)
class ClientKeys:
    """One key per algorithm that SMART asks for, and the URL of each one's JWKS."""

    rs384: RSAKey
    es384: ECKey
    rs384_jwks_url: str
    es384_jwks_url: str

    def pem(self, alg: str) -> bytes:
        """The private key of RS384 or ES384 in PEM (PKCS #8), for a client that is configured."""
        return self._key(alg).as_pem(private=True)

    def kid(self, alg: str) -> str:
        """The key ID of that key in its JWKS."""
        return str(self._key(alg).kid)

    def assertion(self, alg: str, token_url: str, **changed: object) -> str:
        """
        A client assertion as SMART App Launch 2.2 (Backend Services) wants it.

        Keywords replace or add claims, to make it wrong in one way.
        """
        claims = {
            "iss": CLIENT_IDS[alg],
            "sub": CLIENT_IDS[alg],
            "aud": token_url,
            "exp": int(time.time()) + 240,
            "jti": str(uuid.uuid4()),
        }
        header = {"alg": alg, "kid": self.kid(alg), "typ": "JWT"}
        return jwt.encode(header, {**claims, **changed}, self._key(alg), algorithms=[alg])

    def _key(self, alg: str) -> RSAKey | ECKey:
        return self.rs384 if alg == "RS384" else self.es384


@contextmanager
def serving() -> Iterator[ClientKeys]:
    """Make fresh keys and serve their public halves, one JWKS a key, on a free loopback port."""
    rs384 = RSAKey.generate_key(2048, {"kid": "rs", "use": "sig", "alg": "RS384"})
    es384 = ECKey.generate_key("P-384", {"kid": "es", "use": "sig", "alg": "ES384"})
    documents = {
        "/rs384/jwks": {"keys": [rs384.as_dict(private=False)]},
        "/es384/jwks": {"keys": [es384.as_dict(private=False)]},
    }
    server = ThreadingHTTPServer((LOOPBACK, 0), _answering(documents))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    base = f"http://{LOOPBACK}:{server.server_address[1]}"
    try:
        yield ClientKeys(rs384, es384, f"{base}/rs384/jwks", f"{base}/es384/jwks")
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def _answering(documents: Mapping[str, Any]) -> type[BaseHTTPRequestHandler]:
    class Jwks(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            found = documents.get(self.path)
            self.send_response(200 if found else 404)
            self.send_header("Content-Type", "application/json")
            self.end_headers()
            self.wfile.write(simplejson.dumps(found or {}).encode())

        def log_message(self, *_: object) -> None:
            """Say nothing: the tests' output is for the tests."""

    return Jwks
