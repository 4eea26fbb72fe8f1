"""How far a pull is: from counts alone, and nothing is promised that the counts do not hold."""

from __future__ import annotations

import doctest
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from fhir_bridge.case import progress
from fhir_bridge.case.progress import Listing, Pace, Progress, Standing, standing
from fhir_bridge.standards.fhir import json

NOW = datetime(2026, 11, 24, 14, 0, tzinfo=UTC)
HALF = Progress(
    "g", step="fetching documents", pace=Pace(30, 30.0),
    lists=(Listing(ended=True, got=20, said=20),
           Listing(ended=False, got=50, said=150, page_size=50)),
    referred=4, referred_left=2, files=10, settled=6, requests=70, bytes=1_000_000,
)  # fmt: skip


def test_the_examples_in_the_docstrings_hold() -> None:
    assert doctest.testmod(progress).failed == 0


@pytest.mark.parametrize(
    ("step", "told", "stands"),
    [("", "", "not-begun"), ("connecting", "", "working"), ("checking", "", "working"),
     ("waiting", "", "waiting"), ("waiting", "pause", "pausing"),
     ("listing", "cancel", "cancelling"),
     ("paused", "pause", "paused"), ("cancelled", "cancel", "cancelled"), ("done", "pause", "done"),
     ("failed", "", "failed"), ("asks who the patient is", "", "needs-person")],
)  # fmt: skip
def test_a_source_stands_where_its_step_and_its_orders_say(
    step: str, told: str, stands: str
) -> None:
    assert standing(step, told) == stands
    assert Progress("g", step=step, told=told).at_work is (standing(step, told) in progress.AT_WORK)


def test_an_estimate_is_what_is_left_at_the_pace_of_the_last_minute() -> None:
    # Two pages, two referred records and four files are left, and one arrives every second.
    assert HALF.seconds_left(NOW) == 8.0


def test_a_rest_that_the_hospital_asks_for_is_part_of_the_estimate() -> None:
    waiting = replace(HALF, step="waiting", waits_until=NOW + timedelta(seconds=60))
    assert waiting.seconds_left(NOW) == 68.0
    over = replace(waiting, waits_until=NOW - timedelta(seconds=60))
    assert over.seconds_left(NOW) == 8.0


@pytest.mark.parametrize(
    "unknown",
    [
        replace(HALF, pace=Pace(2, 30.0)),
        replace(HALF, pace=Pace(30, 0.5)),
        replace(HALF, lists=(*HALF.lists, Listing(ended=False, got=3))),
        replace(HALF, images_follow=True),
        replace(HALF, step="paused"),
        replace(HALF, step="done"),
    ],
    ids=["too little came", "just begun", "no count", "images unlisted", "paused", "done"],
)
def test_what_cannot_be_known_is_not_estimated(unknown: Progress) -> None:
    assert unknown.seconds_left(NOW) is None


def test_the_records_of_a_hospital_are_counted_only_when_every_list_has_a_count() -> None:
    assert (HALF.records, HALF.said) == (70, 170)
    uncounted = Listing(ended=False, got=3)
    assert replace(HALF, lists=(*HALF.lists, uncounted)).said is None
    assert replace(HALF, lists=(replace(uncounted, ended=True),)).said == 3
    assert replace(HALF, lists=()).said is None


def test_a_bar_is_full_only_when_everything_is_here() -> None:
    assert Progress("g", step="listing").percent is None
    assert replace(HALF, step="connecting").percent is None
    lists = (Listing(ended=True, got=2), Listing(ended=True, got=0))
    done = Progress("g", step="checking", lists=lists, files=3, settled=3, referred=1)
    assert done.percent == 100
    assert replace(done, images_follow=True).percent == 40
    assert replace(done, images=4, held=2).percent == 70
    assert replace(done, images=4, held=4).percent == 100


def test_a_bar_grows_while_a_pull_goes_on() -> None:
    steps = [
        replace(HALF, lists=(Listing(ended=False, got=0, said=100),), referred=0, referred_left=0,
                files=0, settled=0, images_follow=True),
        replace(HALF, lists=(Listing(ended=False, got=50, said=100),), files=5, settled=2,
                images_follow=True),
        replace(HALF, lists=(Listing(ended=True, got=100, said=100),), images_follow=True),
        replace(HALF, lists=(Listing(ended=True, got=100, said=100),), settled=10,
                referred_left=0, images=8, held=3),
    ]  # fmt: skip
    shown = [one.percent or 0 for one in steps]
    assert shown == sorted(set(shown))


def test_facts_are_counts_and_codes_that_json_can_carry() -> None:
    facts = replace(HALF, error="FB-2002", step="waiting", waits_until=NOW).facts(NOW)
    assert json.loads(json.dumps(facts)) == facts
    assert facts == {
        "source": "g", "state": "waiting", "step": "waiting", "since": None, "error": "FB-2002",
        "waits_until": "2026-11-24T14:00:00+00:00", "percent": 45, "seconds_left": 8,
        "lists": {"ended": 1, "begun": 2}, "records": {"got": 70, "said": 170},
        "referred": {"read": 2, "named": 4}, "files": {"settled": 6, "named": 10},
        "images": {"held": 0, "listed": 0}, "requests": 70, "bytes": 1_000_000,
    }  # fmt: skip
    assert Standing(facts["state"]) is Standing.WAITING
