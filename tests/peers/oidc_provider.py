"""oidc-provider (Node) as a strict SMART Backend Services token server."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import asdict, dataclass
from itertools import product
from typing import TYPE_CHECKING

import simplejson

from .peer import HERE, LOOPBACK, answers, free_port, need, running

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

PROGRAM = HERE / "node" / "token-server.mjs"
INSTALLED = HERE / "node" / "node_modules" / "oidc-provider"

_TYPES = (
    "*", "AllergyIntolerance", "AuditEvent", "Binary", "Bundle", "CarePlan", "Communication",
    "Composition", "Condition", "Consent", "DiagnosticReport", "Device", "DocumentReference",
    "Encounter", "Endpoint", "ImagingStudy", "Immunization", "List", "Location", "Media",
    "Medication", "MedicationRequest", "Observation", "Organization", "Patient", "Practitioner",
    "PractitionerRole", "Procedure", "Provenance", "ServiceRequest", "Specimen", "Subscription",
    "Task",
)  # fmt: skip
_LETTERS = (
    "read",
    "write",
    "*",
    "r",
    "s",
    "rs",
    "c",
    "u",
    "cu",
    "cr",
    "crs",
    "cru",
    "crus",
    "cruds",
)
ALL_SCOPES = tuple(f"system/{kind}.{letters}" for kind, letters in product(_TYPES, _LETTERS))
"""oidc-provider grants a scope only if it was listed word for word, and silently drops others."""


@dataclass(frozen=True, slots=True)
class RegisteredClient:
    """A client by its JWKS URL; alg is the one signature algorithm it may use (RS384 or ES384)."""

    client_id: str
    alg: str
    jwks_uri: str


@dataclass(frozen=True, slots=True)
class TokenServer:
    """
    A running token server: discovery at issuer + /.well-known/smart-configuration.

    It is strict on alg and kid, wants the token URL or the issuer as aud, and refuses a second
    use of a jti. Scopes it does not know are dropped without an error.
    """

    issuer: str
    token_url: str
    log: Path

    def refusals(self) -> list[str]:
        """Why assertions were refused, oldest first: the answers to the client hide it."""
        lines = self.log.read_text(errors="replace").splitlines()
        return [line.removeprefix("refused: ") for line in lines if line.startswith("refused: ")]


@contextmanager
def serving(
    folder: Path, clients: Sequence[RegisteredClient], scopes: Sequence[str] = ALL_SCOPES
) -> Iterator[TokenServer]:
    """Run the token server on a free port for these clients, which may all ask these scopes."""
    need("oidc-provider", "node", INSTALLED)
    port = free_port()
    issuer = f"http://{LOOPBACK}:{port}"
    options = {"port": port, "scopes": scopes, "clients": [asdict(one) for one in clients]}
    server = TokenServer(issuer, f"{issuer}/token", folder / "oidc-provider.log")
    argv = ["node", str(PROGRAM), simplejson.dumps(options)]
    ready_at = f"{issuer}/.well-known/smart-configuration"
    with running(argv, server.log, ready=lambda: answers(ready_at)):
        yield server
