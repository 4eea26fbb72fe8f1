"""
The page of faults says what the code does.

`FHIR_BRIDGE_DOCS=write pytest tests/simulators/test_fault_docs.py` writes its tables anew.
"""

from __future__ import annotations

import os

import pytest

from fhir_bridge.simulators.faults import FAULTS
from fhir_bridge.simulators.profiles import PROFILES

from ..house import pages

PAGE = "docs/faults.md"
WRITE = os.environ.get("FHIR_BRIDGE_DOCS") == "write"
ISSUED = 60
TABLES = {
    "faults": pages.table(
        ("fault", "where", "what shows"),
        ((f"`{one.name}`", one.where, one.shows) for one in FAULTS),
    ),
    "profiles": pages.table(
        ("profile", "base", "what shows"),
        ((f"`{one.name}`", f"`{one.path}`", one.shows) for one in PROFILES),
    ),
}


@pytest.mark.parametrize("name", TABLES)
def test_a_table_is_what_the_code_says(name: str) -> None:
    text = pages.read(PAGE)
    if WRITE:
        written = pages.with_table(text, name, TABLES[name])
        (pages.ROOT / PAGE).write_text(written, encoding="utf-8")
        return
    assert pages.tables(text)[name] == TABLES[name]


def test_every_fault_is_one_line_that_says_something_of_its_own() -> None:
    assert len(FAULTS) >= ISSUED
    assert len({one.shows for one in FAULTS}) == len(FAULTS)
    assert all(20 <= len(one.shows) <= 80 and "|" not in one.shows for one in FAULTS)
