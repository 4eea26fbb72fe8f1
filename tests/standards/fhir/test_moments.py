"""Dates order as time does, whatever their zone and precision, and sorting never fails."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fhir_bridge.standards.fhir.moments import is_instant, sort_key


def test_moments_of_different_zones_and_precisions_stand_in_their_order():
    ordered = [
        "2025",
        "2025-01-01T00:30:00Z",
        "2025-01-06T17:17:00.1234567-05:00",
        "2025-01-06T23:00:00Z",
        "2025-02",
        "2025-02-01T00:00:60Z",
    ]
    assert sorted(ordered, key=sort_key) == ordered


@pytest.mark.parametrize("odd", ["", "2025-13-01", "0001-02-30", "06/01/2025", None, 3])
def test_what_is_no_date_stands_before_everything(odd):
    assert sort_key(odd)[0] == -1
    assert not is_instant(odd)


@given(st.text())
def test_sorting_never_fails(text):
    assert sort_key(text) <= sort_key("9999-12-31T23:59:59Z")


def test_an_instant_has_seconds_and_a_zone():
    assert is_instant("2025-01-06T17:17:00-05:00")
    assert not is_instant("2025-01-06T17:17:00")
    assert not is_instant("2025-01-06")
    assert not is_instant("2025-02-30T17:17:00Z")
