"""Manners by themselves: places, rests and what outlives a process, on clocks of the test's own."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from fhir_bridge.case.profile import Profile, Standing
from fhir_bridge.clients.manners import Manners, Place, Rules
from fhir_bridge.errors import ProviderBusy, StoreError
from fhir_bridge.store.database import Database, make_engine
from fhir_bridge.store.endpoints import Endpoints

START = datetime(2026, 3, 2, 9, 30, tzinfo=UTC)
RULES = Rules(first=2, most=4, failures=3, first_pause_seconds=10, longest_queue_seconds=0)


class Clock:
    """Two clocks that go together."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def now(self) -> datetime:
        return START + timedelta(seconds=self.seconds)

    def ticks(self) -> float:
        return self.seconds


@pytest.fixture
def time() -> Clock:
    return Clock()


@pytest.fixture
def made(time: Clock) -> Callable[..., Manners]:
    """Manners whose threads never wait: what would have to wait is told at once."""

    def make(memory: Endpoints | None = None, rules: Rules = RULES) -> Manners:
        return Manners("general", memory, rules=rules, now=time.now, ticks=time.ticks)

    return make


@pytest.fixture
def endpoints(tmp_path: Path) -> Endpoints:
    database = Database(make_engine(f"sqlite:///{tmp_path / 'bridge.sqlite'}"))
    database.migrate()
    return Endpoints(database)


def ask(manners: Manners, status: int = 200, retry_after: float | None = None) -> None:
    place = manners.enter(0)
    place.answered(status, retry_after)
    place.leave()


def lose(manners: Manners) -> None:
    place = manners.enter(0)
    place.lost()
    place.leave()


def test_no_more_requests_at_once_than_the_window(made):
    manners = made()
    first, _second = manners.enter(0), manners.enter(0)
    with pytest.raises(ProviderBusy, match="no place"):
        manners.enter(0)
    first.leave()
    first.leave()
    manners.enter(0)
    with pytest.raises(ProviderBusy):
        manners.enter(0)


def test_the_window_grows_while_all_of_it_is_used(made):
    manners = made()
    for _ in range(4):
        places = [manners.enter(0) for _ in range(manners.window)]
        for place in places:
            place.answered(200)
            place.leave()
    assert manners.window == RULES.most


def test_a_storm_that_hits_many_requests_at_once_shrinks_the_window_once(made):
    manners = made(rules=Rules(first=8, most=8))
    places = [manners.enter(0) for _ in range(8)]
    for place in places:
        place.answered(429, 0)
        place.leave()
    assert manners.window == 4


@pytest.mark.parametrize("status", [429, 503, 502, 504])
def test_an_answer_of_an_endpoint_under_strain_shrinks_the_window(made, status):
    manners = made(rules=Rules(first=4))
    ask(manners, status, 0)
    assert manners.window == 2


def test_no_answer_in_time_shrinks_the_window(made):
    manners = made(rules=Rules(first=4))
    lose(manners)
    assert manners.window == 2


@pytest.mark.parametrize("status", [200, 304, 401, 404, 500, 501])
def test_an_answer_that_shows_no_strain_leaves_it(made, status):
    manners = made(rules=Rules(first=4))
    ask(manners, status)
    assert manners.window == 4


def test_retry_after_holds_for_everybody(made, time):
    manners = made()
    ask(manners, 429, 40)
    with pytest.raises(ProviderBusy) as caught:
        manners.enter(30)
    assert caught.value.retry_after_seconds == 40
    time.seconds = 40
    ask(manners)


def test_an_error_of_one_question_does_not_close_the_door_to_the_others(made):
    """A type that always ends in 500 must not put the whole endpoint to rest."""
    manners = made()
    for _ in range(20):
        ask(manners, 500)
    assert manners.rest_seconds() == 0


def test_without_a_retry_after_the_rests_grow_until_it_copes(made, time):
    manners = made()
    rests = []
    for _ in range(4):
        ask(manners, 429)
        rests.append(manners.rest_seconds())
        time.seconds += rests[-1]
    assert rests == [10, 20, 30, 30]
    ask(manners)
    ask(manners, 429)
    assert manners.rest_seconds() == 10


def test_the_breaker_lets_one_trial_through_and_closes(made, time):
    manners = made()
    for _ in range(3):
        lose(manners)
    with pytest.raises(ProviderBusy, match="rests"):
        manners.enter(9)
    time.seconds = 10
    trial = manners.enter(0)
    with pytest.raises(ProviderBusy, match="no place"):
        manners.enter(0)
    trial.answered(200)
    trial.leave()
    ask(manners)


