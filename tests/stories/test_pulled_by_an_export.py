"""A hospital that exports: the same records, the same certificate, asked in one order."""

from __future__ import annotations

import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from fhir_bridge.bridge import Bridge
from fhir_bridge.case.case import TreatingProvider
from fhir_bridge.case.certificate import COMPLETE
from fhir_bridge.security.access import LOCAL
from fhir_bridge.service import serving
from fhir_bridge.settings import Settings
from fhir_bridge.simulators.hospital import RunningHospital
from fhir_bridge.standards.fhir import json

DOCUMENT = "DocumentReference"


@pytest.fixture(scope="module")
def bridge(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bridge]:
    folder = tmp_path_factory.mktemp("export")
    with serving(Settings.load(data=folder, port=0, dimse_port=0, log_level="ERROR")) as opened:
        yield opened


def pulled(bridge: Bridge, small_case: Path, provider: TreatingProvider) -> tuple[str, set[Any]]:
    """The case, and (kind, id, version, state) of everything seen."""
    bridge.add_provider(provider)
    patient = json.load_object((small_case / "patient.json").read_bytes())
    case = bridge.new_case(LOCAL, patient, "oncology", "Is it so?", [provider.id])
    result = bridge.engine.result(bridge.begin_pull(LOCAL, case, None))
    assert [end["state"] for end in result["sources"]] == ["done"]
    rows = bridge.store.ledgers.rows(case)
    return case, {(r.key.kind, r.key.id, r.key.version, r.state) for r in rows}


def lines(bridge: Bridge, case: str) -> dict[str, dict[str, Any]]:
    return {line["type"]: line for line in bridge.certificate(case)}


def asked(hospital: RunningHospital) -> list[str]:
    with urllib.request.urlopen(f"{hospital.urls['control']}/requests") as answer:
        return [one["path"] for one in json.loads(answer.read())]


def test_an_export_brings_what_pages_bring(
    bridge: Bridge, small_case: Path, hospital: Callable[..., RunningHospital]
) -> None:
    house = hospital(only="ehr")
    provider = TreatingProvider("exports", "Exports", fhir=str(house.urls["fhir"]), bulk="patient")
    case, by_export = pulled(bridge, small_case, provider)
    searched = [path for path in asked(house) if path.endswith(f"/{DOCUMENT}")]
    _, by_pages = pulled(bridge, small_case, replace(provider, bulk=""))
    assert by_export == by_pages
    line = lines(bridge, case)[DOCUMENT]
    assert line["grade"] in COMPLETE
    assert "$export manifest" in line["agreed"]
    assert len(searched) <= 1, "pages were turned although the export had everything"


@pytest.mark.parametrize("fault", ["bulk-refused", "bulk-status-500-once"])
def test_an_export_that_fails_costs_nothing(
    bridge: Bridge, small_case: Path, hospital: Callable[..., RunningHospital], fault: str
) -> None:
    urls = hospital(fault, only="ehr").urls
    provider = TreatingProvider(fault, fault, fhir=str(urls["fhir"]), bulk="patient")
    case, _ = pulled(bridge, small_case, provider)
    assert lines(bridge, case)[DOCUMENT]["grade"] in COMPLETE
