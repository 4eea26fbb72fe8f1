"""Who is alive: heartbeats, leases, and the one survivor that buries a dead worker."""

from __future__ import annotations

from datetime import timedelta

import pytest

from fhir_bridge.store.slots import take_slot

LEASE = timedelta(seconds=15)


@pytest.fixture
def workers(store):
    return store.workers


def test_a_worker_is_alive_for_one_lease_after_its_heartbeat(workers, at):
    workers.beat("w1", at=at)
    assert list(workers.alive(at=at + LEASE)) == ["w1"]
    assert list(workers.dead(at=at + LEASE)) == []
    late = at + LEASE + timedelta(seconds=1)
    assert list(workers.alive(at=late)) == []
    assert list(workers.dead(at=late)) == ["w1"]


def test_a_heartbeat_in_between_saves_it(workers, at):
    workers.beat("w1", at=at)
    workers.beat("w1", at=at + LEASE)
    assert not workers.bury("w1", at=at + LEASE + timedelta(seconds=1))


def test_a_dead_worker_is_buried_by_one_survivor(workers, at):
    workers.beat("w1", at=at)
    late = at + 2 * LEASE
    assert [workers.bury("w1", at=late), workers.bury("w1", at=late)] == [True, False]


def test_a_worker_that_left_is_not_alive(workers, at):
    workers.beat("w1", at=at)
    workers.leave("w1")
    assert list(workers.alive(at=at)) == []


def test_a_free_slot_is_taken_by_one(tmp_path):
    first, second = take_slot(tmp_path), take_slot(tmp_path)
    assert first.name != second.name
    first.free()
    third = take_slot(tmp_path)
    assert third.name == first.name
    second.free()
    third.free()
