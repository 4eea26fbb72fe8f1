"""What the store remembers of a provider's endpoint."""

from __future__ import annotations

from datetime import timedelta

import pytest

from fhir_bridge.case.profile import Standing

HOUR = timedelta(hours=1)


@pytest.fixture
def endpoints(store):
    return store.endpoints


def test_an_unknown_endpoint_has_nothing_against_it(endpoints):
    assert endpoints.standing("general") == Standing()
    assert endpoints.facts("general") == {}


def test_facts_are_added_to_those_that_are_known(endpoints, at):
    endpoints.learn("general", at=at, scope_syntax="v1", window=4)
    endpoints.learn("general", at=at + HOUR, window=7)
    endpoints.learn("st-anne", at=at, window=2)
    assert endpoints.facts("general") == {"scope_syntax": "v1", "window": 7}
    assert endpoints.standing("general").updated_at == at + HOUR


def test_failures_in_a_row_are_counted_until_it_answers(endpoints, at):
    endpoints.learn("general", at=at, window=4)
    for n in (1, 2):
        endpoints.failed("general", at=at, next_attempt_at=at + n * HOUR)
    standing = endpoints.standing("general")
    assert (standing.failures, standing.next_attempt_at) == (2, at + 2 * HOUR)
    endpoints.succeeded("general", at=at + HOUR)
    assert endpoints.standing("general") == Standing({"window": 4}, 0, None, at + HOUR)


def test_to_be_asked_to_wait_is_no_failure(endpoints, at):
    endpoints.rests("general", at=at, next_attempt_at=at + HOUR)
    standing = endpoints.standing("general")
    assert (standing.failures, standing.next_attempt_at) == (0, at + HOUR)


def test_it_is_there_for_the_next_process(endpoints, open_store, at):
    endpoints.failed("general", at=at, next_attempt_at=at + HOUR)
    other = open_store()
    assert other.endpoints.standing("general").failures == 1
    other.close()
