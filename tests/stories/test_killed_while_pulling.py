"""kill -9 at any moment of a pull, start again: the same case record, nothing stored twice."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from fhir_bridge.simulators.hospital import RunningHospital

from . import crash

SEED = 20261124


@pytest.mark.parametrize(
    ("kills", "faults"), [(16, ()), (4, ("no-wado", "no-get"))], ids=["wado", "move"]
)
def test_a_pull_killed_at_twenty_moments_comes_to_the_same(
    tmp_path_factory: pytest.TempPathFactory,
    hospital: Callable[..., RunningHospital],
    small_case: Path,
    kills: int,
    faults: tuple[str, ...],
) -> None:
    """Sixteen moments where images come by WADO-RS, four where they come by C-MOVE to us."""
    new_desk = crash.stores(tmp_path_factory)
    node = crash.our_node(new_desk())
    general = hospital("slow-pages", "slow-images", *faults, bridge_dimse=node)
    found = crash.storm_of_pulls(new_desk, general, small_case, kills=kills, seed=SEED)
    print(crash.account(found))
    assert sum(one.kills for one in found) >= kills
