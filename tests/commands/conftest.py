"""One store on which the whole job was typed: once by commands alone, once beside a service."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from fhir_bridge.simulators.hospital import Options, RunningHospital, start_hospital

from ..doors import Desk, Typed, desk_in


@dataclass(frozen=True, slots=True)
class Place:
    """A desk, the hospital that it knows as General Hospital, a case, and its first pull."""

    desk: Desk
    hospital: RunningHospital
    case: str
    pulled: Typed


@pytest.fixture(scope="session", params=["alone", "beside-a-service"])
def place(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    small_case: Path,
    introduce: Callable[..., str],
) -> Iterator[Place]:
    folder = tmp_path_factory.mktemp("desk")
    desk = desk_in(folder)
    options = Options(
        data=small_case,
        state=folder / "hospital",
        client_id="fhir-bridge",
        jwks_url=f"http://127.0.0.1:{desk.env['FHIR_BRIDGE_PORT']}/.well-known/jwks.json",
        bridge_dimse=f"FHIRBRIDGE@127.0.0.1:{desk.env['FHIR_BRIDGE_DIMSE_PORT']}",
    )
    with ExitStack() as running:
        there = running.enter_context(start_hospital(options))
        if request.param == "beside-a-service":
            running.enter_context(desk.serving())
        login = {"auth": "private-key-jwt", "client-id": "fhir-bridge"}
        case = introduce(desk, there, **login)
        yield Place(desk, there, case, desk.type("pull", case, "--watch"))


@pytest.fixture
def opinion(small_case: Path) -> Path:
    return small_case / "opinion.md"
