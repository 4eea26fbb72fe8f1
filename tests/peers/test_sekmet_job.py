"""The whole job against sekmet-fhir: every fixture case, and one behind its SMART login."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from fhir_bridge.case.case import Auth, TreatingProvider
from fhir_bridge.case.ledger import INSTANCE

from . import job, sekmet

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from fhir_bridge.bridge import Bridge

    from .fhir_server import FhirServer
    from .validator import Judges


@pytest.fixture(scope="module")
def bridge(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bridge]:
    with job.running_bridge(tmp_path_factory.mktemp("bridge")) as bridge:
        yield bridge


@pytest.mark.parametrize("specialty", job.SPECIALTIES)
def test_a_case_goes_all_the_way(
    specialty: str, bridge: Bridge, sekmet_open: FhirServer, judges: Judges
) -> None:
    bridge.add_provider(TreatingProvider("sekmet", "Sekmet", fhir=sekmet_open.base))
    chart = job.Chart(specialty)
    found = job.whole_job(bridge, chart, sekmet_open, "sekmet", judges)
    assert found == chart.grades
    rows = [row for case in bridge.store.cases.all() for row in bridge.store.ledgers.rows(case.id)]
    reasons = {row.reason for row in rows if row.key.kind == INSTANCE}
    assert reasons == {"no way to this hospital's images is set up"}


def test_the_one_file_that_does_not_exist_is_known_beforehand() -> None:
    """Of all fixtures' documents, one names a file that the hospital does not have."""
    assert {one for one in job.SPECIALTIES if job.Chart(one).elsewhere} == {"gastroenterology"}


def test_a_case_goes_all_the_way_behind_the_smart_login(
    bridge: Bridge, tmp_path: Path, judges: Judges
) -> None:
    """The hospital knows us by the key set that our own web server publishes."""
    client = sekmet.SmartClient("fhir-bridge", f"{bridge.public_url}/.well-known/jwks.json")
    with sekmet.serving(tmp_path, [client]) as server:
        provider = TreatingProvider(
            "guarded", "Guarded", server.base, Auth.PRIVATE_KEY_JWT, client.client_id
        )
        bridge.add_provider(provider)
        assert server.ask("GET", "/Patient", headers={"Authorization": ""}).status == 401
        chart = job.Chart("oncology")
        found = job.whole_job(bridge, chart, server, "guarded", judges)
    assert found == chart.grades
