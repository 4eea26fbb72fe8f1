"""The whole job against Medplum: open, and behind oidc-provider with either algorithm of SMART."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from fhir_bridge.case.case import Auth, TreatingProvider

from . import job, medplum, oidc_provider

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


def test_a_case_goes_all_the_way(bridge: Bridge, medplum_open: FhirServer, judges: Judges) -> None:
    bridge.add_provider(TreatingProvider("medplum", "Medplum", fhir=medplum_open.base))
    chart = job.Chart("oncology")
    found = job.whole_job(bridge, chart, medplum_open, "medplum", judges)
    assert found == chart.grades


@pytest.mark.parametrize(("alg", "specialty"), [("RS384", "neurology"), ("ES384", "cardiology")])
def test_a_case_goes_all_the_way_behind_a_token_server(
    alg: str, specialty: str, bridge: Bridge, tmp_path: Path, judges: Judges
) -> None:
    """The token server takes one algorithm only: our client finds out which, and signs with it."""
    keys = f"{bridge.public_url}/.well-known/jwks.json"
    client = oidc_provider.RegisteredClient("fhir-bridge", alg, keys)
    with (
        oidc_provider.serving(tmp_path, [client]) as tokens,
        medplum.serving(tmp_path, tokens) as server,
    ):
        provider = TreatingProvider(
            alg.lower(), alg, server.base, Auth.PRIVATE_KEY_JWT, client.client_id
        )
        bridge.add_provider(provider)
        assert server.ask("GET", "/Patient", headers={"Authorization": ""}).status == 401
        chart = job.Chart(specialty)
        found = job.whole_job(bridge, chart, server, provider.id, judges)
        assert tokens.refusals() == []
    assert found == chart.grades
