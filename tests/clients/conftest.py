"""What the tests of the clients share: an EHR to script, somebody else's server, a store."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from fhir_bridge.clients.ask import Limits
from fhir_bridge.clients.http import Wire

from .scripted import QUICK, MemoryKeep, Scripted, new_id, scripted_server, utc_now


@pytest.fixture
def keep() -> MemoryKeep:
    return MemoryKeep()


@pytest.fixture
def ehr() -> Iterator[Scripted]:
    with scripted_server() as server:
        yield server


@pytest.fixture
def stranger() -> Iterator[Scripted]:
    """A server of somebody else: another port, so another origin."""
    with scripted_server() as server:
        yield server


@pytest.fixture
def open_wire(keep: MemoryKeep) -> Iterator[Callable[..., Wire]]:
    opened: list[Wire] = []

    def open_(base: str, **more: object) -> Wire:
        settings = {
            "keep": keep, "now": utc_now, "new_id": new_id, "patience": QUICK,
            "limits": Limits(total_seconds=5, read_seconds=5, connect_seconds=2),
        } | more  # fmt: skip
        opened.append(Wire.open("general", base, **settings))
        return opened[-1]

    yield open_
    for wire in opened:
        wire.close()
