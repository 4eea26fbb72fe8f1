"""The checks of `provider test` and `doctor`: each is one line, ok or what to do."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from fhir_bridge.bridge import Bridge
from fhir_bridge.case.case import TreatingProvider
from fhir_bridge.clients.dimse import DimseClient
from fhir_bridge.commands.walk import Step, Walk
from fhir_bridge.errors import BridgeError


@dataclass(frozen=True, slots=True)
class Check:
    """
    One check and what it found; `exit_code` is what a failure means for a script.

    `sent` and `expected` compare the two sides: methods, paths without values, ways of login,
    scopes and key ids; never a token, and nothing about a patient.
    """

    name: str
    ok: bool
    detail: str = ""
    exit_code: int = 0
    sent: str = ""
    expected: str = ""

    def facts(self) -> dict[str, object]:
        """As JSON."""
        compared = {"sent": self.sent, "expected": self.expected} if self.expected else {}
        return {"check": self.name, "ok": self.ok, "detail": self.detail, **compared}


def provider_checks(bridge: Bridge, provider: TreatingProvider, patient: str = "") -> list[Check]:
    """
    Walk one hospital, its doors at once: the EHR in order (metadata, login, a patient, with
    `patient` each type and one attachment), PACS echo, DICOMweb.
    """
    with ThreadPoolExecutor() as pool:
        doors = [pool.submit(work) for work in _doors(bridge, provider, patient)]
        return [check for door in doors for check in door.result()]


def _doors(
    bridge: Bridge, provider: TreatingProvider, patient: str
) -> Iterator[Callable[[], list[Check]]]:
    ehr = bridge.hospitals.ehr(provider)
    if ehr is not None:
        walk = Walk(ehr, bridge.hospitals.login(provider), provider, patient)
        yield lambda: [_tried(step) for step in walk.steps()]
    if provider.dimse is not None:
        scu = DimseClient(provider.dimse, bridge.settings.dimse_aet, bridge.dimse_port)
        called = f"C-ECHO to {provider.dimse} as {bridge.settings.dimse_aet}"
        echo = Step("C-ECHO", lambda: _done(scu.echo()), called, "status 0000: our AE title known")
        yield lambda: [_tried(echo)]
    if provider.dicomweb:
        archive = bridge.hospitals.archives(provider, "provider-test", frozenset)[0]
        asked = "GET .../studies?PatientID, Accept application/dicom+json"
        query = Step(
            "QIDO-RS",
            lambda: _done(archive.list_studies("fhir-bridge-test")),
            asked,
            "200 with a JSON array, or 204",
        )
        yield lambda: [_tried(query)]


def _tried(step: Step) -> Check:
    check = _try(step.name, step.work)
    if check.ok:
        return check
    sent = step.told() if step.told else step.sent
    return Check(check.name, False, check.detail, check.exit_code, sent, step.expected)


def machine_checks(bridge: Bridge) -> Iterator[Check]:
    """What this bridge needs of its own machine."""
    data = bridge.settings.data
    free = shutil.disk_usage(data).free // 2**30
    yield Check("store", os.access(data, os.W_OK), f"{free} GiB free", 7)
    yield _try("database", lambda: f"{bridge.store.events.newest()} events")
    signing = set(bridge.keys.algorithms())
    yield Check("keys", signing == {"RS384", "ES384"}, "RS384 and ES384", 7)
    serving = bridge.running_at()
    yield Check("service", True, serving or "not running here (fhir-bridge serve)")
    mode = (data / "keys" / "seal.key").stat().st_mode & 0o777
    yield Check("seal key", mode == 0o600, f"mode {mode:o}", 7)
    yield Check("providers", True, f"{len(bridge.store.providers.all())} known")


def _try(name: str, work: Callable[[], str]) -> Check:
    try:
        return Check(name, ok=True, detail=work())
    except BridgeError as error:
        detail = f"{error.code} {error.advice} {error.detail}".strip()
        return Check(name, ok=False, detail=detail, exit_code=error.exit_code)


def _done(_: object) -> str:
    return ""
