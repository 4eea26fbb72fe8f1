"""An endpoint's learned profile, in words for its engineer."""

from __future__ import annotations

from datetime import UTC, datetime

from fhir_bridge.case.profile import Profile, Standing

SEEN = {
    "page_size": {"Observation": 100, "DocumentReference": 20},
    "totals": {"Observation": "lies", "DocumentReference": "lies"},
    "refused": ["ImagingStudy"],
    "scope_syntax": "v1",
    "accept": ["_format=json"],
    "median_ms": 130,
    "window": 6,
    "throttled_by_hour": {"8": 12, "9": 3},
    "last_success_at": "2026-03-02T09:00:00+00:00",
    "last_refusal_at": "2026-03-02T08:00:00+00:00",
    "last_refusal_code": "FB-2004",
}


def test_the_words_say_what_was_learned():
    words = dict(Profile.of(Standing(SEEN)).words())
    assert words["page size"] == "DocumentReference 20, Observation 100"
    assert words["totals"] == "lies (every type seen)"
    assert words["types refused"] == "ImagingStudy"
    assert words["usual answer"] == "130 ms"
    assert words["asked us to slow down"] == "15 times, most between 08-09 UTC"
    assert words["quiet hours (UTC)"] == "00-08, 10-24"
    assert words["last refusal"] == "2026-03-02T08:00:00+00:00 FB-2004"
    assert words["next attempt"] == "at any time"


def test_of_an_endpoint_that_nobody_asked_nothing_is_claimed():
    profile = Profile.of(Standing())
    assert profile == Profile()
    assert profile.quiet_hours() == (), "no 429 was seen because nothing was asked"
    assert dict(profile.words())["page size"] == "not seen yet"


def test_an_endpoint_that_is_away_says_when_it_is_asked_again():
    at = datetime(2026, 3, 2, 9, 30, tzinfo=UTC)
    profile = Profile.of(Standing(failures=3, next_attempt_at=at))
    words = dict(profile.words())
    assert words["next attempt"] == "not before 2026-03-02T09:30:00+00:00 (3 failures in a row)"
    assert profile.facts()["next_attempt_at"] == "2026-03-02T09:30:00+00:00"


def test_facts_of_a_wrong_shape_count_as_unknown():
    odd = {"page_size": [], "totals": {"A": 7}, "accept": "x", "window": "4", "refused": {}}
    assert Profile.of(Standing(odd)) == Profile()


def test_its_json_has_every_fact_under_its_own_name():
    facts = Profile.of(Standing(SEEN)).facts()
    assert {name: facts[name] for name in SEEN} == SEEN
