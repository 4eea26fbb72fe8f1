"""The whole job on PostgreSQL: the same evidence gives the same bytes as on SQLite."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from fhir_bridge.case.case import TreatingProvider
from fhir_bridge.simulators.hospital import Options, RunningHospital, start_hospital
from fhir_bridge.store.cases import parse_node

from . import job

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from fhir_bridge.bridge import Bridge

    from .validator import Judges

CHART = job.Chart("neurology")
CASE_ID = "0b7d2c7a-2f5c-4f0e-9d5e-6f3f0a5f6a01"


@pytest.fixture
def hospital(tmp_path: Path) -> Iterator[RunningHospital]:
    """General Hospital, EHR and PACS, without a login."""
    options = Options(data=CHART.folder, state=tmp_path / "hospital", open_door=True)
    with start_hospital(options) as running:
        yield running


def _pulled(bridge: Bridge, hospital: RunningHospital) -> str:
    """Pull the same case from the same hospital; the hash of the case record."""
    urls = hospital.urls
    provider = TreatingProvider(
        id="general-hospital",
        name="General Hospital",
        fhir=str(urls["fhir"]),
        dimse=parse_node(str(urls["dimse"])),
        dicomweb=str(urls["dicomweb"]),
        issuers={"general-hospital": "https://general-hospital.example/mrn"},
    )
    bridge.add_provider(provider)
    job.open_case(bridge, CHART, provider.id, case_id=CASE_ID)
    job.pull(bridge, CASE_ID)
    job.check_ledger(bridge, CASE_ID)
    return bridge.store.records.get(CASE_ID).sha256


def test_the_whole_job_runs_on_postgresql_and_makes_the_record_that_sqlite_makes(
    tmp_path: Path, hospital: RunningHospital, postgres_url: str, judges: Judges
) -> None:
    with job.running_bridge(tmp_path / "sqlite") as bridge:
        on_sqlite = _pulled(bridge, hospital)
    with job.running_bridge(tmp_path / "postgres", database_url=postgres_url) as bridge:
        on_postgres = _pulled(bridge, hospital)
        assert on_postgres == on_sqlite
        job.check_patient(bridge, CASE_ID, CHART)
        job.check_records(bridge, CASE_ID, CHART)
        job.check_attachments(bridge, CASE_ID, CHART)
        assert job.grades(bridge, CASE_ID)["DICOM images"] == "proven"
        first, again = (job.finish(bridge, CASE_ID, CHART) for _ in range(2))
        assert (first.state.value, first.read_back) == ("confirmed", "equal")
        assert again == first
        job.check_judged(bridge, CASE_ID, judges)
