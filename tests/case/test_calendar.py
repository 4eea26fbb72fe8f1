"""Ten business days mean ten days on which somebody works."""

from __future__ import annotations

from datetime import date, timedelta

from hypothesis import given
from hypothesis import strategies as st

from fhir_bridge.case.calendar import SATURDAY, business_days_after

dates = st.dates(date(2000, 1, 1), date(2100, 1, 1))


@given(dates, st.integers(1, 40))
def test_it_ends_on_a_working_day_and_counts_only_those(start, days):
    end = business_days_after(start, days)
    between = [start + timedelta(days=n) for n in range(1, (end - start).days + 1)]
    assert end.weekday() < SATURDAY
    assert sum(day.weekday() < SATURDAY for day in between) == days


@given(dates, st.integers(0, 20), st.integers(0, 20))
def test_days_add_up(start, first, second):
    assert business_days_after(business_days_after(start, first), second) == business_days_after(
        start, first + second
    )


def test_a_week_has_five():
    friday = date(2026, 11, 20)
    assert business_days_after(friday, 1) == date(2026, 11, 23)
    assert business_days_after(friday, 5) == date(2026, 11, 27)
    assert business_days_after(date(2026, 11, 21), 0) == date(2026, 11, 21)
