"""How long a source that cannot be reached is tried again."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest

from fhir_bridge.case.budget import (
    attempts_left,
    business_days_left,
    deadline,
    next_attempt,
    time_left,
)

STARTED = datetime.fromisoformat("2026-11-20T14:30+00:00")  # a Friday
END = datetime.fromisoformat("2026-12-04T14:30+00:00")


def test_a_collection_has_ten_business_days():
    assert deadline(STARTED) == END


@pytest.mark.parametrize(
    ("failures", "minutes"), [(0, 1), (1, 1), (2, 2), (5, 16), (8, 128), (9, 240), (10_000, 240)]
)
def test_minutes_at_first_and_hours_later(failures, minutes):
    following = next_attempt(STARTED, STARTED, failures)
    assert following.seconds == minutes * 60
    assert following.at == STARTED + timedelta(minutes=minutes)
    assert not following.given_up


@pytest.mark.parametrize(("asked", "seconds"), [(900.0, 900), (5.0, 60), (-3.0, 60)])
def test_never_sooner_than_the_source_asks_for(asked, seconds):
    assert next_attempt(STARTED, STARTED, 1, asked_seconds=asked).seconds == seconds


def test_the_last_attempt_is_made_at_the_deadline():
    following = next_attempt(STARTED, END - timedelta(minutes=5), 30)
    assert (following.at, following.seconds) == (END, 300)


@pytest.mark.parametrize("late", [timedelta(), timedelta(days=3)])
def test_at_the_deadline_it_is_given_up_with_a_reason(late):
    following = next_attempt(STARTED, END + late, 70)
    assert following.given_up
    assert following.reason == "not to be had in 10 business days, tried 70 times in a row"


def test_what_is_left_goes_down_to_nothing():
    assert time_left(STARTED, STARTED) == timedelta(days=14)
    assert time_left(STARTED, END + timedelta(days=1)) == timedelta()
    assert business_days_left(STARTED, STARTED) == 10
    assert business_days_left(STARTED, STARTED + timedelta(days=2)) == 10, "a weekend"
    assert business_days_left(STARTED, END) == 0


def test_a_hospital_that_is_away_for_good_is_asked_some_ninety_times_in_all():
    assert 80 < attempts_left(STARTED, STARTED, 1) < 100
    assert attempts_left(STARTED, END, 90) == 0
