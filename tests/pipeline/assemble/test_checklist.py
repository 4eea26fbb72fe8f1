"""The checklist: what the specialty needs, by which entries, and what is too old."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from fhir_bridge.case.case import SPECIALTIES
from fhir_bridge.errors import ConfigurationError
from fhir_bridge.pipeline.assemble import checklist


@pytest.mark.parametrize("specialty", SPECIALTIES)
def test_a_rich_case_provides_most_of_what_its_specialty_needs(pulled, specialty):
    case = pulled(specialty)
    items = checklist(case.case, case.normalize().entries)
    known = [item for item in items if item.met or item.too_old]
    assert len(known) >= len(items) / 2


def test_what_is_missing_says_whom_to_ask(pulled):
    items = checklist(pulled().case, ())
    assert not any(item.met for item in items)
    assert all(item.who_to_ask for item in items)


def test_old_images_do_not_count_as_recent(pulled):
    case = pulled()
    entries = case.normalize().entries
    late = replace(case.case, opened_at=datetime(2026, 6, 1, tzinfo=UTC))

    def images(of):
        return next(i for i in checklist(of, entries) if "images" in i.item)

    assert images(case.case).met
    assert not images(late).met
    assert images(late).too_old


def test_a_specialty_without_a_table_is_a_configuration_error(pulled):
    with pytest.raises(ConfigurationError):
        checklist(replace(pulled().case, specialty="astrology"), ())
