"""HAPI FHIR's JPA server (Java, H2 in memory): open, or behind a gateway that asks for tokens."""

from __future__ import annotations

import secrets
from contextlib import contextmanager
from typing import TYPE_CHECKING

import simplejson

from .fhir_server import FhirServer, request
from .peer import BUILT, HERE, LOOPBACK, answers, free_port, listens, need, running

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from .oidc_provider import TokenServer

BUILT_HERE = BUILT / "hapi"
GATEWAY = HERE / "node" / "token-proxy.mjs"
# The first compiler alone and one collector start fastest; RSS is about 600 MB.
_JVM = ("-Xmx512m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1")
_QUIET = "-Dorg.slf4j.simpleLogger.defaultLogLevel=error"


@contextmanager
def serving(folder: Path) -> Iterator[FhirServer]:
    """
    Run HAPI on a free port, open. About 10 s from nothing: once a session is enough.

    Its links name whoever asks it through a gateway.
    """
    need("hapi", "java", BUILT_HERE / ".installed")
    port = free_port()
    server = FhirServer(name="hapi", base=f"http://{LOOPBACK}:{port}/fhir")
    path = f"{BUILT_HERE / 'classes'}:{BUILT_HERE / 'lib'}/*"
    argv = ["java", *_JVM, _QUIET, "-cp", path, "HapiServer", str(port)]
    with running(argv, folder / "hapi.log", ready=lambda: listens(port), seconds=180):
        request("GET", f"{server.base}/metadata")  # the first one is slow
        yield server


@contextmanager
def guarded(folder: Path, server: FhirServer, token_server: TokenServer) -> Iterator[FhirServer]:
    """The same HAPI behind a gateway that takes the token server's tokens, scope by scope."""
    need("oidc-provider", "node")
    port = free_port()
    behind = FhirServer("hapi-smart", f"http://{LOOPBACK}:{port}/fhir", secrets.token_urlsafe(24))
    options = {
        "port": port,
        "upstream": server.base,
        "tokenServer": token_server.issuer,
        "loaderToken": behind.loader_token,
    }
    argv = ["node", str(GATEWAY), simplejson.dumps(options)]
    ready_at = f"{behind.base}/.well-known/smart-configuration"
    with running(argv, folder / "gateway.log", ready=lambda: answers(ready_at)):
        yield behind
