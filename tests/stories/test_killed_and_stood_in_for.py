"""Commands beside a service: who does the work when the service is gone, or comes and goes."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from fhir_bridge.security.access import LOCAL
from fhir_bridge.simulators.hospital import RunningHospital

from ..doors import Desk
from . import crash


def test_a_command_that_waits_for_a_killed_service_does_the_work_itself(
    desk: Desk, hospital: Callable[..., RunningHospital], small_case: Path
) -> None:
    general = hospital("slow-pages", bridge_dimse=crash.our_node(desk))
    with crash.serving(desk) as (service,), crash.looking(desk) as bridge:
        crash.introduce(bridge, general, small_case)
        with desk.begun("pull", crash.CASE, "--json") as command:
            crash.until(lambda: bridge.store.ledgers.rows(crash.CASE))
            service.kill()
            assert command.wait(60) == 0, command.communicate()
        assert bridge.store.records.get(crash.CASE).entries > 30


def test_a_command_after_a_kill_does_not_wait_for_the_lease_of_the_dead(
    desk: Desk, hospital: Callable[..., RunningHospital], small_case: Path
) -> None:
    desk.env["FHIR_BRIDGE_LEASE_SECONDS"] = "600"
    general = hospital(bridge_dimse=crash.our_node(desk))
    with crash.serving(desk) as (service,), crash.looking(desk) as bridge:
        crash.introduce(bridge, general, small_case)
        assert bridge.running_at()
        service.kill()
        assert not bridge.running_at()
        desk.run("pull", crash.CASE, code=0)


def test_a_service_asked_to_stop_puts_its_pull_down_and_goes_on_after_the_start(
    desk: Desk, hospital: Callable[..., RunningHospital], small_case: Path
) -> None:
    general = hospital("slow-pages", "slow-images", bridge_dimse=crash.our_node(desk))
    with crash.serving(desk) as (service,), crash.looking(desk) as bridge:
        crash.introduce(bridge, general, small_case)
        workflow = bridge.begin_pull(LOCAL, crash.CASE, None)
        crash.until(lambda: bridge.store.ledgers.rows(crash.CASE))
        assert service.stop() < 10
        asked = crash.requests(general)
        time.sleep(0.5)
        assert crash.requests(general) == asked
        assert bridge.engine.unfinished(workflow)
        service.start()
        crash.wait_for(bridge, workflow)
        pages = crash.requests(general)["GET", "/fhir/DocumentReference"]
        assert pages == 3 + 1, "three pages and a count: none was turned twice"
