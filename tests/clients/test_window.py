"""The window of requests at once: it grows while the endpoint copes, and shrinks under strain."""

from __future__ import annotations

from fhir_bridge.clients.window import ENOUGH_SAMPLES, SAMPLES, Window


def _cope(window: Window, times: int, seconds: float = 0.03, *, full: bool = True) -> None:
    for _ in range(times):
        window.coped(seconds, full=full)


def test_before_any_strain_every_success_makes_room_for_one_more():
    window = Window(size=4, most=16)
    _cope(window, 3)
    assert window.size == 7
    _cope(window, 100)
    assert window.size == 16, "never beyond the ceiling"


def test_strain_halves_it_and_then_a_whole_window_of_successes_is_needed():
    window = Window(size=8, most=16)
    window.strained()
    assert window.size == 4
    _cope(window, 3)
    assert window.size == 4
    _cope(window, 1)
    assert window.size == 5


def test_one_request_at_a_time_always_remains():
    window = Window(size=2)
    for _ in range(5):
        window.strained()
    assert window.size == 1


def test_a_window_that_nobody_fills_does_not_grow():
    window = Window(size=4)
    _cope(window, 50, full=False)
    assert window.size == 4


def test_answers_that_become_clearly_slower_are_noticed():
    window = Window(size=4)
    _cope(window, SAMPLES, 0.03)
    assert not window.is_slower()
    _cope(window, SAMPLES, 0.9)
    assert window.is_slower()
    size = window.size
    _cope(window, 1, 0.9)
    assert window.size == size, "no growth while it is slow"


def test_a_single_slow_answer_is_no_trend():
    window = Window(size=4)
    _cope(window, SAMPLES, 0.03)
    _cope(window, 3, 20.0)
    assert not window.is_slower()


def test_a_fast_endpoint_may_become_a_little_slower():
    window = Window(size=4)
    _cope(window, SAMPLES, 0.002)
    _cope(window, SAMPLES, 0.2)
    assert not window.is_slower()


def test_the_usual_answer_is_not_known_from_a_few():
    window = Window()
    _cope(window, ENOUGH_SAMPLES - 1)
    assert window.median_seconds() is None
    _cope(window, 1)
    assert window.median_seconds() == 0.03


def test_a_remembered_size_is_kept_within_the_ceiling():
    assert Window(size=40, most=16).size == 16
    assert Window(size=0, most=16).size == 1
