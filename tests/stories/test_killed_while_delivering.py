"""kill -9 at any moment of a delivery, start again: one opinion in the chart, read back."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from fhir_bridge.simulators.hospital import RunningHospital

from ..doors import Desk
from . import crash

SEED = 20261125


def test_a_delivery_killed_at_twenty_moments_puts_one_opinion_into_the_chart(
    desk: Desk, hospital: Callable[..., RunningHospital], small_case: Path
) -> None:
    general = hospital(bridge_dimse=crash.our_node(desk))
    found = crash.storm_of_deliveries(desk, general, small_case, kills=20, seed=SEED)
    print(crash.ladder(found))
    assert sum(len(one.met) for one in found) >= 20
