"""Medplum's FHIR router (Node) with an in-memory repository, behind our small HTTP face."""

from __future__ import annotations

import secrets
from contextlib import contextmanager
from typing import TYPE_CHECKING

import simplejson

from .fhir_server import FhirServer
from .peer import HERE, LOOPBACK, answers, free_port, need, running

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from .oidc_provider import TokenServer

PROGRAM = HERE / "node" / "fhir-server.mjs"
INSTALLED = HERE / "node" / "node_modules" / "@medplum" / "fhir-router"


@contextmanager
def serving(folder: Path, token_server: TokenServer | None = None) -> Iterator[FhirServer]:
    """
    Run Medplum on a free port: open, or guarded by the token server's introspection.

    JavaScript keeps no digits: 1.50 comes back as 1.5. Its transactions are not atomic.
    """
    need("medplum", "node", INSTALLED)
    port = free_port()
    server = FhirServer(
        name="medplum",
        base=f"http://{LOOPBACK}:{port}/fhir/R4",
        loader_token=secrets.token_urlsafe(24) if token_server else None,
    )
    options = {
        "port": port,
        "tokenServer": token_server.issuer if token_server else None,
        "loaderToken": server.loader_token,
    }
    argv = ["node", str(PROGRAM), simplejson.dumps(options)]
    log = folder / "medplum.log"
    with running(argv, log, ready=lambda: answers(f"{server.base}/metadata")):
        yield server