def test_a_failed_trial_rests_twice_as_long(made, time):
    manners = made()
    for _ in range(3):
        ask(manners, 502)
    time.seconds = 10
    ask(manners, 502)
    assert manners.rest_seconds() == 20


def test_a_trial_of_which_nothing_was_heard_is_followed_by_another(made, time):
    manners = made()
    for _ in range(3):
        lose(manners)
    time.seconds = 10
    manners.enter(0).leave()
    ask(manners)
    assert manners.rest_seconds() == 0


def test_refusals_in_a_row_are_no_sign_that_it_is_down(made):
    manners = made()
    for status in (403, 404, 501, 429, 403, 404):
        ask(manners, status, 0)
    assert manners.rest_seconds() == 0


def test_a_strangers_server_is_not_governed():
    place = Place()
    place.answered(503, 100)
    place.lost()
    place.leave()


# What outlives the process


def test_a_rest_outlives_the_process(made, time, endpoints):
    ask(made(endpoints), 503, 300)
    time.seconds = 100
    with pytest.raises(ProviderBusy) as caught:
        made(endpoints).enter(60)
    assert caught.value.retry_after_seconds == 200
    time.seconds = 301
    ask(made(endpoints))
    assert endpoints.standing("general").next_attempt_at is None


def test_an_open_breaker_outlives_the_process_and_its_pauses_go_on_growing(made, time, endpoints):
    manners = made(endpoints)
    for _ in range(3):
        lose(manners)
    standing = endpoints.standing("general")
    assert (standing.failures, standing.next_attempt_at) == (1, START + timedelta(seconds=10))
    time.seconds = 10
    lose(made(endpoints))
    standing = endpoints.standing("general")
    assert (standing.failures, standing.next_attempt_at) == (2, START + timedelta(seconds=30))
    time.seconds = 30
    ask(made(endpoints))
    assert endpoints.standing("general").failures == 0


def test_a_clock_that_was_set_back_makes_no_endless_rest(made, time, endpoints):
    ask(made(endpoints), 503, 300)
    time.seconds = -86_400
    assert made(endpoints).rest_seconds() == RULES.longest_pause_seconds


def test_what_was_learned_is_there_next_time(made, time, endpoints):
    manners = made(endpoints)
    for _ in range(10):
        place = manners.enter(0)
        time.seconds += 0.25
        place.answered(200)
        place.leave()
    ask(manners, 429, 0)
    manners.learn(scope_syntax="v1")
    manners.refused("FB-2004")
    manners.save()
    profile = Profile.of(endpoints.standing("general"))
    assert (profile.scope_syntax, profile.window) == ("v1", 1)
    assert profile.throttled_by_hour == {9: 1}
    assert profile.last_success_at == "2026-03-02T09:30:02+00:00"
    assert profile.last_refusal_code == "FB-2004"
    again = made(endpoints)
    assert (again.window, again.fact("scope_syntax")) == (1, "v1")


def test_the_usual_answer_is_learned_in_milliseconds(made, time, endpoints):
    manners = made(endpoints)
    for _ in range(10):
        place = manners.enter(0)
        time.seconds += 0.25
        place.answered(200)
        place.leave()
    manners.save()
    assert Profile.of(endpoints.standing("general")).median_ms == 250


def test_a_fact_that_is_known_already_is_not_written_again(made, endpoints):
    manners = made(endpoints)
    manners.learn(scope_syntax="v2")
    before = endpoints.standing("general").updated_at
    manners.learn(scope_syntax="v2")
    assert endpoints.standing("general").updated_at == before


def test_a_store_that_fails_costs_no_exchange(made):
    class Broken:
        def standing(self, id_: str) -> Standing:
            return Standing()

        def __getattr__(self, name: str) -> Callable[..., None]:
            raise StoreError("OperationalError")

    manners = made(Broken())
    for _ in range(3):
        lose(manners)
    manners.learn(scope_syntax="v2")
    assert manners.rest_seconds() == 10


# Threads


def test_threads_that_wait_get_their_turn():
    manners = Manners("general", rules=Rules(first=1, most=1))
    at_once, most, done = 0, 0, []
    lock = threading.Lock()

    def work(number: int) -> None:
        nonlocal at_once, most
        place = manners.enter()
        with lock:
            at_once += 1
            most = max(most, at_once)
        place.answered(200)
        with lock:
            at_once -= 1
            done.append(number)
        place.leave()

    threads = [threading.Thread(target=work, args=(n,)) for n in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert sorted(done) == list(range(16))
    assert most == 1
