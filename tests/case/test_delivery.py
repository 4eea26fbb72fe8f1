"""Delivered means confirmed: the ladder has no way around the steps that prove it (TRUTH 5)."""

from __future__ import annotations

import itertools

import pytest

from fhir_bridge.case.delivery import DeliveryState, may_follow

S = DeliveryState
STRAIGHT = [S.DRAFTED, S.SIGNED, S.QUEUED, S.SENT, S.ACCEPTED, S.READ_BACK, S.CONFIRMED, S.OPENED]


def _reachable(start: S, *, without: S | None = None) -> set[S]:
    found, edge = set(), {start}
    while edge:
        edge = {b for a in edge for b in S if may_follow(a, b) and b is not without} - found
        found |= edge
    return found


def test_the_straight_way_is_open():
    assert all(may_follow(a, b) for a, b in itertools.pairwise(STRAIGHT))


@pytest.mark.parametrize(("first", "then"), list(itertools.combinations(STRAIGHT, 2)))
def test_no_rung_of_the_straight_way_is_skipped(first, then):
    if STRAIGHT.index(then) - STRAIGHT.index(first) > 1:
        assert not may_follow(first, then)


@pytest.mark.parametrize("state", S)
def test_nothing_follows_itself(state):
    assert not may_follow(state, state)


def test_only_read_back_and_a_persons_word_on_paper_lead_to_confirmed():
    assert {s for s in S if may_follow(s, S.CONFIRMED)} == {S.READ_BACK, S.MANUAL}


def test_only_queued_leads_to_sent():
    """So that an attempt row is committed before any byte leaves."""
    assert {s for s in S if may_follow(s, S.SENT)} == {S.QUEUED}


def test_what_is_unknown_is_never_sent_again_before_it_was_queued_anew():
    assert S.SENT not in _reachable(S.UNKNOWN, without=S.QUEUED)
    assert S.SENT in _reachable(S.UNKNOWN)


def test_a_confirmed_delivery_is_never_taken_back():
    assert _reachable(S.CONFIRMED) == {S.OPENED}
    assert _reachable(S.OPENED) == set()


def test_every_state_can_still_end_confirmed():
    assert all(S.CONFIRMED in _reachable(s) for s in S if s not in (S.CONFIRMED, S.OPENED))
