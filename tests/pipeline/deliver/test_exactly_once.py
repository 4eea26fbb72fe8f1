"""One opinion version, one document in the chart: whatever is lost, whenever we are killed."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import pytest

from fhir_bridge.case.delivery import Delivery, DeliveryState
from fhir_bridge.errors import ProviderUnreachable
from fhir_bridge.pipeline.deliver import look as looking
from fhir_bridge.pipeline.deliver import steps
from fhir_bridge.pipeline.deliver.chart import Way
from fhir_bridge.pipeline.deliver.plan import Site

from .conftest import Trip, trip
from .fake_chart import Declared, Killed, Weather

S = DeliveryState
DELIVERIES = 2_000
LAG_SECONDS = 20.0


def storm(seed: int, *, declared_lag: float = LAG_SECONDS, **more: Any) -> Trip:
    """One delivery in bad weather: faults, a search that lags, and a kill at any point."""
    chance = random.Random(seed)
    weather = Weather(chance)

    def point() -> None:
        if chance.random() < 0.02:
            raise Killed

    made = trip(
        site=Site(
            "p1", prefers_binary=chance.random() < 0.3, index_lag_seconds=declared_lag,
            max_attempts=60,
        ),
        point=point,
        fault=weather.fault,
        stumble=weather.stumble,
        lag_seconds=chance.uniform(0, LAG_SECONDS),
        **more,
    )  # fmt: skip
    made.run()
    return made


def duplicates(count: int, **more: Any) -> int:
    return sum(len(storm(seed, **more).chart.documents) > 1 for seed in range(count))


def test_in_two_thousand_deliveries_through_a_storm_none_is_doubled_and_none_is_missing() -> None:
    trips = [storm(seed) for seed in range(DELIVERIES)]
    held = [len(each.chart.documents) for each in trips]
    assert held.count(1) == DELIVERIES, (
        f"doubled {sum(n > 1 for n in held)}, missing {held.count(0)}"
    )
    assert {each.delivery.state for each in trips} == {S.CONFIRMED}
    assert sum(each.delivery.attempts for each in trips) > DELIVERIES, "the storm was none"


def test_a_chart_that_drops_our_identifiers_and_ignores_parameters_gets_it_once_too() -> None:
    def rewritten(resource: dict[str, Any]) -> dict[str, Any]:
        dropped = {"identifier", "masterIdentifier", "description", "author", "contained"}
        return {k: v for k, v in resource.items() if k not in dropped}

    trips = [storm(seed, keep=rewritten, ignores=("identifier", "type")) for seed in range(200)]
    assert [len(each.chart.documents) for each in trips] == [1] * 200
    assert {each.delivery.state for each in trips} == {S.CONFIRMED}


def test_a_blind_retry_would_turn_this_suite_red(monkeypatch: pytest.MonkeyPatch) -> None:
    """The planted defect: before an attempt nobody looks whether the one before arrived."""

    def blind(delivery: Delivery, way: Way) -> looking.Seen:
        asked_first = delivery.state in (S.QUEUED, S.UNKNOWN)
        return looking.Seen() if asked_first else looking.look(delivery, way)

    monkeypatch.setattr(steps, "look", blind)
    assert duplicates(200) > 20


def test_a_declared_lag_that_is_too_short_would_turn_this_suite_red() -> None:
    assert duplicates(300, declared_lag=0.0) > 0


@pytest.mark.parametrize("fault", ["lost", "reply-lost", "500", ProviderUnreachable("down"), None])
@pytest.mark.parametrize("binary", [False, True])
def test_a_kill_at_every_single_point_leaves_one_document(fault: object, binary: bool) -> None:
    def faulty() -> Callable[[str], object]:
        left = [fault]
        return lambda kind: left.pop() if left and kind == "DocumentReference" else None

    def once(kill_after: int) -> Trip:
        site = Site("p1", prefers_binary=binary, index_lag_seconds=5)
        made = trip(site=site, kill_after=kill_after, fault=faulty(), lag_seconds=5)
        assert made.run().state is S.CONFIRMED
        return made

    for point in range(once(-1).killer.points):
        assert len(once(point).chart.documents) == 1, f"killed at point {point}"


def test_where_a_conditional_create_is_declared_it_is_used() -> None:
    declared = Declared(conditional_create=frozenset({"DocumentReference"}))
    trips = [storm(seed, declares=declared, conditional=True) for seed in range(100)]
    assert [len(each.chart.documents) for each in trips] == [1] * 100
