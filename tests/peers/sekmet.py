"""sekmet-fhir: a FastAPI + SQLite FHIR R4 server with its own SMART Backend Services guard."""

from __future__ import annotations

import secrets
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import simplejson

from .fhir_server import FhirServer
from .peer import BUILT, LOOPBACK, answers, free_port, need, running

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

PROGRAM = BUILT / "sekmet" / "bin" / "sekmet"


@dataclass(frozen=True, slots=True)
class SmartClient:
    """
    A SMART Backend Services client that the server knows.

    sekmet keeps a JWKS for 300 s, does not look at kid, and answers 500 if one JWKS holds keys of
    two types: give it one JWKS per client.
    """

    client_id: str
    jwks_url: str
    scopes: str = "system/*.cruds"


@contextmanager
def serving(folder: Path, clients: Sequence[SmartClient] = ()) -> Iterator[FhirServer]:
    """Run sekmet on a free port with its files in the folder: open, or guarded for the clients."""
    need("sekmet-fhir", PROGRAM)
    port = free_port()
    server = FhirServer(
        name="sekmet",
        base=f"http://{LOOPBACK}:{port}/fhir",
        loader_token=secrets.token_urlsafe(24) if clients else None,
    )
    config = folder / "settings.yaml"  # JSON is YAML
    config.write_text(simplejson.dumps(_settings(server, port, folder, clients)))
    argv = [str(PROGRAM), "serve", "--config", str(config), "--host", LOOPBACK, "--port", str(port)]
    log = folder / "sekmet.log"
    with running(argv, log, ready=lambda: answers(f"{server.base}/metadata"), cwd=folder):
        yield server


def _settings(
    server: FhirServer, port: int, folder: Path, clients: Sequence[SmartClient]
) -> dict[str, Any]:
    auth: dict[str, Any] = {"types": ["none"]}
    if clients:
        auth = {
            "types": ["bearer", "smart"],
            "tokens": [server.loader_token],
            "token_lifetime": 300,
            "smart_clients": [asdict(client) for client in clients],
        }
    return {
        "base_url": server.base,
        "port": port,
        "data_dir": str(folder),
        "server_auth": auth,
        # Its simulator would answer orders by itself, and change the chart behind a test's back.
        "simulator": {"enabled": False},
        "log_inbound": False,
    }
