"""Asymmetrik's FHIR server framework (Node) with a Map behind it: a peer for its quirks."""

from __future__ import annotations

import http.client
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import simplejson

from .fhir_server import FhirServer, LoadRefused, encoded, request
from .peer import HERE, LOOPBACK, answers, free_port, need, running

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

PROGRAM = HERE / "node" / "asymmetrik-server.mjs"
INSTALLED = HERE / "node" / "node_modules" / "@asymmetrik" / "node-fhir-server-core"
TYPES = (
    "Account", "AllergyIntolerance", "Appointment", "Binary", "CarePlan", "CareTeam",
    "Condition", "Contract", "Coverage", "DetectedIssue", "Device", "DeviceMetric",
    "DiagnosticReport", "DocumentReference", "Encounter", "Endpoint", "EpisodeOfCare", "Goal",
    "ImagingStudy", "Immunization", "Location", "Media", "Medication", "MedicationRequest",
    "MolecularSequence", "Observation", "Organization", "Patient", "Practitioner",
    "PractitionerRole", "Procedure", "Provenance", "QuestionnaireResponse", "RelatedPerson",
    "ServiceRequest", "Specimen", "Substance",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Asymmetrik(FhirServer):
    """It has no transactions: records are laid in by a door of our own."""

    def load(self, resources: Sequence[Mapping[str, Any] | bytes]) -> None:
        """Lay resources (each with an id) into the server."""
        lines = b"\n".join(encoded(one) for one in resources)
        door = self.base.rpartition("/")[0] + "/load"
        answer = request("POST", door, lines, {"Content-Type": "application/ndjson"})
        if answer.status != http.client.NO_CONTENT:
            raise LoadRefused(f"{self.name}: {answer.status} {answer.body[:500]!r}")


@contextmanager
def serving(folder: Path) -> Iterator[Asymmetrik]:
    """
    Run it on a free port, open.

    A create is answered 201 with an empty body and a Location relative to the server's root.
    """
    need("asymmetrik", "node", INSTALLED)
    port = free_port()
    server = Asymmetrik(name="asymmetrik", base=f"http://{LOOPBACK}:{port}/4_0_0")
    argv = ["node", str(PROGRAM), simplejson.dumps({"port": port, "types": TYPES})]
    log = folder / "asymmetrik.log"
    with running(argv, log, ready=lambda: answers(f"{server.base}/metadata")):
        yield server
