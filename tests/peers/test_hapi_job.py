"""The whole job against HAPI FHIR's JPA server behind oidc-provider; how HAPI pages and answers."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any

import pytest

from fhir_bridge.case.case import Auth, TreatingProvider

from . import hapi, job, oidc_provider

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from fhir_bridge.bridge import Bridge

    from .fhir_server import FhirServer
    from .oidc_provider import TokenServer
    from .validator import Judges

PDF = b"%PDF-1.7 \x00\xff"


@pytest.fixture(scope="module")
def bridge(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bridge]:
    with job.running_bridge(tmp_path_factory.mktemp("bridge")) as bridge:
        yield bridge


def test_a_case_goes_all_the_way_behind_a_token_server(
    bridge: Bridge, hapi_open: FhirServer, tmp_path: Path, judges: Judges
) -> None:
    chart = job.Chart("oncology")
    keys = f"{bridge.public_url}/.well-known/jwks.json"
    client = oidc_provider.RegisteredClient("fhir-bridge", "ES384", keys)
    with (
        oidc_provider.serving(tmp_path, [client]) as tokens,
        hapi.guarded(tmp_path, hapi_open, tokens) as server,
    ):
        bridge.add_provider(
            TreatingProvider("hapi", "HAPI", server.base, Auth.PRIVATE_KEY_JWT, client.client_id)
        )
        assert server.ask("GET", "/Patient", headers={"Authorization": ""}).status == 401
        found = job.whole_job(bridge, chart, server, "hapi", judges)
        assert tokens.refusals() == []
    assert found == chart.grades


@pytest.fixture
def guarded(
    hapi_open: FhirServer, token_server: TokenServer, tmp_path: Path
) -> Iterator[FhirServer]:
    with hapi.guarded(tmp_path, hapi_open, token_server) as server:
        server.load(_documents("paged", 25))
        yield server


def _documents(patient: str, number: int) -> list[dict[str, Any]]:
    subject = {"reference": f"Patient/{patient}"}
    documents = [
        {"resourceType": "DocumentReference", "id": f"{patient}-{one}", "status": "current",
         "subject": subject, "content": [{"attachment": {"url": f"Binary/{patient}"}}]}
        for one in range(number)
    ]  # fmt: skip
    binary = {"resourceType": "Binary", "id": patient, "contentType": "application/pdf"}
    return [
        {"resourceType": "Patient", "id": patient}, *documents,
        {**binary, "data": base64.b64encode(PDF).decode()},
    ]  # fmt: skip


def test_hapi_pages_by_a_search_id_at_the_gateways_address_and_gives_no_total(
    guarded: FhirServer,
) -> None:
    first = guarded.read("/DocumentReference?patient=paged&_count=10")
    links = {link["relation"]: link["url"] for link in first["link"]}
    assert links["next"].startswith(f"{guarded.base}?_getpages=")
    assert "total" not in first
    second = guarded.read(links["next"].removeprefix(guarded.base))
    ids = [entry["resource"]["id"] for page in (first, second) for entry in page["entry"]]
    assert len(set(ids)) == 20
    assert guarded.read("/DocumentReference?patient=paged&_summary=count")["total"] == 25


def test_a_search_that_hapi_has_forgotten_is_gone(guarded: FhirServer) -> None:
    late = "?_getpages=7f9d1e02-0000-4000-8000-000000000000&_getpagesoffset=10&_count=10"
    assert guarded.ask("GET", late).status == 410


@pytest.mark.parametrize("accept", ["application/pdf", "*/*"])
def test_hapi_gives_a_binary_raw_when_nobody_asks_for_fhir(
    accept: str, guarded: FhirServer
) -> None:
    raw = guarded.ask("GET", "/Binary/paged", headers={"Accept": accept, "Content-Type": ""})
    assert (raw.headers["content-type"], raw.body) == ("application/pdf", PDF)


def test_hapi_wraps_a_binary_for_who_asks_for_fhir(guarded: FhirServer) -> None:
    wrapped = guarded.read("/Binary/paged")
    assert (wrapped["contentType"], base64.b64decode(wrapped["data"])) == ("application/pdf", PDF)
