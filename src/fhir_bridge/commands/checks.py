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
from fhir_bridge.errors import BridgeError


@dataclass(frozen=True, slots=True)
class Check:
    """One check and what it found; `exit_code` is what a failure means for a script."""

    name: str
    ok: bool
    detail: str = ""
    exit_code: int = 0

    def facts(self) -> dict[str, object]:
        """As JSON."""
        return {"check": self.name, "ok": self.ok, "detail": self.detail}


def provider_checks(bridge: Bridge, provider: TreatingProvider) -> list[Check]:
    """Walk one hospital, all doors at once: metadata, login with a search, PACS echo, DICOMweb."""
    with ThreadPoolExecutor() as pool:
        return list(pool.map(lambda door: _try(*door), _doors(bridge, provider)))


def _doors(bridge: Bridge, provider: TreatingProvider) -> Iterator[tuple[str, Callable[[], str]]]:
    ehr = bridge.hospitals.ehr(provider)
    if ehr is not None:
        question = (("_id", "fhir-bridge-test"), ("_count", "1"))
        yield "metadata", lambda: f"FHIR {ehr.capability().fhir_version}"
        yield "login and search", lambda: _done(ehr.search("Patient", question))
    if provider.dimse is not None:
        scu = DimseClient(provider.dimse, bridge.settings.dimse_aet, bridge.dimse_port)
        yield "C-ECHO", lambda: _done(scu.echo())
    if provider.dicomweb:
        archive = bridge.hospitals.archives(provider, "provider-test", frozenset)[0]
        yield "QIDO-RS", lambda: _done(archive.list_studies("fhir-bridge-test"))


def machine_checks(bridge: Bridge) -> Iterator[Check]:
    """What this bridge needs of its own machine."""
    data = bridge.settings.data
    free = shutil.disk_usage(data).free // 2**30
    yield Check("store", os.access(data, os.W_OK), f"{free} GiB free", 7)
    yield _try("database", lambda: f"{bridge.store.events.newest()} events")
    yield Check("keys", len(bridge.keys.jwks()["keys"]) == 2, "RS384 and ES384", 7)
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
