"""What is pulled is what was loaded, from every foreign server, to the last id and byte."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from fhir_bridge.case.case import TreatingProvider
from fhir_bridge.security.access import LOCAL

from . import charts, job

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fhir_bridge.bridge import Bridge

    from .fhir_server import FhirServer

PEERS = ("sekmet_open", "medplum_open", "hapi_open", "asymmetrik_open")
CHARTS = {"spec": charts.spec_examples, "field": charts.captures}


@pytest.fixture(scope="module")
def bridge(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bridge]:
    with job.running_bridge(tmp_path_factory.mktemp("bridge")) as bridge:
        yield bridge


def _pulled(bridge: Bridge, chart: charts.LoadedChart, server: FhirServer, source: str) -> str:
    """A case about the chart's patient, pulled to its end."""
    chart.load_into(server)
    bridge.add_provider(TreatingProvider(source, source, fhir=server.base))
    person = chart.resources[f"Patient/{chart.patient}"]
    known = {key: value for key, value in person.items() if key != "id"}
    case_id = bridge.new_case(LOCAL, known, "oncology", "What next?", [source])
    (end,) = job.pull(bridge, case_id)["sources"]
    assert end["state"] == "done", end
    return case_id


@pytest.mark.parametrize("peer", PEERS)
@pytest.mark.parametrize("name", CHARTS)
def test_a_pull_equals_the_chart(
    name: str, peer: str, bridge: Bridge, request: pytest.FixtureRequest
) -> None:
    chart = CHARTS[name]()
    server: FhirServer = request.getfixturevalue(peer)
    case_id = _pulled(bridge, chart, server, f"{peer.removesuffix('_open')}-{name}")
    job.check_records(bridge, case_id, chart)
    job.check_attachments(bridge, case_id, chart)
    assert job.grades(bridge, case_id) == chart.grades
