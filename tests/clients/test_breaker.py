"""The circuit breaker: opens, lets a trial through, closes or rests longer."""

from __future__ import annotations

import pytest

from fhir_bridge.clients.breaker import Breaker


@pytest.fixture
def breaker() -> Breaker:
    return Breaker(at=3, first_pause_seconds=10, longest_pause_seconds=35)


def test_it_opens_after_so_many_failures_in_a_row(breaker):
    assert [breaker.failed(0.0) for _ in range(3)] == [None, None, 10]
    assert breaker.is_open()
    assert breaker.rest_seconds(4.0) == 6


def test_a_success_in_between_begins_the_count_anew(breaker):
    breaker.failed(0.0)
    breaker.failed(0.0)
    breaker.reached()
    assert breaker.failed(0.0) is None
    assert not breaker.is_open()


def test_what_was_under_way_when_it_opened_makes_no_pause_longer(breaker):
    for _ in range(3):
        breaker.failed(0.0)
    assert breaker.failed(1.0) is None
    assert breaker.rest_seconds(1.0) == 9


def test_a_failed_trial_doubles_the_pause_up_to_the_longest(breaker):
    for _ in range(3):
        breaker.failed(0.0)
    assert [breaker.failed(0.0, trial=True) for _ in range(3)] == [20, 35, 35]


def test_a_good_trial_closes_it_and_forgets_the_pauses(breaker):
    for _ in range(3):
        breaker.failed(0.0)
    breaker.reached()
    assert not breaker.is_open()
    assert [breaker.failed(0.0) for _ in range(3)] == [None, None, 10]


def test_a_hospital_that_is_away_for_weeks_is_no_overflow(breaker):
    breaker.openings = 5000
    assert breaker.failed(0.0, trial=True) == 35
