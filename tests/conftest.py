"""For every test: no way out of this machine. For the doors: a desk, a small case, hospitals."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from fhir_bridge.simulators.hospital import Options, RunningHospital, start_hospital

from . import small_case as small
from .doors import Desk, desk_in, is_here

_gone_out: list[str] = []


def _watch(event: str, arguments: tuple[Any, ...]) -> None:
    """An audit hook sees every connect of this process, whichever library makes it."""
    if event == "socket.connect" and not is_here(arguments[1]):
        _gone_out.append(str(arguments[1]))
        raise ConnectionRefusedError("a test may not leave this machine")


sys.addaudithook(_watch)


@pytest.fixture(autouse=True)
def stays_on_this_machine() -> Iterator[None]:
    """Fails a test that connects to an address beyond loopback, even if the code coped with it."""
    _gone_out.clear()
    yield
    assert not _gone_out, f"it connected to {', '.join(_gone_out)}"


@pytest.fixture(scope="session")
def small_case(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The small case as a folder."""
    return small.write(tmp_path_factory.mktemp("small") / "case")


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    """An empty store on ports of its own."""
    return desk_in(tmp_path)


@pytest.fixture(scope="module")
def hospital(
    small_case: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[..., RunningHospital]]:
    """
    Starts General Hospital as a process: `hospital("drop-next", data=folder)`. Nobody has to log
    in unless a `client_id` and `jwks_url` are named. All end with the module's tests.
    """
    with ExitStack() as open_ones:

        def start(*faults: str, **more: Any) -> RunningHospital:
            known = {"data": small_case, "state": tmp_path_factory.mktemp("hospital")}
            known["open_door"] = "client_id" not in more
            options = Options(**{**known, **more}, faults=faults)
            return open_ones.enter_context(start_hospital(options))

        yield start


@pytest.fixture(scope="session")
def introduce(small_case: Path) -> Callable[..., str]:
    """What an engineer and a nurse type first: the provider, then the case; its id comes back."""

    def introduced(desk: Desk, hospital: RunningHospital | None = None, **fields: str) -> str:
        urls = hospital.urls if hospital else {}
        known = {name: str(urls[name]) for name in ("fhir", "dicomweb", "dimse") if urls.get(name)}
        options = [f"--{name}={value}" for name, value in {**known, **fields}.items() if value]
        desk.type("provider", "add", "General Hospital", *options)
        return desk.type(
            "case", "new", "--patient", small_case / "patient.json", "--specialty", "oncology",
            "--question", small.QUESTION, "--provider", "General Hospital", "--json",
        ).json["case"]  # fmt: skip

    return introduced
