"""The crash stories on PostgreSQL, and three workers of which one is killed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from fhir_bridge.security.access import LOCAL
from fhir_bridge.simulators.hospital import RunningHospital

from ..doors import Desk, free_port
from ..stories import crash
from .postgres import Postgres

SEED, LEASE = 20261127, 3


@pytest.fixture
def on_postgres(
    postgres_cluster: Postgres, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[[], Desk]]:
    """New stores whose rows lie in a new PostgreSQL database, behind the same two ports."""
    made: list[str] = []
    new_desk = crash.stores(tmp_path_factory)

    def opened() -> Desk:
        desk = new_desk()
        made.append(postgres_cluster.createdb())
        desk.env["FHIR_BRIDGE_DATABASE_URL"] = made[-1]
        return desk

    yield opened
    for url in made:
        postgres_cluster.dropdb(url)


def test_a_pull_killed_at_twenty_moments_comes_to_the_same(
    on_postgres: Callable[[], Desk], hospital: Callable[..., RunningHospital], small_case: Path
) -> None:
    node = crash.our_node(on_postgres())
    general = hospital("slow-pages", "slow-images", bridge_dimse=node)
    found = crash.storm_of_pulls(on_postgres, general, small_case, kills=20, seed=SEED)
    print(crash.account(found))
    assert sum(one.kills for one in found) >= 20


def test_a_delivery_killed_at_twenty_moments_puts_one_opinion_into_the_chart(
    on_postgres: Callable[[], Desk], hospital: Callable[..., RunningHospital], small_case: Path
) -> None:
    desk = on_postgres()
    general = hospital(bridge_dimse=crash.our_node(desk))
    found = crash.storm_of_deliveries(desk, general, small_case, kills=20, seed=SEED)
    print(crash.ladder(found))
    assert sum(len(one.met) for one in found) >= 20


def test_of_three_workers_one_is_killed_and_the_others_finish_its_work(
    on_postgres: Callable[[], Desk], hospital: Callable[..., RunningHospital], small_case: Path
) -> None:
    first = on_postgres()
    general = hospital("slow-pages", "slow-images", bridge_dimse=crash.our_node(first))
    calm = crash.pull(on_postgres(), general, small_case)
    first.env["FHIR_BRIDGE_LEASE_SECONDS"] = str(LEASE)
    desks = [first, beside(first), beside(first)]
    with crash.serving(*desks) as services, crash.looking(first) as bridge:
        crash.introduce(bridge, general, small_case)
        workflow = bridge.begin_pull(LOCAL, crash.CASE, None)
        crash.until(lambda: bridge.store.ledgers.rows(crash.CASE))
        victim = crash.owner(bridge, f"{workflow}:{crash.SOURCE}:0")
        services[victim].kill()
        seconds = crash.wait_for(bridge, workflow)
        assert bridge.store.records.get(crash.CASE).sha256 == calm.sha256
        assert crash.owner(bridge, f"{workflow}:{crash.SOURCE}:0") != victim
        survivor = services[(victim + 1) % 3]
        opinion = (small_case / "opinion.md").read_bytes()
        assert crash.deliver(survivor, bridge, opinion).state == "confirmed"
        assert set(crash.delivered(general).values()) == {1}
    print(
        f"taken over and finished {seconds:.1f} s after the kill; a pull takes {calm.seconds:.1f}"
    )


def beside(desk: Desk) -> Desk:
    """Another worker on the same store: the same folder and database, ports of its own."""
    ports = {"FHIR_BRIDGE_PORT": str(free_port()), "FHIR_BRIDGE_DIMSE_PORT": str(free_port())}
    return Desk(desk.data, {**desk.env, **ports})
